"""Greedy search for GPUs: a step is under way before the host has seen what the last one said.

All that the host has to know at once is where texts end, and it may know it a step late.
"""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np

from .decoder import Decoding
from .hypothesis import Growing, Hypothesis
from .options import GenerateOptions

# Finished rows leave the batch when they are this share of it: leaving copies the others.
COMPACT_SHARE = 0.25


def greedy_ahead(
    decoding: Decoding, count: int, options: GenerateOptions, between: Callable[[], None]
) -> list[Hypothesis]:
    """The texts of so many images; nothing may depend on the tokens but the end of a text."""
    texts = [_Text(options) for _ in range(count)]
    active = texts
    said = _Said()
    tokens = mx.full((count,), options.start, mx.int32)
    before: tuple[list[_Text], mx.array] | None = None  # a step that the host has not seen
    for _ in range(1, options.max_length):
        between()
        logits, weights = decoding.step(tokens)
        tokens = logits.argmax(axis=-1).astype(mx.int32)
        said.add(active, tokens, logits.max(axis=-1) - mx.logsumexp(logits, axis=-1), weights)
        if before is not None:
            _extend(*before)
        before = active, tokens
        finished = sum(text.growing.done for text in active)
        if finished == len(active):
            break
        if finished >= COMPACT_SHARE * len(active):
            keep = [i for i, text in enumerate(active) if not text.growing.done]
            active = [active[i] for i in keep]
            tokens = tokens[mx.array(keep)]
            decoding.take(keep, keep)
    if before is not None:
        _extend(*before)
    return said.hypotheses(texts)


class _Text:
    """A text in the making, and where what is said of its tokens stands among all that is."""

    def __init__(self, options: GenerateOptions) -> None:
        self.growing = Growing(options)
        self.places: list[int] = []


def _extend(texts: list[_Text], tokens: mx.array) -> None:
    for text, token in zip(texts, np.array(tokens).tolist(), strict=True):
        if not text.growing.done:
            text.growing.extend([token], [0.0], None)


class _Said:
    """What is said of all texts' tokens, step by step; on the GPU until all is said."""

    def __init__(self) -> None:
        self._count = 0
        self._logprobs: list[mx.array] = []
        self._weights: list[mx.array] = []

    def add(
        self, texts: list[_Text], tokens: mx.array, logprobs: mx.array, weights: mx.array | None
    ) -> None:
        """A step's, which begins: tokens and log-probabilities (N,), and attention (N, S)."""
        for i, text in enumerate(texts, self._count):
            text.places.append(i)
        self._count += len(texts)
        self._logprobs.append(logprobs)
        if weights is not None:
            self._weights.append(weights)
        mx.async_eval(tokens, logprobs, weights)

    def hypotheses(self, texts: list[_Text]) -> list[Hypothesis]:
        if not self._count:
            return [Hypothesis([], []) for _ in texts]
        logprobs = np.array(mx.concatenate(self._logprobs))
        weights = np.array(mx.concatenate(self._weights)) if self._weights else None
        found = []
        for text in texts:
            tokens = text.growing.tokens
            places = text.places[: len(tokens)]
            seen = None if weights is None else weights[places]
            found.append(Hypothesis(tokens, logprobs[places].tolist(), seen))
        return found
