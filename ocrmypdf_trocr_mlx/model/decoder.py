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
    """Keys and values of one self-attention layer; the buffer grows by `step` tokens."""

    step = 32

    def __init__(self) -> None:
        self.offset = 0
        self._both: mx.array | None = None  # (2, B, heads, room, head_dim)

    def update(self, both: mx.array) -> KeysValues:
        """Append keys and values (2, B, heads, L, head_dim) and return all so far."""
        start, self.offset = self.offset, self.offset + both.shape[3]
        if self._both is None or self.offset > self._both.shape[3]:
            self._both = self._grow(self._both, both, start)
        self._both[..., start : self.offset, :] = both
        return self._both[0, :, :, : self.offset], self._both[1, :, :, : self.offset]

    def _grow(self, buffer: mx.array | None, new: mx.array, used: int) -> mx.array:
        *shape, length, head_dim = new.shape
        room = self.step * math.ceil(length / self.step)
        fresh = mx.zeros((*shape, room, head_dim), new.dtype)
        return fresh if buffer is None else mx.concatenate([buffer[..., :used, :], fresh], axis=3)

    def take(self, rows: mx.array) -> None:
        """Keep these rows of the batch, in this order; a row may be taken more than once."""
        if self._both is not None:
            self._both = self._both[:, rows]


class SelfAttention(nn.Module):
    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.num_heads = config.decoder_attention_heads
        self.qkv_proj = nn.Linear(config.d_model, 3 * config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)

    def __call__(self, x: mx.array, cache: KVCache, mask: mx.array | None) -> mx.array:
        batch, length, dims = x.shape
        q, both = mx.split(self.qkv_proj(x), [dims], axis=-1)
        both = both.reshape(batch, length, 2, self.num_heads, -1).transpose(2, 0, 3, 1, 4)
        keys, values = cache.update(both)
        return self.out_proj(attend(split_heads(q, self.num_heads), keys, values, mask))


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
        self, x: mx.array, memory: KeysValues, want_weights: bool = False
    ) -> tuple[mx.array, mx.array | None]:
        """x (N, L, D) over memory of M images, N a multiple of M (the beams of an image).

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
            y, per_head = attend_with_weights(q, *memory)
            weights = per_head.mean(axis=1).reshape(batch, length, -1)
        else:
            y = attend(q, *memory)
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
        cache: KVCache,
        mask: mx.array | None,
        want_weights: bool,
    ) -> tuple[mx.array, mx.array | None]:
        x = self.self_attn_layer_norm(x + self.self_attn(x, cache, mask))
        y, weights = self.encoder_attn(x, memory, want_weights)
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

    def embed(self, tokens: mx.array, offset: int) -> mx.array:
        config = self.config
        x = self.embed_tokens(tokens)
        if config.scale_embedding:
            x = x * math.sqrt(config.d_model)
        end = offset + tokens.shape[1]
        if config.use_learned_position_embeddings:
            x = x + self.embed_positions.weight[POSITION_OFFSET + offset : POSITION_OFFSET + end]
        else:
            pad = config.pad_token_id
            positions = self._sinusoids[pad + 1 + offset : pad + 1 + end].astype(x.dtype)
            # A padding token has no position, also where a checkpoint starts with one.
            x = x + mx.where((tokens == pad)[..., None], 0, positions)
        return self.layernorm_embedding(x) if config.layernorm_embedding else x

    def __call__(
        self,
        tokens: mx.array,
        memory: list[KeysValues],
        caches: list[KVCache],
        weights_of: int | None = None,
    ) -> tuple[mx.array, mx.array | None]:
        """Tokens (N, L) after what the caches hold -> logits (N, L, V).

        With `weights_of` also that layer's cross-attention, averaged over its heads (N, L, S).
        """
        x = self.embed(tokens, caches[0].offset)
        length, past = tokens.shape[1], caches[0].offset
        mask = None
        if length > 1:
            ahead = mx.arange(past + length)[None] > mx.arange(past, past + length)[:, None]
            mask = mx.where(ahead, -mx.inf, 0).astype(x.dtype)
        kept = None
        for i, layer in enumerate(self.layers):
            x, weights = layer(x, memory[i], caches[i], mask, i == weights_of)
            kept = weights if i == weights_of else kept
        if self.config.tie_word_embeddings:
            return self.embed_tokens.as_linear(x), kept
        return self.output_projection(x), kept


class Decoding:
    """Texts in the making: the rows of a batch, a token a step."""

    def __init__(self, decoder: Decoder, memory: list[KeysValues], weights_of: int | None):
        """`memory`: of M images; `weights_of`: the layer whose attention is wanted, if any."""
        self._decoder = decoder
        self._memory = memory
        self._weights_of = weights_of
        self._caches = [KVCache() for _ in decoder.layers]

    def step(self, tokens: mx.array) -> tuple[mx.array, mx.array | None]:
        """The next token of each row (N,) -> logits (N, V), and the attention (N, S).

        N is a multiple of M; the attention is averaged over the layer's heads.
        """
        logits, weights = self._decoder(
            tokens[:, None], self._memory, self._caches, self._weights_of
        )
        seen = None if weights is None else weights[:, -1].astype(mx.float32)
        return logits[:, -1].astype(mx.float32), seen

    def take(self, rows: list[int], images: list[int] | None = None) -> None:
        """Go on with these rows, in this order, and of the images with these (None: all)."""
        for cache in self._caches:
            cache.take(mx.array(rows))
        if images is not None:
            taken = mx.array(images)
            self._memory = [(k[taken], v[taken]) for k, v in self._memory]
