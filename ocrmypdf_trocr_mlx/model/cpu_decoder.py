"""A step of the decoder for Linux CPUs: numpy on the weights and keys that MLX holds.

A step is some sixty small operations for a handful of rows.  MLX's CPU backend takes half a
step's time for handing them to its thread and for layer norms of ten passes; numpy's calls cost
a microsecond or two each.
"""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from . import cpu
from .cpu_layers import LayerWeights, TextWeights, view
from .decoder import Decoder, DecoderLayer, KeysValues

# Tokens that the buffers of keys and values grow by.
_ROOM = 32


def _heads(x: np.ndarray, heads: int, queries: int = 1) -> np.ndarray:
    """(M * queries, D) -> (M, heads, queries, head_dim)."""
    rows, dims = x.shape
    return x.reshape(rows // queries, queries, heads, dims // heads).swapaxes(1, 2)


def _attend(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q (M, heads, L, head_dim) over k and v -> (M * L, D), and the weights (M, heads, L, S)."""
    images, heads, queries, head_dim = q.shape
    weights = (q * np.float32(head_dim**-0.5)) @ k.swapaxes(-1, -2)
    weights /= cpu.exponentials_of(weights)
    y = (weights @ v).swapaxes(1, 2)
    return y.reshape(images * queries, heads * head_dim), weights


class _Layer:
    """A decoder layer, the keys and values of its texts so far, and those of its images."""

    def __init__(self, layer: DecoderLayer, memory: KeysValues, activation: str):
        self._weights = LayerWeights(layer, activation)
        self._memory = [view(x) for x in memory]
        self._past: list[np.ndarray] = []

    def __call__(self, x: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
        """x (N, D), overwritten, at position `offset` -> the same, and the attention."""
        layer, queries = self._weights, len(x) // len(self._memory[0])
        q, k, v = (_heads(y, layer.heads) for y in layer.queries_keys_values(x))
        y, _ = _attend(q, *self._append(k, v, offset))
        x = layer.after_self(x, y)
        y, weights = _attend(_heads(layer.query(x), layer.heads, queries), *self._memory)
        return layer.after_cross(x, y), weights

    def _append(self, k: np.ndarray, v: np.ndarray, offset: int) -> list[np.ndarray]:
        if not self._past or offset == self._past[0].shape[2]:
            room = np.empty((*k.shape[:2], _ROOM, k.shape[3]), np.float32)
            old = self._past or [room[:, :, :0]] * 2
            self._past = [np.concatenate((buffer, room), axis=2) for buffer in old]
        for buffer, new in zip(self._past, (k, v), strict=True):
            buffer[:, :, offset : offset + 1] = new
        return [buffer[:, :, : offset + 1] for buffer in self._past]

    def take(self, rows: np.ndarray, images: np.ndarray | None) -> None:
        self._past = [buffer[rows] for buffer in self._past]
        if images is not None:
            self._memory = [x[images] for x in self._memory]


class CpuDecoding:
    """Texts in the making: what `decoder.Decoding` is elsewhere."""

    def __init__(self, decoder: Decoder, memory: list[KeysValues], weights_of: int | None):
        self._weights_of = weights_of
        self._offset = 0
        self._text = TextWeights(decoder)
        activation = decoder.config.activation_function
        self._layers = [
            _Layer(layer, kv, activation) for layer, kv in zip(decoder.layers, memory, strict=True)
        ]

    def step(self, tokens: mx.array) -> tuple[mx.array, np.ndarray | None]:
        """The next token of each row (N,) -> logits (N, V), and the attention (N, S)."""
        x = self._text.embed(view(tokens), self._offset)
        kept = None
        for i, layer in enumerate(self._layers):
            x, weights = layer(x, self._offset)
            if i == self._weights_of:
                kept = weights.mean(axis=1).reshape(-1, weights.shape[-1])
        self._offset += 1
        return mx.array(self._text.logits(x)), kept

    def take(self, rows: list[int], images: list[int] | None = None) -> None:
        """Go on with these rows, in this order, and of the images with these."""
        for layer in self._layers:
            layer.take(np.array(rows), None if images is None else np.array(images))
