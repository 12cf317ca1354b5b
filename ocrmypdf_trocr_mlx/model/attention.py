"""Scaled dot-product attention, with or without its weights."""

from __future__ import annotations

import mlx.core as mx

from . import cpu


def split_heads(x: mx.array, num_heads: int) -> mx.array:
    """(B, L, D) -> (B, heads, L, D / heads)."""
    batch, length, dims = x.shape
    return x.reshape(batch, length, num_heads, dims // num_heads).swapaxes(1, 2)


def merge_heads(x: mx.array) -> mx.array:
    """(B, heads, L, head_dim) -> (B, L, D)."""
    batch, heads, length, head_dim = x.shape
    return x.swapaxes(1, 2).reshape(batch, length, heads * head_dim)


def attend(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | None = None) -> mx.array:
    """q (B, heads, L, head_dim), k and v (B, heads, S, head_dim) -> (B, L, D)."""
    scale = q.shape[-1] ** -0.5
    if not cpu.serves(q):
        return merge_heads(mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask))
    k, v = mx.contiguous(k), mx.contiguous(v)  # cheaper than what a strided product does
    scores = (q * scale) @ k.swapaxes(-1, -2)
    weights, sums = cpu.exponentials(scores if mask is None else scores + mask)
    return merge_heads((weights @ v) / sums)


def attend_with_weights(q: mx.array, k: mx.array, v: mx.array) -> tuple[mx.array, mx.array]:
    """As `attend`, and the weights (B, heads, L, S)."""
    weights = mx.softmax((q * q.shape[-1] ** -0.5) @ k.swapaxes(-1, -2), axis=-1, precise=True)
    return merge_heads(weights @ v), weights
