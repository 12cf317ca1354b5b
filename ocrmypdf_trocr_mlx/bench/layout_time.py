"""What the layout of a page costs, the pages made as large as A4 scanned at 300 dpi."""

from __future__ import annotations

import logging
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.gray import to_gray
from ocrmypdf_trocr_mlx.layout import find_layout

from .engines import cpu_seconds
from .report import number
from .truth import read_folder

log = logging.getLogger(__name__)

A4_PIXELS = 2480 * 3508
HEADERS = ("set", "engine", "pages", "s: median", "worst", "CPU s: median")


@dataclass(frozen=True)
class Result:
    """Seconds that a page's layout took, by the clock and of processors."""

    set: str
    page: str
    seconds: float
    cpu_seconds: float


def run(folders: list[Path], limit: int | None) -> list[Result]:
    """Find the layout of each page in one thread, this package's alone."""
    results = []
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        for folder in folders:
            for page in read_folder(folder, limit):
                log.info("%s: layout of %s", folder.name, page.name)
                with Image.open(page.image) as image:
                    gray = as_a4(to_gray(image))
                cpu, start = cpu_seconds(), time.perf_counter()
                find_layout(gray)
                seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
                results.append(Result(folder.name, page.name, seconds, cpu))
    finally:
        cv2.setNumThreads(threads)
    return results


def as_a4(gray: np.ndarray) -> np.ndarray:
    """A page resized to as many pixels as A4 has at 300 dpi, its aspect kept."""
    height, width = gray.shape
    factor = (A4_PIXELS / (height * width)) ** 0.5
    size = max(1, round(width * factor)), max(1, round(height * factor))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(gray, size, interpolation=how))


def rows(results: list[Result]) -> list[list[str]]:
    """A row for each set, under HEADERS."""
    table = []
    for name in dict.fromkeys(r.set for r in results):
        seconds = [r.seconds for r in results if r.set == name]
        cpu = statistics.median(r.cpu_seconds for r in results if r.set == name)
        figures = number(statistics.median(seconds)), number(max(seconds)), number(cpu)
        table.append([name, "trocr", str(len(seconds)), *figures])
    return table


def to_json(results: list[Result]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]
