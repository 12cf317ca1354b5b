"""What decoding gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .options import GenerateOptions


@dataclass
class Hypothesis:
    """What was read: the tokens without the start token, the end token included if it came.

    `logprobs` has the natural log-probability of each token given those before it.  Row t of
    `attention`, if asked for, is where token t was seen: weights over the S encoder positions
    (prefix tokens, then patches row by row), averaged over the heads of one decoder layer.
    `agreement`: the share of it that was drafted as well, 1 where nothing was drafted.
    """

    tokens: list[int]
    logprobs: list[float]
    attention: np.ndarray | None = None
    agreement: float = 1.0


class Growing:
    """The hypothesis of one image in the making; `done` when it has come to its end."""

    def __init__(self, options: GenerateOptions) -> None:
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self._attention: list[np.ndarray] = []
        self._options = options
        self.done = self.room < 1

    @property
    def room(self) -> int:
        """Tokens that it may still grow by; the start token counts for the length, too."""
        return self._options.max_length - 1 - len(self.tokens)

    def extend(
        self, tokens: Sequence[int], logprobs: Sequence[float], attention: np.ndarray | None
    ) -> None:
        """Append tokens as far as the text's end, with their `attention` (L, S)."""
        ends = [tokens.index(end) for end in self._options.eos if end in tokens]
        count = min(ends) + 1 if ends else len(tokens)
        self.done = bool(ends)
        if self._options.loop_limit:
            count = self._before_loop(tokens[:count])
        if count >= self.room:
            count, self.done = self.room, True
        self.tokens += tokens[:count]
        self.logprobs += logprobs[:count]
        if attention is not None:
            self._attention.append(attention[:count])

    def _before_loop(self, tokens: Sequence[int]) -> int:
        """How many of the tokens come before a loop is complete, and with it the text."""
        for count in range(1, len(tokens) + 1):
            if self._options.is_loop([*self.tokens, *tokens[:count]]):
                self.done = True
                return count
        return len(tokens)

    def hypothesis(self, agreement: float = 1.0) -> Hypothesis:
        attention = np.concatenate(self._attention) if self._attention else None
        return Hypothesis(self.tokens, self.logprobs, attention, agreement)
