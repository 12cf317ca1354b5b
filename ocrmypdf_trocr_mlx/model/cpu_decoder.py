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


def _heads(x: np.ndarray, heads: int, queries: int = 1) -> np.ndarray:
    """(M * queries, D) -> (M, heads, queries, head_dim)."""
    rows, dims = x.shape
    return x.reshape(rows // queries, queries, heads, dims // heads).swapaxes(1, 2)


def _attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, unused: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """q (M, heads, L, head_dim) over k and v -> (M * L, D), and the weights (M, heads, L, S).

    `unused` (M, S): keys that are not to be seen.
    """
    images, heads, queries, head_dim = q.shape
    weights = (q * np.float32(head_dim**-0.5)) @ k.swapaxes(-1, -2)
    if unused is not None:
        weights += np.where(unused, np.float32(-np.inf), np.float32(0))[:, None, None]
    weights /= cpu.exponentials_of(weights)
    y = (weights @ v).swapaxes(1, 2)
    return y.reshape(images * queries, heads * head_dim), weights


class _Layer:
    """A decoder layer, the keys and values of its texts so far, and those of its images."""

    def __init__(self, layer: DecoderLayer, memory: KeysValues, activation: str):
        self._weights = LayerWeights(layer, activation)
        self.memory = [view(x) for x in memory]
        self._past: list[np.ndarray] = []

    def __call__(
        self, x: np.ndarray, offsets: np.ndarray, unused: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """x (N, D), overwritten, after `offsets` (N,) other tokens -> the same, and the attention.

        `unused` (N, S): of the past up to the longest text's end, what is not of the others'.
        """
        layer, queries = self._weights, len(x) // len(self.memory[0])
        q, k, v = (_heads(y, layer.heads) for y in layer.queries_keys_values(x))
        keys, values = self._append(k, v, offsets)
        y, _ = _attend(q, keys, values, unused)
        x = layer.after_self(x, y)
        y, weights = _attend(_heads(layer.query(x), layer.heads, queries), *self.memory)
        return layer.after_cross(x, y), weights

    def _append(self, k: np.ndarray, v: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
        rows, length = np.arange(len(offsets)), offsets.max() + 1
        for buffer, new in zip(self._past, (k, v), strict=True):
            buffer[rows, :, offsets] = new[:, :, 0]
        return [buffer[:, :, :length] for buffer in self._past]

    def make_room(self, rows: int, tokens: int) -> None:
        """For texts of so many tokens; room that is not used takes no memory."""
        _, heads, _, head_dim = self.memory[0].shape
        self._past = [np.zeros((rows, heads, tokens, head_dim), np.float32) for _ in range(2)]

    def take(self, rows: np.ndarray, images: np.ndarray | None, length: int) -> None:
        """`length`: tokens of the longest text."""
        for i, old in enumerate(self._past):
            self._past[i] = np.zeros((len(rows), *old.shape[1:]), np.float32)
            self._past[i][:, :, :length] = old[rows, :, :length]
        if images is not None:
            self.memory = [x[images] for x in self.memory]

    def enter(self, rows: list[int], memory: KeysValues) -> None:
        for i, new in enumerate(memory):
            if not self.memory[i].flags.writeable:  # MLX's own
                self.memory[i] = self.memory[i].copy()
            self.memory[i][rows] = view(new)


class CpuDecoding:
    """Texts in the making: what `decoding.Decoding` is elsewhere."""

    def __init__(self, decoder: Decoder, memory: list[KeysValues], weights_of: int | None):
        self._weights_of = weights_of
        self._offsets = np.zeros(0, np.int32)
        self._most = decoder.config.max_position_embeddings
        self._text = TextWeights(decoder)
        activation = decoder.config.activation_function
        self._layers = [
            _Layer(layer, kv, activation) for layer, kv in zip(decoder.layers, memory, strict=True)
        ]

    def step(self, tokens: mx.array) -> tuple[mx.array, np.ndarray | None]:
        """The next token of each row (N,) -> logits (N, V), and the attention (N, S)."""
        if not len(self._offsets):
            self._offsets = np.zeros(len(tokens), np.int32)
            for layer in self._layers:
                layer.make_room(len(tokens), self._most)
        offsets = self._offsets
        x = self._text.embed(view(tokens), offsets)
        unused, kept = None, None
        if offsets.min() < offsets.max():
            unused = np.arange(offsets.max() + 1) > offsets[:, None]
        for i, layer in enumerate(self._layers):
            x, weights = layer(x, offsets, unused)
            if i == self._weights_of:
                kept = weights.mean(axis=1).reshape(-1, weights.shape[-1])
        # Beyond the last position a text is done, though it may still be a row.
        self._offsets = np.minimum(offsets + 1, self._most - 1)
        return mx.array(self._text.logits(x)), kept

    def take(self, rows: list[int], images: list[int] | None = None) -> None:
        """Go on with these rows, in this order, and of the images with these."""
        length = int(self._offsets.max(initial=0))
        self._offsets = self._offsets[rows]
        for layer in self._layers:
            layer.take(np.array(rows), None if images is None else np.array(images), length)

    def enter(self, rows: list[int], memory: list[KeysValues]) -> None:
        """As `Decoding.enter`."""
        if len(self._offsets):
            self._offsets[rows] = 0
        for layer, its in zip(self._layers, memory, strict=True):
            layer.enter(rows, its)
