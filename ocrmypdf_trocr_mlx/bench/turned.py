"""The tables of turned pages: the skew that is found, and the orientation, and how surely.

Pages are turned by known angles.  A scan has a little skew of its own, which nobody knows; it is
taken to be the median, over the page's turns, of what the engine finds beyond each turn, so that
the errors reported are those about it.
"""

from __future__ import annotations

import logging
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.gray import to_gray

from .engines import Settings, Unavailable
from .report import number, percent
from .truth import TruthPage, read_folder

log = logging.getLogger(__name__)

# OCRmyPDF turns a page only where the engine is surer than this.
SURE = 14.0
MAX_SKEW = 10.0
_GOLDEN = 0.6180339887  # steps of it fill an interval evenly, however many there are

HEADERS = (
    "set",
    "engine",
    "pages",
    "skew: median °",
    "worst °",
    "s",
    "way up: right %",
    "right and sure %",
    "wrong and sure",
    "unsure",
    "s",
)


@dataclass(frozen=True)
class Turner:
    """An engine's two answers on a grey page image, (H, W).

    `skew`: degrees counter-clockwise that make the page level.  `orientation`: degrees clockwise
    that set it upright, and the confidence.
    """

    skew: Callable[[np.ndarray], float]
    orientation: Callable[[np.ndarray], tuple[int, float]]


@dataclass
class Result:
    """Errors in degrees, (found, truth, confidence) of orientations, and seconds, by page."""

    skew_errors: list[float] = field(default_factory=list)
    orientations: list[tuple[int, int, float]] = field(default_factory=list)
    skew_seconds: float = 0.0
    orientation_seconds: float = 0.0

    def __add__(self, other: Result) -> Result:
        return Result(
            self.skew_errors + other.skew_errors,
            self.orientations + other.orientations,
            self.skew_seconds + other.skew_seconds,
            self.orientation_seconds + other.orientation_seconds,
        )


def run(
    folders: list[Path], turners: dict[str, Turner], limit: int | None, turns: int
) -> dict[tuple[str, str], dict[str, Result]]:
    """Results by folder and engine, then page; `turns`: how many skews each page gets."""
    results: dict[tuple[str, str], dict[str, Result]] = {}
    for folder in folders:
        pages = read_folder(folder, limit)
        for count, page in enumerate(pages):
            log.info("%s: page %d of %d, %s", folder.name, count + 1, len(pages), page.name)
            skews = [skew_at(count * turns + k) for k in range(turns)]
            for name, result in _measure(page, turners, skews).items():
                results.setdefault((folder.name, name), {})[page.name] = result
    return results


def skew_at(index: int) -> float:
    """The index-th of angles that fill -MAX_SKEW to MAX_SKEW evenly."""
    return round(MAX_SKEW * (2 * ((index + 1) * _GOLDEN % 1) - 1), 2)


def rows(results: dict[tuple[str, str], dict[str, Result]]) -> list[list[str]]:
    """Rows under HEADERS."""
    return [
        [*key, str(len(pages)), *_figures(sum(pages.values(), Result()))]
        for key, pages in results.items()
    ]


def to_json(results: dict[tuple[str, str], dict[str, Result]]) -> list[dict[str, Any]]:
    """One record for each folder, engine and page."""
    return [
        {"set": folder, "engine": engine, "page": name, **asdict(result)}
        for (folder, engine), pages in results.items()
        for name, result in pages.items()
    ]


def _figures(result: Result) -> list[str]:
    errors, told = result.skew_errors, result.orientations
    right = sum(found == truth for found, truth, _ in told)
    sure = sum(found == truth and confidence > SURE for found, truth, confidence in told)
    wrong = sum(found != truth and confidence > SURE for found, truth, confidence in told)
    unsure = len(told) - sure - wrong
    return [
        number(statistics.median(errors)),
        number(max(errors)),
        number(result.skew_seconds / len(errors)),
        percent(right / len(told)),
        percent(sure / len(told)),
        f"{wrong} of {len(told)}",
        f"{unsure} of {len(told)}",
        number(result.orientation_seconds / len(told)),
    ]


def _measure(page: TruthPage, turners: dict[str, Turner], skews: list[float]) -> dict[str, Result]:
    with Image.open(page.image) as image:
        gray = to_gray(image)
    results = {name: Result() for name in turners}
    beyond: dict[str, list[float]] = {name: [] for name in turners}
    for angle in skews:
        turned = turn(gray, angle)
        for name, turner in turners.items():
            start = time.perf_counter()
            beyond[name].append(turner.skew(turned) + angle)
            results[name].skew_seconds += time.perf_counter() - start
    for name, values in beyond.items():
        own = statistics.median(values)
        results[name].skew_errors = [abs(value - own) for value in values]
    for quarter in range(4):
        # Turned a quarter counter-clockwise, a page is upright again when turned back clockwise.
        turned = np.ascontiguousarray(np.rot90(gray, quarter))
        for name, turner in turners.items():
            start = time.perf_counter()
            found, confidence = turner.orientation(turned)
            results[name].orientation_seconds += time.perf_counter() - start
            results[name].orientations.append((found, 90 * quarter, confidence))
    return results


def turn(gray: np.ndarray, angle: float) -> np.ndarray:
    """A page turned counter-clockwise by `angle` degrees, none of it lost, paper around it."""
    paper = int(np.percentile(gray[::4, ::4], 75))
    image = Image.fromarray(gray)
    return np.asarray(image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=paper))


def _trocr(settings: Settings) -> Turner:
    from ocrmypdf_trocr_mlx.recognizer import shared

    recognizer = shared(settings.model, settings.device)
    from ocrmypdf_trocr_mlx.orientation import find_orientation, find_skew

    return Turner(find_skew, lambda gray: find_orientation(gray, recognizer))


def _tesseract(settings: Settings) -> Turner:
    """Tesseract as OCRmyPDF asks it: --psm 2 for the skew, --psm 0 for the orientation."""
    program = shutil.which("tesseract")
    if program is None:
        raise Unavailable("no command tesseract, install it with your package manager")

    def ask(gray: np.ndarray, *options: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.png"
            Image.fromarray(gray).save(path, dpi=(300, 300), compress_level=1)
            command = [program, *options, str(path), "stdout"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def skew(gray: np.ndarray) -> float:
        answer = ask(gray, "-l", settings.language, "--psm", "2")
        return float(np.degrees(_value(answer, "Deskew angle")))

    def orientation(gray: np.ndarray) -> tuple[int, float]:
        answer = ask(gray, "-l", "osd", "--psm", "0")
        return (
            round(_value(answer, "Rotate")),
            _value(answer, "Orientation confidence"),
        )

    return Turner(skew, orientation)


def _value(answer: str, name: str) -> float:
    """A value Tesseract tells; 0 where it tells none, as on pages with too little text."""
    found = re.search(rf"{name}: *(-?[\d.]+)", answer)
    return float(found[1]) if found else 0.0


TURNERS = {"trocr": _trocr, "tesseract": _tesseract}
