"""Greedy search at its plainest: every token by a pass over the whole text before it."""

from __future__ import annotations

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx.model.hypothesis import Growing, Hypothesis
from ocrmypdf_trocr_mlx.model.options import GenerateOptions
from ocrmypdf_trocr_mlx.model.trocr import TrOCR


def greedy(model: TrOCR, images: mx.array, options: GenerateOptions) -> list[Hypothesis]:
    """What each of the images says (B, H, W, C)."""
    layer = options.kept_layer(len(model.decoder.layers))
    return [_text(model, image[None], options, layer) for image in images]


def _text(model: TrOCR, image: mx.array, options: GenerateOptions, layer: int | None) -> Hypothesis:
    memory, text = model.memory(model.encode(image)), Growing(options)
    while not text.done:
        tokens = mx.array([[options.start, *text.tokens]])
        logits, weights = model.decoder(tokens, memory, layer)
        last = logits[0, -1].astype(mx.float32)
        token = int(last.argmax())
        logprob = float(last[token] - mx.logsumexp(last))
        text.extend([token], [logprob], None if weights is None else np.array(weights[0, -1:]))
    return text.hypothesis()


def assert_same(found: list[Hypothesis], expected: list[Hypothesis], atol: float = 5e-5) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.tokens == theirs.tokens
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=2e-4)
        assert (ours.attention is None) == (theirs.attention is None)
        if theirs.attention is not None and ours.attention is not None:
            np.testing.assert_allclose(ours.attention, theirs.attention, atol=atol)
