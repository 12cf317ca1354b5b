"""Decoding with transformers' semantics: greedy search here, by drafts in checking.py where a
model has them, beam search in beam.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import mlx.core as mx
import numpy as np

from . import cpu, cpu_encoder, cpu_layers
from .beam import beam_search
from .checking import check_drafts
from .constraints import Constraints
from .cpu_checking import CpuChecking
from .decoder import KeysValues
from .hypothesis import Growing, Hypothesis
from .options import GenerateOptions
from .trocr import TrOCR

__all__ = ["GenerateOptions", "Hypothesis", "generate", "nothing"]

# Finished rows leave the batch when they are this share of it: leaving copies the others.
_COMPACT_SHARE = 0.25


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
    states = _encode(model, pixels, between)
    memory = model.memory(states)
    mx.eval(memory)
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
    encoder = cpu_encoder.CpuEncoder(model)
    states = encoder(images, between)
    memory = encoder.memory(states)
    checker = CpuChecking(model.decoder, memory, _kept_layer(options, len(memory)))
    most = [
        length for group, length in zip(images, lengths, strict=True) for _ in range(len(group))
    ]
    found = iter(check_drafts(checker, encoder.drafts(states), options, between, most))
    return [list(itertools.islice(found, len(group))) for group in images]


def _kept_layer(options: GenerateOptions, layers: int) -> int | None:
    return options.attention_layer % layers if options.keep_attention else None


def _encode(model: TrOCR, pixels: mx.array, between: Callable[[], None]) -> mx.array:
    """The states of the images; on processors a few images at a time."""
    if cpu_encoder.serves(model):
        rows = cpu_encoder.CpuEncoder(model)([pixels], between).rows
        return mx.array(rows.reshape(len(pixels), -1, rows.shape[1]))
    states = model.config.encoder.num_states(*pixels.shape[1:3])
    count = max(1, cpu_encoder.STATES_AT_ONCE // states)
    if len(pixels) <= count or mx.default_device().type == mx.gpu:
        return model.encode(pixels)
    parts = []
    for i in range(0, len(pixels), count):
        between()
        parts.append(model.encode(pixels[i : i + count]))
        mx.eval(parts[-1])
    return mx.concatenate(parts)


def _greedy(
    model: TrOCR,
    memory: list[KeysValues],
    options: GenerateOptions,
    between: Callable[[], None],
) -> list[Hypothesis]:
    rows = [Growing(options) for _ in range(memory[0][0].shape[0])]
    active = list(rows)
    constraints = Constraints(options)
    decoding = model.decoding(memory, _kept_layer(options, len(memory)))
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
        if finished >= _COMPACT_SHARE * len(active):
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
