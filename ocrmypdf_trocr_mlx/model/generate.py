"""Decoding with transformers' semantics: greedy search here, by drafts in checking.py where a
model has them, beam search in beam.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import mlx.core as mx
import numpy as np

from . import cpu, cpu_encoder, cpu_layers
from .ahead import COMPACT_SHARE, greedy_ahead
from .beam import beam_search
from .checking import check_drafts, confirm_drafts
from .constraints import Constraints
from .cpu_checking import CpuChecking
from .decoder import Decoding, KeysValues
from .encoding import encode, memory_of
from .hypothesis import Growing, Hypothesis
from .options import GenerateOptions
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
    if reads_together(model, options):
        return generate_together(model, [pixels], [options.max_length], options, between)[0]
    states = encode(model, pixels, between)
    memory = memory_of(model, states)
    if options.num_beams > 1:
        return beam_search(model, memory, options, between)
    if model.has_drafts and not Constraints(options):
        checker = model.checker(memory, _kept_layer(options, len(memory)))
        return check_drafts(checker, model.draft_head(states), options, between)
    return _greedy(model, memory, options, between)


def reads_together(model: TrOCR, options: GenerateOptions) -> bool:
    """Whether `generate_together` is for this model, on this device."""
    alone = options.num_beams > 1 or not model.has_drafts or bool(Constraints(options))
    return not alone and cpu_encoder.serves(model) and cpu_layers.serves(model.decoder)


def generate_together(
    model: TrOCR,
    images: Sequence[mx.array],
    lengths: Sequence[int],
    options: GenerateOptions,
    between: Callable[[], None] = nothing,
) -> list[list[Hypothesis]]:
    """As `generate`, for images of several sizes, each with a `max_length` of its own."""
    checker, drafts, most = _drafted(model, images, lengths, options, between)
    found = iter(check_drafts(checker, drafts, options, between, most))
    return [list(itertools.islice(found, len(group))) for group in images]


def confirm_together(
    model: TrOCR,
    images: Sequence[mx.array],
    lengths: Sequence[int],
    options: GenerateOptions,
    between: Callable[[], None] = nothing,
) -> list[Hypothesis | None]:
    """What `generate_together` gives where that is the draft; None where it takes longer."""
    checker, drafts, most = _drafted(model, images, lengths, options, between)
    return confirm_drafts(checker, drafts, options, most)


def _drafted(
    model: TrOCR,
    images: Sequence[mx.array],
    lengths: Sequence[int],
    options: GenerateOptions,
    between: Callable[[], None],
) -> tuple[CpuChecking, list[list[int]], list[int]]:
    """Who checks the drafts of all images, the drafts, and how long each text may be."""
    encoder = cpu_encoder.CpuEncoder(model)
    states = encoder(images, between)
    memory = encoder.memory(states)
    checker = CpuChecking(model.decoder, memory, _kept_layer(options, len(memory)))
    most = [
        length for group, length in zip(images, lengths, strict=True) for _ in range(len(group))
    ]
    return checker, encoder.drafts(states), most


def _kept_layer(options: GenerateOptions, layers: int) -> int | None:
    return options.attention_layer % layers if options.keep_attention else None


def _greedy(
    model: TrOCR,
    memory: list[KeysValues],
    options: GenerateOptions,
    between: Callable[[], None],
) -> list[Hypothesis]:
    constraints = Constraints(options)
    decoding, count = model.decoding(memory, _kept_layer(options, len(memory))), len(memory[0][0])
    on_gpu = mx.default_device().type == mx.gpu
    if on_gpu and isinstance(decoding, Decoding) and not constraints:
        return greedy_ahead(decoding, count, options, between)
    rows = [Growing(options) for _ in range(count)]
    active = list(rows)
    tokens = mx.full((len(rows),), options.start, mx.int32)
    for _ in range(1, options.max_length):
        between()
        logits, weights = decoding.step(tokens)
        if constraints:
            logits = constraints(logits, [[options.start, *row.tokens] for row in active])
        best, logprobs = _best(logits, weights)
        seen = None if weights is None else np.array(weights)
        for i, (row, token, logprob) in enumerate(
            zip(active, best.tolist(), logprobs.tolist(), strict=True)
        ):
            if not row.done:
                row.extend([token], [logprob], None if seen is None else seen[i : i + 1])
        finished = sum(row.done for row in active)
        if finished == len(active):
            break
        if finished >= COMPACT_SHARE * len(active):
            keep = [i for i, row in enumerate(active) if not row.done]
            active = [active[i] for i in keep]
            best = best[keep]
            decoding.take(keep, keep)
        tokens = mx.array(best)
    return [row.hypothesis() for row in rows]


def _best(logits: mx.array, weights: mx.array | np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest tokens (N,) and their log-probabilities; computes `weights` on the way."""
    if cpu.serves(logits):
        return cpu.best_tokens(logits)
    best = logits.argmax(axis=-1)
    logprobs = logits.max(axis=-1) - mx.logsumexp(logits, axis=-1)
    mx.eval(best, logprobs, weights)
    return np.array(best), np.array(logprobs)
