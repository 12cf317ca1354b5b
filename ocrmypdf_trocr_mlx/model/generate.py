"""Decoding with transformers' semantics: what images say.

Beam search is in beam.py; greedy search in stepping.py, and by drafts, where a model has them, in
rounds.py and checking.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mlx.core as mx

from .checking import confirm_drafts
from .hypothesis import Hypothesis
from .options import GenerateOptions
from .running import drafted, run
from .trocr import TrOCR

__all__ = ["GenerateOptions", "Hypothesis", "generate", "nothing"]


def nothing() -> None:
    """What is done between two steps, if no one wants to interrupt."""


def generate(
    model: TrOCR,
    pixels: mx.array,
    options: GenerateOptions,
    between: Callable[[], None] = nothing,
) -> list[Hypothesis]:
    """Read images (B, H, W, C or 1) of one size; a Hypothesis each, in their order.

    `between` is called again and again meanwhile; what it raises ends the reading.
    """
    running, found = run(model, options), dict[int, Hypothesis]()
    running.add(pixels, options.max_length, between)
    while running:
        found |= running.step(between)
    return [found[i] for i in range(len(pixels))]


def confirm_together(
    model: TrOCR,
    images: Sequence[mx.array],
    lengths: Sequence[int],
    options: GenerateOptions,
    between: Callable[[], None] = nothing,
) -> list[Hypothesis | None]:
    """What is read of images of several sizes, each with a `max_length` of its own, where it is
    the draft; None where it takes longer.

    For models and options that `running.confirms`.
    """
    groups = list(zip(images, lengths, strict=True))
    checker, drafts, most = drafted(model, options, groups, between)
    return confirm_drafts(checker, drafts, options, most)
