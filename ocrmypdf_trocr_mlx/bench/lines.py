"""Character errors on single lines, source by source."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rapidfuzz.distance import Levenshtein

from ocrmypdf_trocr_mlx.gray import to_gray
from ocrmypdf_trocr_mlx.recognizer import Recognizer
from ocrmypdf_trocr_mlx.result import Box
from ocrmypdf_trocr_mlx.training.data import Found, Line, Problem, clean_text, read_labels

from .report import percent
from .truth import has_pages, is_case_blind, named, read_folder

HEADERS = ("source", "lines", "characters", "CER %", "exact %", "unreadable")
# Around a line's box, of its height: a truth's box may cut into the ink.
_MARGIN = 0.04


@dataclass
class Source:
    """Lines of one source: how many, how many read without error, and the errors in characters.

    `case_blind`: scored without regard to case.
    """

    lines: int = 0
    exact: int = 0
    characters: int = 0
    errors: int = 0
    unreadable: int = 0
    case_blind: bool = False

    @property
    def cer(self) -> float | None:
        return self.errors / self.characters if self.characters else None

    def add(self, truth: str, read: str) -> None:
        errors = Levenshtein.distance(truth, read)
        self.lines += 1
        self.exact += not errors
        self.characters += len(truth)
        self.errors += errors


def read_source(path: Path) -> Found:
    """Lines of training data or of a folder of pages with truth.

    Where they name no source, it is called as the file or folder is.
    """
    if has_pages(path):
        yield from _cut_lines(path)
    else:
        for found in read_labels(path):
            yield dataclasses.replace(found, source=found.source or path.name)


def _cut_lines(folder: Path) -> Found:
    """The lines of a folder's pages, cut out; those without a box or a text are left out."""
    for page in read_folder(folder):
        with Image.open(page.image) as image:
            gray = to_gray(image)
        for number, line in enumerate(page.lines, start=1):
            text = clean_text(line.text)
            if line.box is None or not text:
                continue
            name = f"{page.image}, line {number}"
            crop = _cut(gray, line.box)
            if min(crop.shape) < 2:
                yield Problem(name, "its box is not on the page", folder.name)
            else:
                yield Line(name, text, crop, page.name, folder.name)


def _cut(gray: np.ndarray, box: Box) -> np.ndarray:
    """A copy, so that lines that wait do not hold their pages."""
    margin = max(1, round(_MARGIN * box.height))
    top, left = (max(0, round(v) - margin) for v in (box.top, box.left))
    bottom, right = (max(0, round(v) + margin) for v in (box.bottom, box.right))
    return gray[top:bottom, left:right].copy()


def score_lines(
    found: Iterable[Line | Problem], recognizer: Recognizer, limit: int | None, nocase: bool
) -> dict[str, Source]:
    """Read lines, of each source the first `limit`, and count what differs from their labels.

    Case does not count with `nocase`, in sources whose labels have none, and where a label is
    known to be in capitals whatever the image shows.
    """
    sources: dict[str, Source] = collections.defaultdict(Source)
    labels: dict[str, list[str]] = collections.defaultdict(list)
    waiting = []
    for line in found:
        if isinstance(line, Problem):
            sources[line.source].unreadable += 1
            continue
        labels[line.source].append(line.text)
        if limit is None or len(labels[line.source]) <= limit:
            waiting.append((line.source, line.text, line.capitals, recognizer.submit(line.pixels)))
    for name, texts in labels.items():
        sources[name].case_blind = nocase or is_case_blind(texts)
    for name, text, capitals, reading in waiting:
        read = reading.result().text
        if capitals or sources[name].case_blind:
            text, read = text.casefold(), read.casefold()
        sources[name].add(text, read)
    return dict(sorted(sources.items()))


def rows(sources: dict[str, Source]) -> list[list[str]]:
    """A row for each source, under HEADERS."""
    return [
        [
            named(name or "-", s.case_blind),
            str(s.lines),
            str(s.characters),
            percent(s.cer),
            percent(s.exact / s.lines if s.lines else None),
            str(s.unreadable),
        ]
        for name, s in sources.items()
    ]
