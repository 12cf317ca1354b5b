"""Checking drafts on Linux CPUs: texts of all lengths in one pass, with what is right kept.

The tokens of all texts are rows of the same products; only the attention is a text's own.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from . import cpu
from .checking import Said
from .cpu_layers import LayerWeights, TextWeights, view
from .decoder import Decoder, DecoderLayer, KeysValues

# Keys and values of a layer: of images of one width, or of each image (heads, S, head_dim).
_Memory = KeysValues | tuple[list[np.ndarray], list[np.ndarray]]


class CpuChecking:
    """What `checking.Checking` is elsewhere."""

    def __init__(self, decoder: Decoder, memory: Sequence[_Memory], weights_of: int | None):
        self._weights_of = weights_of
        self._text = TextWeights(decoder)
        activation = decoder.config.activation_function
        self._layers = [
            _Layer(layer, kv, activation) for layer, kv in zip(decoder.layers, memory, strict=True)
        ]
        self._kept = [0] * len(memory[0][0])

    def check(self, rows: list[int], given: list[list[int]]) -> list[Said]:
        lengths = [len(tokens) for tokens in given]
        offsets = [self._kept[row] for row in rows]
        positions = [np.arange(a, a + n) for a, n in zip(offsets, lengths, strict=True)]
        x = self._text.embed(np.array(list(itertools.chain(*given))), np.concatenate(positions))
        bounds = [0, *itertools.accumulate(lengths)]
        parts = [slice(a, b) for a, b in itertools.pairwise(bounds)]
        seen = None
        for i, layer in enumerate(self._layers):
            x, weights = layer(x, rows, offsets, parts)
            seen = weights if i == self._weights_of else seen
        tokens, logprobs = cpu.best_of(self._text.logits(x))
        return [
            Said(tokens[part], logprobs[part], None if seen is None else seen[i])
            for i, part in enumerate(parts)
        ]

    def keep(self, row: int, count: int) -> None:
        self._kept[row] += count


class _Layer:
    """A decoder layer, the keys and values of its texts so far, and those of its images."""

    def __init__(self, layer: DecoderLayer, memory: _Memory, activation: str):
        self._weights = LayerWeights(layer, activation)
        self._memory = [view(x) if isinstance(x, mx.array) else x for x in memory]
        self._past: dict[int, list[np.ndarray]] = {}

    def __call__(
        self, x: np.ndarray, rows: list[int], offsets: list[int], parts: list[slice]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """x (N, D), overwritten; the texts' tokens are `parts` of it, `offsets` come before them.

        Returns x and for each text the cross-attention (L, S), averaged over the heads.
        """
        layer, seen = self._weights, []
        q, k, v = layer.queries_keys_values(x)
        y = np.empty_like(x)
        for row, offset, part in zip(rows, offsets, parts, strict=True):
            keys, values = self._append(row, offset, k[part], v[part])
            _attend(self._split(q[part]), keys, values, y[part], past=offset)
        x = layer.after_self(x, y)
        q = layer.query(x)
        for row, part in zip(rows, parts, strict=True):
            keys, values = (each[row] for each in self._memory)
            seen.append(_attend(self._split(q[part]), keys, values, y[part]).mean(axis=0))
        return layer.after_cross(x, y), seen

    def _split(self, x: np.ndarray) -> np.ndarray:
        """(L, D) -> (heads, L, head_dim)."""
        return x.reshape(len(x), self._weights.heads, -1).swapaxes(0, 1)

    def _append(self, row: int, offset: int, k: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
        """All keys and values of a text; those that were not kept make room."""
        new = [self._split(each) for each in (k, v)]
        if offset:
            past = self._past[row]
            new = [
                np.concatenate((a[:, :offset], b), axis=1) for a, b in zip(past, new, strict=True)
            ]
        self._past[row] = new
        return new


def _attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, out: np.ndarray, past: int | None = None
) -> np.ndarray:
    """q (heads, L, head_dim) over k and v -> `out` (L, D); returns the weights (heads, L, S).

    With `past`, token i of q sees no more than the first `past` + i + 1 of the keys.
    """
    heads, length, head_dim = q.shape
    weights = (q * np.float32(head_dim**-0.5)) @ k.swapaxes(-1, -2)
    if past is not None and length > 1:
        weights[:, np.triu(np.ones((length, k.shape[1]), bool), past + 1)] = -np.inf
    weights /= cpu.exponentials_of(weights)
    np.copyto(out.reshape(length, heads, head_dim), (weights @ v).swapaxes(0, 1))
    return weights
