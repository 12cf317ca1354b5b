"""Decoding: greedy search here, beam search in beam.py, both with transformers' semantics."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from .beam import beam_search
from .constraints import Constraints
from .decoder import KeysValues
from .hypothesis import Hypothesis
from .options import GenerateOptions
from .trocr import TrOCR

__all__ = ["GenerateOptions", "Hypothesis", "generate"]

# Finished rows leave the batch when they are this share of it: leaving copies the others.
_COMPACT_SHARE = 0.25


def generate(model: TrOCR, pixels: mx.array, options: GenerateOptions) -> list[Hypothesis]:
    """Read images (B, H, W, C or 1) of one size; a Hypothesis each, in their order."""
    memory = model.memory(model.encode(pixels))
    mx.eval(memory)
    if options.num_beams > 1:
        return beam_search(model, memory, options)
    return _greedy(model, memory, options)


class _Row:
    """The growing hypothesis of one image."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.attention: list[np.ndarray] = []
        self.done = False

    def append(self, token: int, logprob: float, attention: np.ndarray | None) -> None:
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if attention is not None:
            self.attention.append(attention)

    def hypothesis(self) -> Hypothesis:
        attention = np.stack(self.attention) if self.attention else None
        return Hypothesis(self.tokens, self.logprobs, attention)


def _greedy(model: TrOCR, memory: list[KeysValues], options: GenerateOptions) -> list[Hypothesis]:
    rows = [_Row() for _ in range(memory[0][0].shape[0])]
    active = list(rows)
    caches = model.new_caches()
    constraints = Constraints(options)
    layer = options.attention_layer % len(caches) if options.keep_attention else None
    tokens = mx.full((len(rows), 1), options.start, mx.int32)
    for _ in range(1, options.max_length):
        logits, weights = model.decoder(tokens, memory, caches, layer)
        logits = logits[:, -1].astype(mx.float32)
        if constraints:
            logits = constraints(logits, [[options.start, *row.tokens] for row in active])
        best = logits.argmax(axis=-1)
        logprobs = logits.max(axis=-1) - mx.logsumexp(logits, axis=-1)
        mx.eval(best, logprobs, weights)
        seen = None if weights is None else np.array(weights[:, -1].astype(mx.float32))
        for i, (row, token, logprob) in enumerate(
            zip(active, np.array(best).tolist(), np.array(logprobs).tolist(), strict=True)
        ):
            if not row.done:
                row.append(token, logprob, None if seen is None else seen[i])
                row.done = token in options.eos or options.is_loop(row.tokens)
        finished = sum(row.done for row in active)
        if finished == len(active):
            break
        tokens = best[:, None]
        if finished >= _COMPACT_SHARE * len(active):
            keep = mx.array([i for i, row in enumerate(active) if not row.done])
            active = [row for row in active if not row.done]
            tokens = tokens[keep]
            memory = [(k[keep], v[keep]) for k, v in memory]
            for cache in caches:
                cache.take(keep)
    return [row.hypothesis() for row in rows]
