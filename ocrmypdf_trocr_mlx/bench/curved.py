"""The table of pages whose lines are bent: what is read of them, and how well baselines follow."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageFont

from .curved_pages import SIZE, Points, write_pages
from .engines import Engine, timed
from .pages import Result as PageResult
from .pages import measure
from .report import number, percent
from .truth import read_page

log = logging.getLogger(__name__)

HEADERS = (
    "lines bent by",
    "engine",
    "pages",
    "CER %",
    "F1 %",
    "words %",
    "baselines off: mean",
    "worst 5 %",
    "s/page",
)


def baseline_errors(truth: list[Points], found: Iterable[Points], x_height: float) -> np.ndarray:
    """How far off, in x-heights, the nearest baseline found is at each point of the true ones.

    At most 1, which is also the error of a point above or below which there is none.
    """
    errors = [np.ones(len(points)) for points in truth]
    for line in found:
        for error, points in zip(errors, truth, strict=True):
            x, y = points.T
            off = np.abs(np.interp(x, *line.T) - y) / x_height
            inside = (x > line[0, 0] - x_height) & (x < line[-1, 0] + x_height)
            error[inside] = np.minimum(error, off)[inside]
    return np.concatenate(errors)


@dataclass
class Result:
    """An engine's figures on a page; `errors` of baselines are empty where it tells none."""

    bent: str
    engine: str
    page: str
    figures: PageResult
    errors: list[float]


def run(engines: dict[str, Engine], count: int) -> list[Result]:
    """Read so many pages of `write_pages` with each engine."""
    _, top, _, _ = ImageFont.load_default(SIZE).getbbox("x", anchor="ls")
    results = []
    with tempfile.TemporaryDirectory(prefix="trocr-curved-") as name:
        for bent, path, truth in write_pages(Path(name), count):
            page = read_page(path)
            assert page is not None
            log.info("curved pages: %s", page.name)
            for engine, read in engines.items():
                timing = timed(read, page.image)
                lines = [np.array(x.baseline) for x in timing.found.lines if x.baseline]
                errors = baseline_errors(truth, lines, -top).tolist() if lines else []
                figures = measure(page, timing, True, False)
                results.append(Result(bent, engine, page.name, figures, errors))
    return results


def rows(results: list[Result]) -> list[list[str]]:
    """Rows under HEADERS, one for each strength and engine."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.bent, result.engine), []).append(result)
    table = []
    for key, group in groups.items():
        figures = sum((result.figures for result in group), PageResult())
        errors = [error for result in group for error in result.errors]
        table.append(
            [
                *key,
                str(len(group)),
                percent(figures.text.cer),
                percent(figures.text.f1),
                percent(figures.boxes.word_recall),
                number(float(np.mean(errors)) if errors else None),
                number(float(np.quantile(errors, 0.95)) if errors else None),
                number(figures.seconds / len(group)),
            ]
        )
    return table


def to_json(results: list[Result]) -> list[dict[str, Any]]:
    """One record for each page and engine."""
    return [asdict(result) for result in results]
