"""TrOCR's text decoder: post-LN transformer with self- and cross-attention, one token a step."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from .activations import activation
from .attention import attend, attend_with_weights, split_heads
from .config import DecoderConfig

KeysValues = tuple[mx.array, mx.array]

# Rows of the learned table that fairseq keeps for padding; positions start after them.
POSITION_OFFSET = 2


class KVCache:
    """Keys and values of one self-attention layer: of each row as many as its text has tokens."""

    def __init__(self, both: mx.array, offsets: mx.array):
        """`both` (2, N, heads, room, head_dim), of which the first `offsets` (N,) are in use."""
        self.both = both
        self._offsets = offsets

    def append(self, new: mx.array) -> mx.array:
        """Add those of a token of each row (2, N, heads, 1, head_dim), and return the buffer."""
        places = mx.broadcast_to(self._offsets[None, :, None, None, None], new.shape)
        self.both = mx.put_along_axis(self.both, places, new, axis=3)
        return self.both


class SelfAttention(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.num_heads = config.decoder_attention_heads
        self.qkv_proj = nn.Linear(config.d_model, 3 * config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)

    def __call__(
        self, x: mx.array, mask: mx.array | None, cache: KVCache | None = None
    ) -> mx.array:
        """x (N, L, D): texts, or with a cache a token each, after those that it holds."""
        batch, length, dims = x.shape
        q, both = mx.split(self.qkv_proj(x), [dims], axis=-1)
        both = both.reshape(batch, length, 2, self.num_heads, -1).transpose(2, 0, 3, 1, 4)
        if cache is not None:
            both = cache.append(both)
        return self.out_proj(attend(split_heads(q, self.num_heads), both[0], both[1], mask))


class CrossAttention(nn.Module):
    def __init__(self, config: DecoderConfig, memory_size: int):
        super().__init__()
        self.num_heads = config.decoder_attention_heads
        self.q_proj = nn.Linear(config.d_model, config.d_model)
        self.kv_proj = nn.Linear(memory_size, 2 * config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)

    def keys_values(self, memory: mx.array) -> KeysValues:
        """Encoder states (M, S, D) -> keys and values, computed once for all steps."""
        k, v = (split_heads(y, self.num_heads) for y in mx.split(self.kv_proj(memory), 2, axis=-1))
        # A product with strided matrices would copy them at every step.
        return mx.contiguous(k), mx.contiguous(v)

    def __call__(
        self,
        x: mx.array,
        memory: KeysValues,
        want_weights: bool = False,
        padding: mx.array | None = None,
    ) -> tuple[mx.array, mx.array | None]:
        """x (N, L, D) over memory of M images, N a multiple of M (the beams of an image).

        `padding` (M, 1, 1, S): 0, and minus infinity where the memory is none of the image's.
        Returns the output and, on request, the weights averaged over the heads (N, L, S).
        """
        batch, length, dims = x.shape
        images = memory[0].shape[0]
        # The beams of an image are more queries to the same keys: nothing is copied for them.
        q = self.q_proj(x)
        if batch != images:
            q = q.reshape(images, -1, dims)
        q = split_heads(q, self.num_heads)
        weights = None
        if want_weights:
            y, per_head = attend_with_weights(q, *memory, padding)
            weights = per_head.mean(axis=1).reshape(batch, length, -1)
        else:
            y = attend(q, *memory, padding)
        if batch != images:
            y = y.reshape(batch, length, dims)
        return self.out_proj(y), weights


class DecoderLayer(nn.Module):
    def __init__(self, config: DecoderConfig, memory_size: int):
        super().__init__()
        dims = config.d_model
        self.activation = activation(config.activation_function)
        self.self_attn = SelfAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(dims)
        self.encoder_attn = CrossAttention(config, memory_size)
        self.encoder_attn_layer_norm = nn.LayerNorm(dims)
        self.fc1 = nn.Linear(dims, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, dims)
        self.final_layer_norm = nn.LayerNorm(dims)

    def __call__(
        self,
        x: mx.array,
        memory: KeysValues,
        mask: mx.array | None,
        want_weights: bool,
        *,
        cache: KVCache | None = None,
        padding: mx.array | None = None,
    ) -> tuple[mx.array, mx.array | None]:
        x = self.self_attn_layer_norm(x + self.self_attn(x, mask, cache))
        y, weights = self.encoder_attn(x, memory, want_weights, padding)
        x = self.encoder_attn_layer_norm(x + y)
        x = self.final_layer_norm(x + self.fc2(self.activation(self.fc1(x))))
        return x, weights


def sinusoids(num_positions: int, dims: int, padding: int) -> mx.array:
    """fairseq's table: sines in the first half, cosines in the second, zeros for padding."""
    half = dims // 2
    # Rates rounded to float32 before the product, as PyTorch does: late angles differ else.
    rates = np.exp(np.arange(half) * -(math.log(10000) / (half - 1))).astype(np.float32)
    angles = np.arange(num_positions, dtype=np.float32)[:, None] * rates[None]
    table = np.zeros((num_positions, dims), np.float32)
    table[:, : 2 * half] = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    table[padding] = 0
    return mx.array(table)


class Decoder(nn.Module):
    def __init__(self, config: DecoderConfig, memory_size: int):
        super().__init__()
        self.config = config
        dims = config.d_model
        self.embed_tokens = nn.Embedding(config.vocab_size, dims)
        if config.use_learned_position_embeddings:
            self.embed_positions = nn.Embedding(
                config.max_position_embeddings + POSITION_OFFSET, dims
            )
        else:
            rows = config.max_position_embeddings + config.pad_token_id + 1
            # The underscore keeps the computed table out of the parameters.
            self._sinusoids = sinusoids(rows, dims, config.pad_token_id)
        if config.layernorm_embedding:
            self.layernorm_embedding = nn.LayerNorm(dims)
        self.layers = [DecoderLayer(config, memory_size) for _ in range(config.decoder_layers)]
        if not config.tie_word_embeddings:
            self.output_projection = nn.Linear(dims, config.vocab_size, bias=False)

    def embed(self, tokens: mx.array, positions: mx.array | slice) -> mx.array:
        """Tokens (N, L) at their positions, from 0: those of all rows, or (N, L) -> (N, L, D)."""
        config = self.config
        x = self.embed_tokens(tokens)
        if config.scale_embedding:
            x = x * math.sqrt(config.d_model)
        if config.use_learned_position_embeddings:
            x = x + self.embed_positions.weight[POSITION_OFFSET:][positions]
        else:
            pad = config.pad_token_id
            added = self._sinusoids[pad + 1 :][positions].astype(x.dtype)
            # A padding token has no position, also where a checkpoint starts with one.
            x = x + mx.where((tokens == pad)[..., None], 0, added)
        return self.layernorm_embedding(x) if config.layernorm_embedding else x

    def __call__(
        self,
        tokens: mx.array,
        memory: list[KeysValues],
        weights_of: int | None = None,
        padding: mx.array | None = None,
    ) -> tuple[mx.array, mx.array | None]:
        """Texts (N, L), from their start tokens on -> logits (N, L, V).

        With `weights_of` also that layer's cross-attention, averaged over its heads (N, L, S).
        `padding` (N, 1, 1, S): where of the memory an image is narrower than others; see
        `CrossAttention`.
        """
        length = tokens.shape[1]
        x = self.embed(tokens, slice(length))
        mask = None
        if length > 1:
            ahead = mx.arange(length)[None] > mx.arange(length)[:, None]
            mask = mx.where(ahead, -mx.inf, 0).astype(x.dtype)
        kept = None
        for i, layer in enumerate(self.layers):
            x, weights = layer(x, memory[i], mask, i == weights_of, padding=padding)
            kept = weights if i == weights_of else kept
        return self.logits(x), kept

    def step(
        self,
        tokens: mx.array,
        offsets: mx.array,
        buffers: list[mx.array],
        memory: list[KeysValues],
        weights_of: int | None,
    ) -> tuple[mx.array, mx.array | None, list[mx.array]]:
        """The next token of each text (N,), after `offsets` (N,) others, of which the buffers hold
        keys and values; see `KVCache`.

        Returns logits (N, V), the attention (N, S) as `__call__` does, and the buffers.
        """
        x = self.embed(tokens[:, None], offsets[:, None])
        unused = mx.arange(buffers[0].shape[3])[None] > offsets[:, None]
        mask = mx.where(unused, -mx.inf, 0).astype(x.dtype)[:, None, None]
        kept, caches = None, [KVCache(both, offsets) for both in buffers]
        for i, layer in enumerate(self.layers):
            x, weights = layer(x, memory[i], mask, i == weights_of, cache=caches[i])
            kept = weights if i == weights_of else kept
        seen = None if kept is None else kept[:, -1].astype(mx.float32)
        return self.logits(x)[:, -1].astype(mx.float32), seen, [cache.both for cache in caches]

    def logits(self, x: mx.array) -> mx.array:
        """Of what the last layer made (N, L, D) -> (N, L, V)."""
        if self.config.tie_word_embeddings:
            return self.embed_tokens.as_linear(x)
        return self.output_projection(x)
