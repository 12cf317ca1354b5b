"""Connectionist temporal classification (Graves et al. 2006): texts, not places, are taught."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

# Stands for the logarithm of nothing; an infinity would make gradients that are no numbers.
_NEVER = -1e9


def ctc_loss(logits: mx.array, targets: mx.array, lengths: mx.array, blank: int) -> mx.array:
    """-log of the probability of all ways to say each text over its frames: (B,).

    `logits` (B, T, V); `targets` (B, L), of which the first `lengths` (B,) tokens count.  A text
    that needs more frames than there are costs a great deal, and has no gradient.
    """
    batch, longest = targets.shape
    states = 2 * longest + 1  # a blank, a token, a blank, a token ... a blank
    labels = mx.full((batch, states), blank, targets.dtype)
    labels[:, 1::2] = targets
    scores = nn.log_softmax(logits.astype(mx.float32), axis=-1)
    emitted = mx.take_along_axis(
        scores, mx.broadcast_to(labels[:, None], (*scores.shape[:2], states)), -1
    )
    # From one token straight to the next, past the blank, unless they are the same.
    skips = mx.zeros((batch, states), mx.bool_)
    skips[:, 3::2] = targets[:, 1:] != targets[:, :-1]
    place = mx.arange(states)[None]
    reached = mx.where(place < 2, emitted[:, 0], _NEVER)
    nothing = mx.full((batch, 2), _NEVER)
    for t in range(1, logits.shape[1]):
        before = mx.concatenate([nothing, reached], axis=1)
        moved = mx.logaddexp(reached, before[:, 1:-1])
        moved = mx.logaddexp(moved, mx.where(skips, before[:, :-2], _NEVER))
        reached = moved + emitted[:, t]
    last = 2 * lengths[:, None]
    ends = (place == last) | (place == last - 1)
    return -mx.logsumexp(mx.where(ends, reached, _NEVER), axis=-1)
