"""What a checkpoint loses in lower precision: the same lines read with each, against the truth."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.convert import DTYPES, convert
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.recognizer import Recognizer
from ocrmypdf_trocr_mlx.training.data import Line, clean_text
from ocrmypdf_trocr_mlx.training.evaluate import edit_distance

EXACT = "float32"


@dataclass(frozen=True)
class Cost:
    """Lines read in one precision; `changed` lines have another text than in float32.

    `errors` are characters to insert, delete or replace, `characters` those of the truth,
    `stored` the bytes of the weights on disk.
    """

    precision: str
    stored: int
    errors: int
    characters: int
    changed: int
    seconds: float

    @property
    def cer(self) -> float:
        return self.errors / max(1, self.characters)


def measure(
    folder: Path, lines: Sequence[Line], precisions: Sequence[str], device: str
) -> Iterator[Cost]:
    """Read the lines in float32, then in each of "float16", "bfloat16", "8-bit", "4-bit" named.

    The checkpoint is converted and used as the recognizer uses it on this device: a GPU computes
    with what is stored (in float16 where layers are quantized), a processor, which is slow at
    that, in float32 with the weights as they were rounded (see `backend.keeps_quantized`).
    `device` has been prepared.
    """
    exact: list[str] = []
    for precision in (EXACT, *precisions):
        start = time.perf_counter()
        texts, stored = _read(folder, lines, precision, device)
        exact = exact or texts
        truths = [clean_text(line.text) for line in lines]
        yield Cost(
            precision,
            stored,
            errors=sum(map(edit_distance, texts, truths)),
            characters=sum(map(len, truths)),
            changed=sum(a != b for a, b in zip(texts, exact, strict=True)),
            seconds=time.perf_counter() - start,
        )


def _read(
    folder: Path, lines: Sequence[Line], precision: str, device: str
) -> tuple[list[str], int]:
    """The texts, and the bytes that the weights take on disk."""
    bits = int(precision.removesuffix("-bit")) if precision.endswith("-bit") else None
    dtype = "float16" if bits else precision
    with tempfile.TemporaryDirectory(prefix="trocr-precision-") as name:
        target = Path(name) / "checkpoint"
        convert(folder, target, dtype, bits)
        stored = (target / "model.safetensors").stat().st_size
        on_gpu = mx.default_device().type == mx.gpu
        used = DTYPES[dtype] if on_gpu else mx.float32
        checkpoint = load(target, used, keep_quantized=backend.keeps_quantized())
    recognizer = Recognizer(checkpoint, device=device)
    try:
        readings = recognizer.read([line.pixels for line in lines])
    finally:
        recognizer.close()
        mx.clear_cache()
    return [clean_text(reading.text) for reading in readings], stored
