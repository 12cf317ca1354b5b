"""Texts drafted from the encoder's states at a glance, for the decoder to check.

The decoder writes a token a step; what it is given it checks all at once.  A linear layer that
was trained by CTC names the token under every part of a column of patches, and where it is right
a text takes one pass instead of a step a token.  The decoder has the last word: the texts are
those it would have written by itself (Leviathan et al. 2023, "Fast inference from transformers
via speculative decoding", in its greedy form).
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .config import TrOCRConfig

# Tokens that are checked after one that was wrong, beyond as many as were right before it.
_AFTER_ERROR = 4


class DraftHead(nn.Module):
    """`config.draft_frames` tokens for each column of patches."""

    def __init__(self, config: TrOCRConfig):
        super().__init__()
        self._rows = config.encoder.grid[0]
        self._prefix = config.encoder.num_prefix_tokens
        self.num_frames = config.draft_frames
        self._blank = config.decoder.pad_token_id
        self.proj = nn.Linear(config.memory_size, self.num_frames * config.decoder.vocab_size)

    def frames(self, states: mx.array) -> mx.array:
        """States (B, S, D) -> logits (B, T, V), T frames from left to right."""
        batch, _, dims = states.shape
        columns = states[:, self._prefix :].reshape(batch, self._rows, -1, dims).mean(axis=1)
        return self.proj(columns).reshape(batch, self.num_frames * columns.shape[1], -1)

    def __call__(self, states: mx.array) -> list[list[int]]:
        """The likely texts of images, without start and end."""
        best = np.array(self.frames(states).argmax(axis=-1))
        return [tokens.tolist() for tokens in collapse(best, self._blank)]


def collapse(frames: np.ndarray, blank: int) -> list[np.ndarray]:
    """Frames (B, T) -> tokens of each row: CTC's rule, a run counts once, blanks do not."""
    starts = np.diff(frames, axis=1, prepend=blank) != 0
    named = starts & (frames != blank)
    return np.split(frames[named], np.cumsum(named.sum(axis=1))[:-1])


class Draft:
    """A drafted text, and where in it the decoder's text has come to.

    That is where the part before differs least from what the decoder said, in insertions,
    deletions and substitutions: a draft that lacks a token is wrong in one place only.
    """

    def __init__(self, tokens: list[int]):
        self.rest = tokens  # what is likely to come
        self._trusted = self._asked = len(tokens)
        self._tokens = np.array(tokens, int)
        self._places = np.arange(len(tokens) + 1)
        # Edit distances of what was said to the first 0, 1, 2 ... tokens.
        self._distances = self._places
        self._as_drafted = True

    def ahead(self, most: int) -> list[int]:
        """The next tokens to check: of a draft that was wrong not far more than it was right."""
        ahead = self.rest[: min(most, self._trusted)]
        self._asked = len(ahead)
        return ahead

    def agreement(self, length: int) -> float:
        """How much of the draft and of a text of so many tokens, now all said, is the same: 0 to 1.

        The head sees letters alone, the decoder knows the language as well: where it says what the
        head sees nothing of, it makes it up.
        """
        longest = max(length, len(self._tokens))
        # The end is said, and not drafted.
        different = max(0, int(self._distances[-1]) - 1)
        return 1.0 - min(1.0, different / longest) if longest else 1.0

    def say(self, tokens: list[int]) -> None:
        """The decoder's text goes on with these: what was ahead, or less, and a last one."""
        agreed = len(tokens) - 1
        self._trusted = 2 * self._trusted if agreed == self._asked else agreed + _AFTER_ERROR
        if self._as_drafted:
            # So far a beginning of the draft, as far from others as it is longer or shorter.
            self._distances, self._as_drafted = np.abs(self._places - agreed), False
            tokens = tokens[agreed:]
        for token in tokens:
            before = self._distances
            after = before + 1
            after[1:] = np.minimum(after[1:], before[:-1] + (self._tokens != token))
            self._distances = np.minimum.accumulate(after - self._places) + self._places
        # Of places that fit equally, the last.
        place = self._places[-1] - int(self._distances[::-1].argmin())
        self.rest = self._tokens[place:].tolist()
