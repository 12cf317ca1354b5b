"""Greedy search that has the decoder check drafts: several tokens a pass, the same texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from .hypothesis import Growing, Hypothesis
from .lookahead import Lookahead
from .options import GenerateOptions


class Said(NamedTuple):
    """What the decoder says after each of the L tokens that it was given of a text.

    `tokens` and `logprobs` (L,), and `attention` (L, S) if it is kept.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    attention: np.ndarray | None


class Checker(Protocol):
    """The decoder's side; rows are numbered as the images are."""

    def check(self, rows: list[int], given: list[list[int]]) -> list[Said]:
        """What is said after each of the given tokens, which follow what was kept of the rows."""

    def keep(self, row: int, count: int) -> None:
        """So many of the tokens last given were right."""


class Checked:
    """A text in the making, and its draft: what is to be checked, and what the decoder says."""

    def __init__(self, draft: list[int], options: GenerateOptions):
        self._start = options.start
        self._text = Growing(options)
        self._likely = Lookahead(draft)
        self._ahead: list[int] = []
        self._look_ahead()

    @property
    def done(self) -> bool:
        return self._text.done

    @property
    def known(self) -> int:
        """Tokens of the text, from the start token on, after which the decoder was heard."""
        return len(self._text.tokens)

    def whole(self) -> list[int]:
        """The text from its start token on, and what is likely to come."""
        return [self._start, *self._text.tokens, *self._ahead]

    def given(self) -> list[int]:
        """Of that the part that the decoder has not been heard after."""
        last = self._text.tokens[-1] if self._text.tokens else self._start
        return [last, *self._ahead]

    def hear(self, said: Said) -> int:
        """What the decoder says after each of the `given`; returns how many of these were right."""
        new = said.tokens.tolist()
        right = 1 + _agreed(self._ahead, new)
        new = new[:right]
        seen = None if said.attention is None else said.attention[:right]
        self._text.extend(new, said.logprobs[:right].tolist(), seen)
        self._likely.say(new)
        if not self.done:
            self._look_ahead()
        return right

    def _look_ahead(self) -> None:
        self._ahead = self._likely.ahead(self._text.tokens, self._text.room - 1)

    def hypothesis(self) -> Hypothesis:
        return self._text.hypothesis(self._likely.draft.agreement(len(self._text.tokens) - 1))


def check_drafts(
    checker: Checker,
    drafts: list[list[int]],
    options: GenerateOptions,
    between: Callable[[], None],
    lengths: Sequence[int] | None = None,
) -> list[Hypothesis]:
    """The texts that greedy search gives, however good or bad the drafts are.

    `lengths` are the texts' own `max_length`.
    """
    lengths = lengths or [options.max_length] * len(drafts)
    of_length = {n: dataclasses.replace(options, max_length=n) for n in set(lengths)}
    texts = [
        Checked(draft, of_length[length]) for draft, length in zip(drafts, lengths, strict=True)
    ]
    active = [row for row, text in enumerate(texts) if not text.done]
    while active:
        between()
        said = checker.check(active, [texts[row].given() for row in active])
        for row, its in zip(active, said, strict=True):
            right = texts[row].hear(its)
            if not texts[row].done:
                checker.keep(row, right)
        active = [row for row in active if not texts[row].done]
    return [text.hypothesis() for text in texts]


def confirm_drafts(
    checker: Checker, drafts: list[list[int]], options: GenerateOptions, lengths: Sequence[int]
) -> list[Hypothesis | None]:
    """The drafts that are all that greedy search gives; None for the others.

    A single pass tells that.
    """
    found: list[Hypothesis | None] = [None] * len(drafts)
    # With its start and its end a text must not be longer than its `max_length`.
    rows = [i for i, most in enumerate(lengths) if len(drafts[i]) + 2 <= most]
    given = [[options.start, *drafts[row]] for row in rows]
    for row, said in zip(rows, checker.check(rows, given) if rows else [], strict=True):
        tokens = said.tokens.tolist()
        if tokens[:-1] == drafts[row] and tokens[-1] in options.eos:
            found[row] = Hypothesis(tokens, said.logprobs.tolist(), said.attention)
    return found


def _agreed(draft: list[int], said: list[int]) -> int:
    """How many tokens of a draft are what was said, up to the first that is not."""
    if said[:-1] == draft:
        return len(draft)
    return next(i for i, pair in enumerate(zip(draft, said, strict=False)) if pair[0] != pair[1])
