"""Texts drafted from the encoder's states at a glance, for the decoder to check.

The decoder writes a token a step; what it is given it checks all at once.  A linear layer that
was trained by CTC names the token under every part of a column of patches, and where it is right
a text takes one pass instead of a step a token.  The decoder has the last word: the texts are
those it would have written by itself (Leviathan et al. 2023, "Fast inference from transformers
via speculative decoding", in its greedy form).
"""

from __future__ import annotations

import functools

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .config import TrOCRConfig


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
        self._tokens = tokens
        # As long as nothing was wrong, so many were right, and no distances are needed; nor are
        # they for a token beyond the whole draft, which mostly is the end.
        self._right = 0
        self._beyond: list[int] = []
        self._distances: Distances | None = None

    @property
    def rest(self) -> list[int]:
        """What is likely to come."""
        place = self._right if self._distances is None else self._distances.nearest()
        return self._tokens[place:]

    def agreement(self, length: int) -> float:
        """How much of the draft and of a text of so many tokens, now all said, is the same: 0 to 1.

        The head sees letters alone, the decoder knows the language as well: where it says what the
        head sees nothing of, it makes it up.
        """
        longest = max(length, len(self._tokens))
        if self._distances is None:
            distance = len(self._tokens) - self._right + len(self._beyond)
        else:
            distance = self._distances.to_whole()
        # The end is said, and not drafted.
        different = max(0, distance - 1)
        return 1.0 - min(1.0, different / longest) if longest else 1.0

    def say(self, tokens: list[int]) -> None:
        """The decoder's text goes on with these."""
        if self._distances is None:
            if self._tokens[self._right : self._right + len(tokens)] == tokens:
                self._right += len(tokens)
                return
            if not self._beyond and self._tokens[self._right :] == tokens[:-1]:
                self._right, self._beyond = len(self._tokens), tokens[-1:]
                return
            self._distances = Distances(self._tokens, self._right)
            self._distances.say(self._beyond)
        self._distances.say(tokens)


class Distances:
    """Edit distances of a growing text to the first 0, 1, 2 ... tokens of a draft.

    Neighbours differ by one at most: a bit each tells where the next is one more, and where it is
    one less, and a token changes all of them in a few operations (Myers 1999, "A fast bit-vector
    algorithm for approximate string matching based on dynamic programming").
    """

    def __init__(self, tokens: list[int], said: int):
        """The text's first `said` tokens are the draft's."""
        self._length = len(tokens)
        self._all = (1 << len(tokens)) - 1
        self._said = said
        self._less = (1 << said) - 1
        self._more = self._all ^ self._less
        self._where: dict[int, int] = {}
        for i, token in enumerate(tokens):
            self._where[token] = self._where.get(token, 0) | 1 << i

    def say(self, tokens: list[int]) -> None:
        """The text goes on."""
        more, less, every = self._more, self._less, self._all
        for token in tokens:
            same = self._where.get(token, 0)
            level = (((same & more) + more) ^ more) | same
            across_more = (less | ~(level | more)) << 1 | 1
            across_less = (more & level) << 1
            same |= less
            more = (across_less | ~(same | across_more)) & every
            less = across_more & same & every
        self._more, self._less = more, less
        self._said += len(tokens)

    def to_whole(self) -> int:
        """The distance to the whole draft."""
        return self._said + self._more.bit_count() - self._less.bit_count()

    def nearest(self) -> int:
        """How many of the draft's first tokens the text is nearest to; of equals the most."""
        size = -(-self._length // 8)
        place = best = distance = 0
        both = (bits.to_bytes(size, "little") for bits in (self._more, self._less))
        for i, (more, less) in enumerate(zip(*both, strict=True)):
            change, lowest, where = _eight(more, less)
            if distance + lowest <= best:
                place, best = 8 * i + where, distance + lowest
            distance += change
        return min(place, self._length)


@functools.cache
def _eight(more: int, less: int) -> tuple[int, int, int]:
    """What eight bits of either change: in all, at the lowest, and after how many it is last so."""
    distance, found = 0, []
    for i in range(8):
        distance += (more >> i & 1) - (less >> i & 1)
        found.append((distance, -i - 1))
    lowest, where = min(found)
    return distance, lowest, -where
