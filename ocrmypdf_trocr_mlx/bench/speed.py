"""One checkpoint in MLX and in PyTorch, on the same lines: load time, speed, memory, text.

Each side runs in a process of its own, so that neither's memory and libraries weigh on the other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .figure import drawn

SIDES = ("mlx", "torch")
BATCH_SIZES = (1, 8, 32)
# With a batch of one, lines are read one by one: a few tell as much as many.
MOST_SINGLE_LINES = 8


class BenchError(RuntimeError):
    """One line that says why a side could not run."""


@dataclass(frozen=True)
class Side:
    """What one side took; `ms` and `lines_per_second` are by batch size, memory in bytes.

    `import_seconds` are the libraries' and the device's start, `load_seconds` the checkpoint's,
    from disk to device.
    `texts` are of the same pixels on both sides, `peak_memory` is the GPU's where it has one,
    else the process's.
    """

    name: str
    version: str
    device: str
    dtype: str
    import_seconds: float
    load_seconds: float
    peak_memory: int
    ms: dict[str, float]
    lines_per_second: dict[str, float]
    texts: list[str]


@dataclass(frozen=True)
class Comparison:
    """Both sides, and the share of lines that both read alike; torch None: not compared."""

    lines: int
    mlx: Side
    torch: Side | None
    exact_match: float | None

    def ratios(self) -> dict[str, float]:
        """How many times better MLX is; memory: its share of PyTorch's."""
        if self.torch is None:
            return {}
        ours, theirs = self.mlx, self.torch
        ratios = {"load": theirs.load_seconds / ours.load_seconds}
        for size, ms in ours.ms.items():
            ratios[f"latency, batch {size}"] = theirs.ms[size] / ms
        return ratios | {"memory share": ours.peak_memory / theirs.peak_memory}


def compare(
    folder: Path,
    images: Sequence[np.ndarray],
    *,
    device: str = "auto",
    batch_sizes: Sequence[int] = BATCH_SIZES,
    torch: bool = True,
) -> Comparison:
    """Measure a checkpoint folder on lines, uint8 (h, w); raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="trocr-bench-") as name:
        lines = Path(name) / "lines.npz"
        np.savez(lines, *images)
        job = {"folder": str(folder), "lines": str(lines), "device": device}
        sides = [
            _run({**job, "side": side, "batch_sizes": list(batch_sizes)})
            for side in (SIDES if torch else SIDES[:1])
        ]
    ours, theirs = sides[0], sides[1] if torch else None
    exact = None
    if theirs is not None:
        pairs = list(zip(ours.texts, theirs.texts, strict=True))
        exact = sum(a == b for a, b in pairs) / len(pairs)
    return Comparison(len(images), ours, theirs, exact)


def _run(job: dict[str, Any]) -> Side:
    """One side in a process of its own; its result is the last line it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "ocrmypdf_trocr_mlx.bench.speed_side", json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BenchError(f"{job['side']}: {last}")
    return Side(**json.loads(done.stdout.strip().splitlines()[-1]))


def plot(comparison: Comparison, path: Path) -> None:
    """Lines a second by batch size as a PNG; ImportError where matplotlib is missing."""
    sides = [side for side in (comparison.mlx, comparison.torch) if side is not None]
    with drawn(path, 1, (6, 4)) as (axes,):
        for i, side in enumerate(sides):
            positions = np.arange(len(side.lines_per_second)) + (i - 0.5) * 0.4
            bars = axes.bar(
                positions, list(side.lines_per_second.values()), 0.4, label=side.version
            )
            axes.bar_label(bars, fmt="%.1f")
        axes.set_xticks(range(len(comparison.mlx.ms)), list(comparison.mlx.ms))
        axes.set_xlabel("lines in a batch")
        axes.set_ylabel("lines a second")
        axes.set_title(f"{comparison.mlx.device}, {comparison.lines} lines")
        axes.legend()
