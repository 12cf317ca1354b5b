"""Token for token: what a checkpoint reads here, and in transformers with torch, of the same lines.

Both sides compute in float32 from the same pixels.  A difference is explained by a tie, two
ways to go on that torch itself finds equally good, or it is a fault.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint
from ocrmypdf_trocr_mlx.checkpoints.reference import Reference
from ocrmypdf_trocr_mlx.checkpoints.verify import full_width
from ocrmypdf_trocr_mlx.model.generate import generate
from ocrmypdf_trocr_mlx.model.options import GenerateOptions

# Two candidates nearer than this in torch's own scores: rounding decides which is first.
TIE = 1e-4
_AT_ONCE = 8


@dataclass(frozen=True)
class Difference:
    """A line read otherwise: from the token at `position` on, counted from 0 without the start.

    `gap` is by how much torch prefers its own reading: logits of the first token that differs
    where the search is greedy, final scores where it has beams.
    """

    line: int
    position: int
    here: list[int]
    torch: list[int]
    gap: float

    @property
    def is_tie(self) -> bool:
        return abs(self.gap) <= TIE


@dataclass(frozen=True)
class Agreement:
    """Of a search with so many beams; `logits` is the largest difference over torch's tokens."""

    beams: int
    lines: int
    tokens: int
    logits: float
    differences: list[Difference] = field(default_factory=list)

    @property
    def identical(self) -> int:
        return self.lines - len(self.differences)

    @property
    def faults(self) -> list[Difference]:
        """The differences that no tie explains."""
        return [difference for difference in self.differences if not difference.is_tie]


def compare(
    reference: Reference,
    checkpoint: Checkpoint,
    images: Sequence[np.ndarray],
    options: GenerateOptions,
    step: Callable[[], None] = lambda: None,
) -> Agreement:
    """Read lines, uint8 (h, w) or (h, w, 3), with both; `step` is called after each batch.

    Guards against loops must be off in `options`: transformers has none.
    """
    options = dataclasses.replace(options, loop_limit=0, keep_attention=False)
    differences: list[Difference] = []
    tokens, largest = 0, 0.0
    for first, batch in _batches(images):
        pixels = full_width(checkpoint.processor, batch)
        theirs = reference.generate(pixels, options)
        read = generate(checkpoint.model, mx.array(pixels), options)
        ours = [hypothesis.tokens for hypothesis in read]
        tokens += sum(map(len, theirs))
        largest = max(largest, logits_difference(reference, checkpoint, pixels, theirs, options))
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a != b:
                gap = _gap(reference, pixels[i : i + 1], a, b, options)
                differences.append(Difference(first + i, _fork(a, b), a, b, gap))
        step()
    return Agreement(options.num_beams, len(images), tokens, largest, differences)


def batches(count: int) -> int:
    """How often `compare` calls `step` for so many lines."""
    return -(-count // _AT_ONCE)


def _batches(images: Sequence[np.ndarray]) -> list[tuple[int, Sequence[np.ndarray]]]:
    return [(i, images[i : i + _AT_ONCE]) for i in range(0, len(images), _AT_ONCE)]


def logits_difference(
    reference: Reference,
    checkpoint: Checkpoint,
    pixels: np.ndarray,
    rows: Sequence[Sequence[int]],
    options: GenerateOptions,
) -> float:
    """The largest difference of logits on the way along the tokens given for each image."""
    tokens, given = _forced(rows, options)
    here = np.array(checkpoint.model(mx.array(pixels), mx.array(tokens)))
    return float(np.abs(here - reference.logits(pixels, tokens))[given].max())


def _forced(
    rows: Sequence[Sequence[int]], options: GenerateOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Decoder inputs (B, L) that have each row's tokens predicted, and where there are any."""
    tokens = np.full((len(rows), max(map(len, rows))), options.pad, np.int64)
    tokens[:, 0] = options.start
    given = np.zeros(tokens.shape, bool)
    for target, used, row in zip(tokens, given, rows, strict=True):
        target[1 : len(row)] = row[:-1]
        used[: len(row)] = True
    return tokens, given


def _fork(a: Sequence[int], b: Sequence[int]) -> int:
    """The first position where two sequences differ."""
    return next(i for i, (x, y) in enumerate(itertools.zip_longest(a, b)) if x != y)


def _gap(
    reference: Reference,
    pixels: np.ndarray,
    ours: list[int],
    theirs: list[int],
    options: GenerateOptions,
) -> float:
    """How much better torch's reading of one image is than ours, by torch's own figures."""
    if options.num_beams > 1:
        scores = [_score(reference, pixels, row, options) for row in (theirs, ours)]
        return scores[0] - scores[1]
    position = _fork(ours, theirs)
    if position >= min(len(ours), len(theirs)):
        return np.inf  # one went on where the other had ended: no choice between tokens
    tokens, _ = _forced([theirs[: position + 1]], options)
    logits = reference.logits(pixels, tokens)[0, -1]
    return float(logits[theirs[position]] - logits[ours[position]])


def _score(
    reference: Reference, pixels: np.ndarray, row: list[int], options: GenerateOptions
) -> float:
    """What beam search ranks by: the sum of log-probabilities over a power of the length."""
    tokens, _ = _forced([row], options)
    logits = reference.logits(pixels, tokens)[0].astype(np.float64)
    logits -= logits.max(axis=-1, keepdims=True)
    logprobs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return float(logprobs[np.arange(len(row)), row].sum() / len(row) ** options.length_penalty)
