"""The engines compared: each takes an image file and tells lines and words with their boxes.

An engine that is not installed raises Unavailable where it is opened.
"""

from __future__ import annotations

import csv
import io
import logging
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.result import Box, union

log = logging.getLogger(__name__)

TESSERACT_SECONDS = 300.0  # a page that takes longer is an error


class Unavailable(Exception):
    """The engine is not installed; the message says what to do."""


@dataclass(frozen=True)
class Item:
    """A line or a word: its text, empty where nothing was read, and its box on the page.

    `baseline`: points x, y from left to right, where the engine tells them of a line.
    """

    text: str
    box: Box
    baseline: tuple[tuple[float, float], ...] = ()


@dataclass
class Found:
    """What an engine found on a page: lines in its reading order, and words where it has them."""

    lines: list[Item] = field(default_factory=list)
    words: list[Item] = field(default_factory=list)


@dataclass(frozen=True)
class Settings:
    """What the engines are opened with; `language` is a Tesseract code."""

    model: str | None = None
    device: str = "auto"
    language: str = "eng"


Engine = Callable[[Path], Found]
T = TypeVar("T")


@dataclass(frozen=True)
class Timed:
    found: Found
    seconds: float
    cpu_seconds: float


def timed(engine: Engine, image: Path) -> Timed:
    """Run an engine on a page; CPU seconds are those of all threads and child processes."""
    cpu, start = cpu_seconds(), time.perf_counter()
    found = engine(image)
    return Timed(found, time.perf_counter() - start, cpu_seconds() - cpu)


def cpu_seconds() -> float:
    """CPU seconds used until now by this process and its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def open_engines(
    makers: Mapping[str, Callable[[Settings], T]], names: list[str], settings: Settings
) -> dict[str, T]:
    """Open engines, or all where none is named; those not installed are named in the log.

    Raises ValueError, one line, for an unknown name and where no engine is left.
    """
    if unknown := [name for name in names if name not in makers]:
        raise ValueError(f"--engine {unknown[0]}: choose from {', '.join(makers)}")
    engines = {}
    for name in names or makers:
        try:
            engines[name] = makers[name](settings)
        except Unavailable as e:
            log.warning("%s is left out: %s", name, e)
    if not engines:
        raise ValueError("no engine to compare")
    return engines


def _trocr_reader(settings: Settings) -> Engine:
    from ocrmypdf_trocr_mlx.recognizer import shared

    recognizer = shared(settings.model, settings.device)
    from ocrmypdf_trocr_mlx.apart import page_reader

    reader = page_reader(recognizer)

    def read(path: Path) -> Found:
        with Image.open(path) as image:
            lines = list(reader.read(image).lines)
        return Found(
            [Item(line.text, line.box, line.baseline) for line in lines],
            [Item(word.text, word.box) for line in lines for word in line.words],
        )

    return read


def _trocr_finder(settings: Settings) -> Engine:
    from ocrmypdf_trocr_mlx.gray import to_gray
    from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout, find_layout

    def box(part: LinePart, layout: PageLayout) -> Box:
        line = part.line
        corners = [(x, y + dy, 1.0) for x, y in line.ends for dy in (-line.ascent, line.descent)]
        return _around(np.array(corners) @ layout.to_page.T)

    def find(path: Path) -> Found:
        with Image.open(path) as image:
            layout = find_layout(to_gray(image))
        parts = (p for b in layout.blocks for par in b for row in par for p in row)
        return Found([Item("", box(part, layout)) for part in parts])

    return find


def _tesseract(settings: Settings) -> Engine:
    program = shutil.which("tesseract")
    if program is None:
        raise Unavailable("no command tesseract, install it with your package manager")

    def read(path: Path) -> Found:
        command = [program, str(path), "stdout", "-l", settings.language, "tsv"]
        done = subprocess.run(command, capture_output=True, timeout=TESSERACT_SECONDS, check=False)
        if done.returncode:
            message = done.stderr.decode(errors="replace").strip().splitlines()
            raise RuntimeError(f"tesseract {path}: {message[-1] if message else 'failed'}")
        return parse_tsv(done.stdout.decode("utf-8"))

    return read


def parse_tsv(text: str) -> Found:
    """Words and lines of Tesseract's TSV; a line's box is that of its words."""
    lines: dict[tuple[str, ...], list[Item]] = {}
    for row in csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] != "5" or not row["text"].strip():
            continue
        left, top, width, height = (int(row[k]) for k in ("left", "top", "width", "height"))
        box = Box(left, top, left + width, top + height)
        key = tuple(row[k] for k in ("block_num", "par_num", "line_num"))
        lines.setdefault(key, []).append(Item(row["text"].strip(), box))
    return Found(
        [Item(" ".join(w.text for w in ws), union([w.box for w in ws])) for ws in lines.values()],
        [word for words in lines.values() for word in words],
    )


def _rapidocr(settings: Settings) -> Any:
    try:
        from rapidocr import RapidOCR
    except ImportError as e:
        raise Unavailable(f"pip install rapidocr onnxruntime ({e})") from e
    # Its classifier of upside-down lines turns more lines wrong than right on upright pages.
    return RapidOCR(params={"Global.use_cls": False, "Global.log_level": "error"})


def _rapidocr_reader(settings: Settings) -> Engine:
    engine = _rapidocr(settings)

    def read(path: Path) -> Found:
        result = engine(str(path), return_word_box=True)
        if result.boxes is None:
            return Found()
        lines = [Item(t, _around(q)) for t, q in zip(result.txts, result.boxes, strict=True)]
        words = [w for line in result.word_results or () for w in line]
        return Found(lines, [Item(text, _around(quad)) for text, _, quad in words if quad])

    return read


def _rapidocr_finder(settings: Settings) -> Engine:
    engine = _rapidocr(settings)

    def find(path: Path) -> Found:
        result = engine(str(path), use_rec=False)
        quads = () if result.boxes is None else result.boxes
        return Found([Item("", _around(quad)) for quad in quads])

    return find


def _around(points: Any) -> Box:
    """The box around points (n, 2)."""
    (x0, y0), (x1, y1) = np.min(points, axis=0), np.max(points, axis=0)
    return Box(float(x0), float(y0), float(x1), float(y1))


# Engines that read, and that find the lines without reading them; Tesseract's command has to.
READERS = {"trocr": _trocr_reader, "tesseract": _tesseract, "rapidocr": _rapidocr_reader}
FINDERS = {"trocr": _trocr_finder, "tesseract": _tesseract, "rapidocr": _rapidocr_finder}
