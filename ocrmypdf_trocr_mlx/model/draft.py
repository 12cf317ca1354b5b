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
        return [collapse(row, self._blank) for row in best]


def collapse(frames: np.ndarray, blank: int) -> list[int]:
    """Frames (T,) -> tokens: CTC's rule, each run of a token counts once, blanks do not."""
    starts = np.flatnonzero(np.diff(frames, prepend=blank))
    return [int(token) for token in frames[starts] if token != blank]


class Draft:
    """A drafted text, and where in it the decoder's text has come to.

    That is where the part before differs least from what the decoder said, in insertions,
    deletions and substitutions: a draft that lacks a token is wrong in one place only.
    """

    def __init__(self, tokens: list[int]):
        self._tokens = np.array(tokens, int)
        self._places = np.arange(len(tokens) + 1)
        # Edit distances of what was said to the first 0, 1, 2 ... tokens.
        self._distances = self._places.copy()

    def say(self, tokens: list[int]) -> None:
        """The decoder's text goes on with these."""
        for token in tokens:
            before = self._distances
            after = before + 1
            after[1:] = np.minimum(after[1:], before[:-1] + (self._tokens != token))
            after = np.minimum.accumulate(after - self._places) + self._places
            self._distances = after

    @property
    def rest(self) -> list[int]:
        """What is likely to come; of places that fit equally, what comes after the last."""
        return self._tokens[len(self._places) - 1 - int(self._distances[::-1].argmin()) :].tolist()
