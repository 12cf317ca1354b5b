"""The encoder for Linux CPUs: numpy on the weights that MLX holds, images of any widths at once.

The states of all images are rows of the same products; only the attention is an image's own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from . import cpu
from .cpu_layers import LayerNorm, Linear, view
from .draft import collapse
from .trocr import TrOCR
from .vit import Embeddings, EncoderLayer

# A processor is no faster with more states at a time than this, and sooner interrupted; the larger
# models need half a gigabyte for more, and lanes multiply it.
STATES_AT_ONCE = 1024


def serves(model: TrOCR) -> bool:
    """Whether this model is for this module: plain layers, float32, a Linux CPU."""
    layers = model.encoder.layers
    return cpu.serves(model.encoder.layernorm.weight) and all(
        type(part) is nn.Linear for layer in layers for part in _linears(layer)
    )


def _linears(layer: EncoderLayer) -> list[nn.Module]:
    return [layer.attention.qkv_proj, layer.attention.o_proj, layer.mlp.fc1, layer.mlp.fc2]


@dataclass
class States:
    """What a decoder reads of images: rows (N, D), and where those of each image begin and end."""

    rows: np.ndarray
    bounds: list[int]

    def parts(self, rows: np.ndarray) -> list[np.ndarray]:
        """Rows of all images, image by image."""
        return [rows[a:b] for a, b in itertools.pairwise(self.bounds)]


class CpuEncoder:
    """A model's encoder and what of its decoder is computed once for an image."""

    def __init__(self, model: TrOCR):
        self._model = model
        encoder = model.encoder
        self._layers = [_Layer(x, model.config.encoder.hidden_act) for x in encoder.layers]
        self._norm = LayerNorm(encoder.layernorm)

    def __call__(self, images: Sequence[mx.array], between: Callable[[], None]) -> States:
        """Images (B, H, W, C or 1), each of the arrays of one width; what `between` raises ends it.

        As `TrOCR.encode`, in their order.
        """
        embedded = [_embed(self._model.encoder.embeddings, pixels) for pixels in images]
        lengths = [x.shape[1] for x in embedded for _ in x]
        x = np.concatenate([x.reshape(-1, x.shape[-1]) for x in embedded])
        for first, bounds in _chunks(lengths):
            if first:
                between()
            rows = x[first : first + bounds[-1]]
            scratch = _Scratch(bounds[-1])
            for layer in self._layers:
                layer(rows, bounds, scratch)
            self._norm(rows)
        if self._model.config.projects_memory:
            x = Linear(self._model.enc_to_dec_proj)(x)
        return States(x, [0, *itertools.accumulate(lengths)])

    def memory(self, states: States) -> list[tuple[list[np.ndarray], list[np.ndarray]]]:
        """As `TrOCR.memory`: keys and values (heads, S, head_dim) of each image, by layers."""
        memory = []
        for layer in self._model.decoder.layers:
            attention = layer.encoder_attn
            both = states.parts(Linear(attention.kv_proj)(states.rows))
            heads = [x.reshape(len(x), 2, attention.num_heads, -1).swapaxes(0, 2) for x in both]
            memory.append(([x[:, 0] for x in heads], [x[:, 1] for x in heads]))
        return memory

    def drafts(self, states: States) -> list[list[int]]:
        """As the draft head's: the likely texts of images, without start and end."""
        config = self._model.config
        rows, prefix = config.encoder.grid[0], config.encoder.num_prefix_tokens
        columns = [
            x[prefix:].reshape(rows, -1, x.shape[1]).mean(axis=0) for x in states.parts(states.rows)
        ]
        frames = Linear(self._model.draft_head.proj)(np.concatenate(columns))
        best = frames.reshape(len(frames), config.draft_frames, -1).argmax(axis=-1)
        ends = np.cumsum([len(x) for x in columns])[:-1]
        blank = config.decoder.pad_token_id
        return [collapse(x.reshape(1, -1), blank)[0].tolist() for x in np.split(best, ends)]


def _chunks(lengths: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Runs of images of about so many states: their first row, and their bounds within the run."""
    first, bounds = 0, [0]
    for length in lengths:
        if bounds[-1] and bounds[-1] + length > STATES_AT_ONCE:
            yield first, bounds
            first, bounds = first + bounds[-1], [0]
        bounds.append(bounds[-1] + length)
    yield first, bounds


def _embed(embeddings: Embeddings, pixels: mx.array) -> np.ndarray:
    """Images (B, H, W, C or 1) -> (B, S, D), as the embeddings themselves do it."""
    return view(embeddings(pixels))


class _Scratch:
    """Room for what comes between, for so many rows, used again by every layer."""

    def __init__(self, rows: int):
        self._rows = rows
        self._room: dict[str, np.ndarray] = {}

    def __call__(self, name: str, columns: int) -> np.ndarray:
        if name not in self._room:
            self._room[name] = np.empty((self._rows, columns), np.float32)
        return self._room[name]


class _Layer:
    def __init__(self, layer: EncoderLayer, activation: str):
        self._heads = layer.attention.num_heads
        self._before, self._after = (
            LayerNorm(layer.layernorm_before),
            LayerNorm(layer.layernorm_after),
        )
        self._qkv, self._out, self._fc1, self._fc2 = map(Linear, _linears(layer))
        self._activation = functools.partial(cpu.by_parts, cpu.ACTIVATIONS[activation])

    def __call__(self, x: np.ndarray, bounds: list[int], scratch: _Scratch) -> None:
        """x (N, D), in place; each image's rows lie between two `bounds`."""
        dims = x.shape[1]
        y = self._before(x, scratch("y", dims))
        qkv = self._qkv(y, scratch("qkv", 3 * dims))
        qkv[:, :dims] *= np.float32((dims // self._heads) ** -0.5)
        for a, b in itertools.pairwise(bounds):
            _attend(qkv[a:b], y[a:b], self._heads)
        x += self._out(y, scratch("out", dims))
        y = self._after(x, y)
        hidden = self._fc1(y, scratch("hidden", self._fc1.width))
        self._activation(hidden)
        x += self._fc2(hidden, y)


def _attend(qkv: np.ndarray, out: np.ndarray, heads: int) -> None:
    """An image's queries, scaled, keys and values (S, 3 * D) -> `out` (S, D)."""
    length = len(qkv)
    q, k, v = qkv.reshape(length, 3, heads, -1).transpose(1, 2, 0, 3)
    weights = q @ k.swapaxes(-1, -2)
    sums = cpu.exponentials_of(weights)
    y = out.reshape(length, heads, -1).swapaxes(0, 1)
    np.matmul(weights, v, out=y)
    y /= sums
