"""Scaled dot-product attention, with or without its weights."""

from __future__ import annotations

import mlx.core as mx

from . import cpu

# On NVIDIA GPUs MLX has cuDNN plan a kernel for every new shape, which was measured to take 37 ms,
# and lines come in new numbers and lengths all the time.  Plain products need no plan, and up to so
# many scores (queries times keys) little memory.  For up to so few queries, all of which see all
# keys, MLX has a kernel of its own.
_MOST_PLAIN_SCORES = 1 << 14
_MOST_VECTOR_QUERIES = 3


def split_heads(x: mx.array, num_heads: int) -> mx.array:
    """(B, L, D) -> (B, heads, L, D / heads)."""
    batch, length, dims = x.shape
    if length == 1:  # the same, and a step is as slow as it has operations
        return x.reshape(batch, num_heads, 1, dims // num_heads)
    return x.reshape(batch, length, num_heads, dims // num_heads).swapaxes(1, 2)


def merge_heads(x: mx.array) -> mx.array:
    """(B, heads, L, head_dim) -> (B, L, D)."""
    batch, heads, length, head_dim = x.shape
    if length == 1:
        return x.reshape(batch, 1, heads * head_dim)
    return x.swapaxes(1, 2).reshape(batch, length, heads * head_dim)


def attend(q: mx.array, k: mx.array, v: mx.array, mask: mx.array | None = None) -> mx.array:
    """q (B, heads, L, head_dim), k and v (B, heads, S, head_dim) -> (B, L, D)."""
    scale = q.shape[-1] ** -0.5
    if not cpu.serves(q):
        if _is_plain(q.shape[2], k.shape[2], mask is not None):
            return attend_with_weights(q, k, v, mask)[0]
        return merge_heads(mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask))
    k, v = mx.contiguous(k), mx.contiguous(v)  # cheaper than what a strided product does
    scores = (q * scale) @ k.swapaxes(-1, -2)
    weights, sums = cpu.exponentials(scores if mask is None else scores + mask)
    return merge_heads((weights @ v) / sums)


def attend_with_weights(
    q: mx.array, k: mx.array, v: mx.array, mask: mx.array | None = None
) -> tuple[mx.array, mx.array]:
    """As `attend`, and the weights (B, heads, L, S)."""
    scores = (q * q.shape[-1] ** -0.5) @ mx.contiguous(k).swapaxes(-1, -2)
    weights = mx.softmax(scores if mask is None else scores + mask, axis=-1, precise=True)
    return merge_heads(weights @ v), weights


def _is_plain(queries: int, keys: int, masked: bool) -> bool:
    """Whether it is few; in training shapes are always the same, and scores would be kept."""
    few = queries * keys <= _MOST_PLAIN_SCORES and (masked or queries > _MOST_VECTOR_QUERIES)
    return few and not cpu.is_left_to_mlx() and _on_nvidia()


def _on_nvidia() -> bool:
    return mx.default_device().type == mx.gpu and mx.cuda.is_available()
