"""The decoder's weights at work on Linux CPUs: numpy on the arrays that MLX holds.

All but the attention, which is another thing for a token of each text than for several.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from . import cpu
from .decoder import POSITION_OFFSET, Decoder, DecoderLayer


def serves(decoder: Decoder) -> bool:
    """Whether this decoder is for this module: plain layers, float32, a Linux CPU."""
    # Layers that learn beside frozen ones are no nn.Linear: they compute for themselves.
    return cpu.serves(decoder.embed_tokens.weight) and all(
        type(layer) is nn.Linear for block in decoder.layers for layer in _linears(block)
    )


def _linears(block: DecoderLayer) -> list[nn.Module]:
    own, cross = block.self_attn, block.encoder_attn
    return [own.qkv_proj, own.out_proj, cross.q_proj, cross.out_proj, block.fc1, block.fc2]


def view(x: mx.array) -> np.ndarray:
    return np.array(x, copy=False)


class Linear:
    def __init__(self, layer: nn.Module):
        self._weight = view(layer.weight).T
        self._bias = view(layer.bias) if "bias" in layer else None

    @property
    def width(self) -> int:
        return self._weight.shape[1]

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(N, in) -> (N, out)."""
        y = np.matmul(x, self._weight, out=out)
        if self._bias is not None:
            y += self._bias
        return y


class LayerNorm:
    def __init__(self, layer: nn.LayerNorm):
        weight, bias = view(layer.weight), view(layer.bias)
        self._normalize = functools.partial(cpu.normalize, weight, bias, layer.eps)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(N, D), in place if there is no other."""
        out = x if out is None else out
        cpu.by_parts(self._normalize, x, out)
        return out


class LayerWeights:
    """A decoder layer without its attention; x (N, D) are tokens of any texts, overwritten."""

    def __init__(self, layer: DecoderLayer, activation: str):
        own, cross = layer.self_attn, layer.encoder_attn
        self.heads = own.num_heads
        self._activation = cpu.ACTIVATIONS[activation]
        self._qkv, self._self_out = Linear(own.qkv_proj), Linear(own.out_proj)
        self.query, self._cross_out = Linear(cross.q_proj), Linear(cross.out_proj)
        self._fc1, self._fc2 = Linear(layer.fc1), Linear(layer.fc2)
        self._after_self = LayerNorm(layer.self_attn_layer_norm)
        self._after_cross = LayerNorm(layer.encoder_attn_layer_norm)
        self._last = LayerNorm(layer.final_layer_norm)

    def queries_keys_values(self, x: np.ndarray) -> Sequence[np.ndarray]:
        """Of the self-attention, (N, D) each; `query` is the cross-attention's."""
        return np.split(self._qkv(x), 3, axis=1)

    def after_self(self, x: np.ndarray, attended: np.ndarray) -> np.ndarray:
        x += self._self_out(attended)
        return self._after_self(x)

    def after_cross(self, x: np.ndarray, attended: np.ndarray) -> np.ndarray:
        x += self._cross_out(attended)
        x = self._after_cross(x)
        x += self._fc2(self._activation(self._fc1(x)))
        return self._last(x)


class TextWeights:
    """Tokens and positions into the decoder, logits out of it."""

    def __init__(self, decoder: Decoder):
        config = decoder.config
        self._scale = np.float32(math.sqrt(config.d_model) if config.scale_embedding else 1)
        self._tokens = view(decoder.embed_tokens.weight)
        self._pad: int | None = None
        if config.use_learned_position_embeddings:
            self._positions = view(decoder.embed_positions.weight)[POSITION_OFFSET:]
        else:
            # A padding token has no position, also where a checkpoint starts with one.
            self._pad = config.pad_token_id
            self._positions = view(decoder._sinusoids)[self._pad + 1 :]
        norm = config.layernorm_embedding
        self._norm = LayerNorm(decoder.layernorm_embedding) if norm else None
        tied = config.tie_word_embeddings
        self._output = view((decoder.embed_tokens if tied else decoder.output_projection).weight).T

    def embed(self, tokens: np.ndarray, positions: np.ndarray | int) -> np.ndarray:
        """As the decoder's own `embed`: (N,) at their positions, from 0 -> (N, D)."""
        x = self._tokens[tokens] * self._scale
        added = np.broadcast_to(self._positions[positions], x.shape)
        if self._pad is None:
            x += added
        else:
            x += np.where((tokens == self._pad)[:, None], 0, added)
        return self._norm(x) if self._norm else x

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, V)."""
        return x @ self._output
