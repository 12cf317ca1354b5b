"""Texts in the making, a token a step: the rows of a batch, which come and go."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import mlx.core as mx
import numpy as np

from .decoder import Decoder, KeysValues

# Tokens there is room for at first: most lines have fewer, and for the others it is doubled.
_ROOM = 64

Step = Callable[..., tuple[mx.array, mx.array | None, list[mx.array]]]


class TextsByStep(Protocol):
    """The decoder's side of a search; see `Decoding`."""

    def step(self, tokens: mx.array) -> tuple[mx.array, mx.array | np.ndarray | None]: ...

    def take(self, rows: list[int], images: list[int] | None = None) -> None: ...

    def enter(self, rows: list[int], memory: list[KeysValues]) -> None: ...


class Decoding:
    """A decoder at work on images, of which each has one text, or as many as there are beams."""

    def __init__(self, steps: Steps, memory: list[KeysValues], weights_of: int | None):
        """`memory`: of M images; `weights_of`: the layer whose attention is wanted, if any."""
        self._config = steps.decoder.config
        self._step = steps(weights_of)
        self._memory = memory
        self._buffers: list[mx.array] = []
        self._offsets = np.zeros(0, np.int32)

    def step(self, tokens: mx.array) -> tuple[mx.array, mx.array | None]:
        """The next token of each row (N,) -> logits (N, V), and the attention (N, S).

        N is a multiple of M; the attention is averaged over the layer's heads.
        """
        self._make_room(len(tokens))
        offsets = mx.array(self._offsets)
        logits, seen, self._buffers = self._step(tokens, offsets, self._buffers, self._memory)
        # Beyond the last position a text is done, though it may still be a row.
        self._offsets = np.minimum(self._offsets + 1, self._config.max_position_embeddings - 1)
        return logits, seen

    def take(self, rows: list[int], images: list[int] | None = None) -> None:
        """Go on with these rows, in this order, and of the images with these (None: all)."""
        taken = mx.array(rows)
        self._buffers = [both[:, taken] for both in self._buffers]
        self._offsets = self._offsets[rows]
        if images is not None:
            taken = mx.array(images)
            self._memory = [(k[taken], v[taken]) for k, v in self._memory]

    def enter(self, rows: list[int], memory: list[KeysValues]) -> None:
        """New images, of as many states as the others, take the places of these, one text each."""
        places = mx.array(rows)
        for ours, new in zip(self._memory, memory, strict=True):
            for each, its in zip(ours, new, strict=True):
                each[places] = its
        if self._buffers:
            self._offsets[rows] = 0

    def _make_room(self, rows: int) -> None:
        """For one more token of each text, in as few sizes as may be: a GPU plans for each."""
        keys = self._memory[0][0]
        if not self._buffers:
            shape = (2, rows, self._config.decoder_attention_heads, _ROOM, keys.shape[3])
            self._buffers = [mx.zeros(shape, keys.dtype) for _ in self._memory]
            self._offsets = np.zeros(rows, np.int32)
        elif self._offsets.max() == self._buffers[0].shape[3]:
            self._buffers = [
                mx.concatenate([both, mx.zeros_like(both)], axis=3) for both in self._buffers
            ]


class Steps:
    """A decoder's step, compiled where that is of use: on GPUs, where operations take time."""

    def __init__(self, decoder: Decoder):
        self.decoder = decoder
        self._compiled: dict[int | None, Step] = {}

    def __call__(self, weights_of: int | None) -> Step:
        """(tokens, offsets, buffers, memory) -> as `Decoder.step`."""
        if mx.default_device().type != mx.gpu:
            return self._step(weights_of)
        if weights_of not in self._compiled:
            # What it learns meanwhile is an input: it would be a constant else.
            compiled = mx.compile(self._step(weights_of), inputs=self.decoder)
            self._compiled[weights_of] = compiled
        return self._compiled[weights_of]

    def _step(self, weights_of: int | None) -> Step:
        return functools.partial(self.decoder.step, weights_of=weights_of)
