"""A step of the decoder for Linux CPUs: numpy on the weights and keys that MLX holds.

A step is some sixty small operations for a handful of rows.  MLX's CPU backend takes half a
step's time for handing them to its thread and for layer norms of ten passes; numpy's calls cost
a microsecond or two each.
"""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from . import cpu
from .decoder import POSITION_OFFSET, CrossAttention, Decoder, DecoderLayer, KeysValues

# Tokens that the buffers of keys and values grow by.
_ROOM = 32


def serves(decoder: Decoder) -> bool:
    """Whether this decoder's steps are for this module: plain layers, float32, a Linux CPU."""
    # Layers that learn beside frozen ones are no nn.Linear: they compute for themselves.
    return cpu.serves(decoder.embed_tokens.weight) and all(
        type(layer) is nn.Linear for block in decoder.layers for layer in _linears(block)
    )


def _linears(block: DecoderLayer) -> list[nn.Module]:
    own, cross = block.self_attn, block.encoder_attn
    return [own.qkv_proj, own.out_proj, cross.q_proj, cross.out_proj, block.fc1, block.fc2]


def _view(x: mx.array) -> np.ndarray:
    return np.array(x, copy=False)


class _Linear:
    def __init__(self, layer: nn.Linear):
        self._weight = _view(layer.weight).T
        self._bias = _view(layer.bias) if "bias" in layer else None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, in) -> (N, out)."""
        y = x @ self._weight
        if self._bias is not None:
            y += self._bias
        return y


class _LayerNorm:
    def __init__(self, layer: nn.LayerNorm):
        self._weight, self._bias, self._eps = _view(layer.weight), _view(layer.bias), layer.eps

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(N, D), in place."""
        cpu.normalize(self._weight, self._bias, self._eps, x, x)
        return x


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
        self._heads = layer.self_attn.num_heads
        self._activation = cpu.ACTIVATIONS[activation]
        self._qkv = _Linear(layer.self_attn.qkv_proj)
        self._self_out = _Linear(layer.self_attn.out_proj)
        self._norms = [
            _LayerNorm(norm)
            for norm in (
                layer.self_attn_layer_norm,
                layer.encoder_attn_layer_norm,
                layer.final_layer_norm,
            )
        ]
        cross: CrossAttention = layer.encoder_attn
        self._q, self._cross_out = _Linear(cross.q_proj), _Linear(cross.out_proj)
        self._fc1, self._fc2 = _Linear(layer.fc1), _Linear(layer.fc2)
        self._memory = [_view(x) for x in memory]
        self._past: list[np.ndarray] = []

    def __call__(self, x: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
        """x (N, D), overwritten, at position `offset` -> the same, and the attention."""
        q, k, v = (_heads(y, self._heads) for y in np.split(self._qkv(x), 3, axis=1))
        y, _ = _attend(q, *self._append(k, v, offset))
        x += self._self_out(y)
        x = self._norms[0](x)
        queries = len(x) // len(self._memory[0])
        y, weights = _attend(_heads(self._q(x), self._heads, queries), *self._memory)
        x += self._cross_out(y)
        x = self._norms[1](x)
        x += self._fc2(self._activation(self._fc1(x)))
        return self._norms[2](x), weights

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
        self._decoder = decoder
        self._weights_of = weights_of
        self._offset = 0
        activation = decoder.config.activation_function
        self._layers = [
            _Layer(layer, kv, activation) for layer, kv in zip(decoder.layers, memory, strict=True)
        ]
        norm = decoder.config.layernorm_embedding
        self._norm = _LayerNorm(decoder.layernorm_embedding) if norm else None
        tied = decoder.config.tie_word_embeddings
        self._output = _view((decoder.embed_tokens if tied else decoder.output_projection).weight).T

    def step(self, tokens: mx.array) -> tuple[mx.array, np.ndarray | None]:
        """The next token of each row (N,) -> logits (N, V), and the attention (N, S)."""
        x = self._embed(_view(tokens))
        kept = None
        for i, layer in enumerate(self._layers):
            x, weights = layer(x, self._offset)
            if i == self._weights_of:
                kept = weights.mean(axis=1).reshape(-1, weights.shape[-1])
        self._offset += 1
        return mx.array(x @ self._output), kept

    def _embed(self, tokens: np.ndarray) -> np.ndarray:
        """As the decoder's own `embed`: (N,) -> (N, D)."""
        decoder, config = self._decoder, self._decoder.config
        x = _view(decoder.embed_tokens.weight)[tokens]
        if config.scale_embedding:
            x *= np.float32(math.sqrt(config.d_model))
        if config.use_learned_position_embeddings:
            x += _view(decoder.embed_positions.weight)[POSITION_OFFSET + self._offset]
        else:
            pad = config.pad_token_id
            x[tokens != pad] += _view(decoder._sinusoids)[pad + 1 + self._offset]
        return self._norm(x) if self._norm else x

    def take(self, rows: list[int], images: list[int] | None = None) -> None:
        """Go on with these rows, in this order, and of the images with these."""
        for layer in self._layers:
            layer.take(np.array(rows), None if images is None else np.array(images))
