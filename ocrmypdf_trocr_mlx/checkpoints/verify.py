"""Whether a checkpoint gives here what its source gives in transformers and torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from .images import PAPER, ImageProcessor
from .load import load
from .reference import Reference, filled_model

# float32 on both sides: what is left is the order of summing.
EXACT = 1e-3
# Tokens that must be the likeliest for both where weights were rounded.
_LEAST_AGREEMENT = 0.9


@dataclass(frozen=True)
class Verification:
    """Logits of the same images and tokens: differences, and the share of equal best tokens."""

    images: int
    tokens: int
    largest_difference: float
    mean_difference: float
    agreement: float
    exact: bool

    @property
    def passed(self) -> bool:
        """`exact`: nothing was rounded, so there must be no difference to speak of."""
        if self.exact:
            return self.largest_difference <= EXACT and self.agreement == 1
        return self.agreement >= _LEAST_AGREEMENT


def verify(source: Path, target: Path, images: Sequence[np.ndarray]) -> Verification:
    """Compare `target` here with `source` in torch, both in float32, on line images.

    The tokens are what the source reads.  Raises CheckpointError, too where torch is missing.
    """
    reference = Reference(filled_model(source))
    checkpoint = load(target)  # expanded: a CPU is slow at what is quantized
    pixels = full_width(checkpoint.processor, images)
    options = dataclasses.replace(checkpoint.options, num_beams=1)
    rows = reference.generate(pixels, options)
    length = max(map(len, rows))
    tokens = np.full((len(rows), length), options.pad, np.int64)
    tokens[:, 0] = options.start
    given = np.zeros(tokens.shape, bool)
    for row, read, used in zip(tokens, rows, given, strict=True):
        row[1 : len(read)] = read[:-1]
        used[: len(read)] = True
    expected = reference.logits(pixels, tokens)[given]
    got = np.array(checkpoint.model(mx.array(pixels), mx.array(tokens)).astype(mx.float32))[given]
    difference = np.abs(got - expected)
    return Verification(
        images=len(rows),
        tokens=int(given.sum()),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        agreement=float((got.argmax(-1) == expected.argmax(-1)).mean()),
        exact=_is_float32(target),
    )


def full_width(processor: ImageProcessor, images: Sequence[np.ndarray]) -> np.ndarray:
    """Lines, grey, as transformers takes them, which knows no narrower images: (B, H, W, 3)."""
    widest = np.full((processor.height, processor.width), PAPER, np.uint8)
    pixels = processor([*images, widest])[:-1]
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else pixels


def _is_float32(folder: Path) -> bool:
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return {tensor["dtype"] for tensor in header.values()} == {"F32"}
