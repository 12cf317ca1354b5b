"""What is known of rendered lines, where each character stands, taught to a model that begins.

A recogniser from nothing learns long to write before it learns to look: its decoder guesses at
texts while attention wanders.  Two losses shorten that time.  The frame loss has the encoder
name the character under every half column of patches; the attention loss pulls each decoder
layer's cross-attention to the column of the character that comes next.  The first fades to a
tenth, the second to nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn

from ocrmypdf_trocr_mlx.model.trocr import TrOCR

from .batches import BEYOND, IGNORED

# Characters are often narrower than a column of patches: each half of it names its own.
_HALVES = 2
# Weights at the start, and the share of the training after which they have faded.
_FRAME, _FRAME_LEAST, _FRAME_UNTIL = 1.0, 0.1, 0.5
_ATTENTION, _ATTENTION_UNTIL = 0.3, 0.3
# Attention that misses its place altogether still has a gradient.
_LEAST_SHARE = 1e-4


class Seen(NamedTuple):
    """What a model says of a batch and what it looked at.

    `logits` (B, L, V); `frames` (B, 2 * columns, V); `attention` for each layer (B, L, columns),
    the share of the layer's attention, averaged over its heads.
    """

    logits: mx.array
    frames: mx.array
    attention: list[mx.array]


class GuidedModel(nn.Module):
    """A model, and a head that names characters where they are: it is not part of the product."""

    def __init__(self, model: TrOCR, end: int):
        """`end`, the token that ends a text, also stands for no character."""
        super().__init__()
        self.model = model
        self.frame_head = nn.Linear(
            model.config.memory_size, _HALVES * model.config.decoder.vocab_size
        )
        self.frame_head.weight = mx.zeros_like(self.frame_head.weight)
        self.frame_head.bias = mx.zeros_like(self.frame_head.bias)
        self._end = end

    def __call__(self, pixels: mx.array, tokens: mx.array) -> Seen:
        """Normalised images (B, h, w, C or 1) and tokens (B, L)."""
        model, config = self.model, self.model.config.encoder
        states, rows = model.encode(pixels), config.grid[0]
        prefix, batch = config.num_prefix_tokens, len(pixels)
        columns = states[:, prefix:].reshape(batch, rows, -1, states.shape[-1]).mean(axis=1)
        frames = self.frame_head(columns).reshape(batch, _HALVES * columns.shape[1], -1)
        decoder, attention = model.decoder, []
        x, length = decoder.embed(tokens, slice(tokens.shape[1])), tokens.shape[1]
        mask = nn.MultiHeadAttention.create_additive_causal_mask(length, x.dtype)
        for layer, memory in zip(decoder.layers, model.memory(states), strict=True):
            x, weights = layer(x, memory, mask, True)
            assert weights is not None
            on_patches = weights[:, :, prefix:].reshape(batch, length, rows, -1)
            attention.append(on_patches.sum(axis=2))
        return Seen(decoder.logits(x), frames, attention)

    def guidance(self, seen: Seen, targets: mx.array, edges: mx.array, done: mx.array) -> mx.array:
        """Both losses, weighted for this share of the training; see Batch for the arrays."""
        width = self.model.config.encoder.patch_size[1]
        fading = mx.maximum(_FRAME_LEAST, 1 - done / _FRAME_UNTIL)
        frame = frame_loss(seen.frames, targets, edges / width, self._end)
        pull = mx.maximum(0.0, 1 - done / _ATTENTION_UNTIL)
        places = [attention_loss(each, edges / width) for each in seen.attention]
        return _FRAME * fading * frame + _ATTENTION * pull * sum(places, mx.array(0.0))


def frame_loss(frames: mx.array, targets: mx.array, edges: mx.array, end: int) -> mx.array:
    """Mean cross-entropy of the characters under half columns; edges count columns."""
    known = mx.logical_not(mx.isnan(edges[:, :1]))
    middles = (mx.arange(frames.shape[1]) + 0.5) / _HALVES
    # The last character that begins before the middle; -1 left of the first one.
    index = (edges[:, None] <= middles[None, :, None]).sum(axis=-1) - 1
    below = mx.take_along_axis(targets, mx.clip(index, 0, targets.shape[1] - 1), axis=1)
    # Right of the last character is the token that ends the text.
    named = mx.where((index >= 0) & (below != IGNORED), below, end)
    losses = nn.losses.cross_entropy(frames.astype(mx.float32), named)
    return (losses * known).sum() / mx.maximum(known.sum() * frames.shape[1], 1)


def attention_loss(attention: mx.array, edges: mx.array) -> mx.array:
    """Mean of -log of the attention within about a column of the next character's middle."""
    begin, finish = edges[:, :-1], edges[:, 1:]
    stands = finish < BEYOND  # NaN is not
    middles = mx.where(stands, (begin + finish) / 2, 0.0)
    columns = mx.arange(attention.shape[-1]) + 0.5
    near = mx.exp(-mx.square(columns - middles[..., None]) / 2)
    share = (attention.astype(mx.float32) * near).sum(axis=-1)
    losses = -mx.log(share + _LEAST_SHARE)
    return (losses * stands).sum() / mx.maximum(stands.sum(), 1)
