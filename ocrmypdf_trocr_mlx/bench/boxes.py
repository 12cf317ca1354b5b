"""How well text was found: truth boxes covered by line boxes, word boxes that agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ocrmypdf_trocr_mlx.result import Box

# A line is found where line boxes cover this share of its box.
COVERED = 0.5
# A line box so much higher than the truth's holds several lines: it finds none of them.
MAX_HEIGHT = 2.2
# A fragment is cut where its best single line box covers less than this of what all cover.
WHOLE = 0.75
# A word is found where a word box agrees with its box as far as this.
SAME_WORD = 0.5


@dataclass(frozen=True)
class Fragment:
    """A word or a line of the truth, and the height of the highest on its row."""

    box: Box
    row: float


@dataclass
class BoxScore:
    """Counts for a page, or for several added up.

    `fragments`: the truth's smallest boxes; `cut`: those found, but in pieces; `boxes`: line boxes
    found, of which `off` lie on no truth and `merged` hold fragments that stand above each other.
    `overlap`: the intersection over union of each truth word with the word box that agrees
    best, added up.
    """

    lines: int = 0
    lines_found: int = 0
    fragments: int = 0
    fragments_found: int = 0
    cut: int = 0
    boxes: int = 0
    off: int = 0
    merged: int = 0
    words: int = 0
    words_found: int = 0
    overlap: float = 0.0

    def __add__(self, other: BoxScore) -> BoxScore:
        return BoxScore(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def line_recall(self) -> float | None:
        return self.lines_found / self.lines if self.lines else None

    @property
    def fragment_recall(self) -> float | None:
        return self.fragments_found / self.fragments if self.fragments else None

    @property
    def word_recall(self) -> float | None:
        return self.words_found / self.words if self.words else None

    @property
    def mean_overlap(self) -> float | None:
        return self.overlap / self.words if self.words else None


def line_score(truth: Sequence[Box], found: Sequence[Box]) -> BoxScore:
    """Truth lines (or fragments) that line boxes of no more than a line's height cover."""
    hits = sum(coverage(box, found) >= COVERED for box in truth)
    return BoxScore(lines=len(truth), lines_found=hits)


def fragment_score(truth: Sequence[Fragment], found: Sequence[Box]) -> BoxScore:
    """What line boxes make of the truth's smallest boxes: words where it has them, else lines."""
    shares = np.array([coverage(part.box, found, part.row) for part in truth])
    return _fragment_score([part.box for part in truth], shares, found)


def _fragment_score(truth: list[Box], shares: np.ndarray, found: Sequence[Box]) -> BoxScore:
    hits = shares >= COVERED
    best = _inside(_array(truth), _array(found)).max(axis=1) if hits.any() else np.zeros(len(hits))
    return BoxScore(
        fragments=len(truth),
        fragments_found=int(hits.sum()),
        cut=int((best < WHOLE * shares)[hits].sum()),
        boxes=len(found),
        off=sum(is_off(box, truth) for box in found),
        merged=_merged(truth, found),
    )


def _merged(truth: Sequence[Box], found: Sequence[Box]) -> int:
    """How many boxes hold most of two truth boxes, one of which is above the other."""
    if not truth or not found:
        return 0
    boxes = _array(truth)
    held = _inside(boxes, _array(found)) >= COVERED
    count = 0
    for column in held.T:
        x0, y0, x1, y1 = boxes[column].T
        beside = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
        above = np.subtract.outer(y0, y1) > -0.2 * np.minimum.outer(y1 - y0, y1 - y0)
        count += bool((above & (beside > 0.3 * np.minimum.outer(x1 - x0, x1 - x0))).any())
    return count


def is_off(box: Box, truth: Sequence[Box]) -> bool:
    """Does less than a tenth of a line box lie on any one truth line?"""
    if not truth or box.width <= 0 or box.height <= 0:
        return True
    here, lines = _array([box])[0], _array(truth)
    sides = np.minimum(here[2:], lines[:, 2:]) - np.maximum(here[:2], lines[:, :2])
    return bool(sides.clip(0).prod(axis=1).max() < 0.1 * box.width * box.height)


def word_score(truth: Sequence[Box], found: Sequence[Box]) -> BoxScore:
    """Truth words, and how well the best word box fits each."""
    if not truth or not found:
        return BoxScore(words=len(truth))
    best = _overlaps(_array(truth), _array(found)).max(axis=1)
    return BoxScore(
        words=len(truth),
        words_found=int((best >= SAME_WORD).sum()),
        overlap=float(best.sum()),
    )


def coverage(truth: Box, found: Sequence[Box], row: float | None = None) -> float:
    """Share of a truth box under the union of those boxes that hold no more than its row.

    `row`: the row's height, the box's own where not given: a line is higher than its word "as".
    Counted in a grid of at most 1 pixel (or a 200th of a side) a cell.
    """
    near = [
        box
        for box in found
        if box.height < MAX_HEIGHT * max(row or 0.0, truth.height)
        and min(box.right, truth.right) > max(box.left, truth.left)
        and min(box.bottom, truth.bottom) > max(box.top, truth.top)
    ]
    if not near:
        return 0.0
    columns, rows = (max(1, min(200, round(side))) for side in (truth.width, truth.height))
    x = truth.left + (np.arange(columns) + 0.5) * truth.width / columns
    y = truth.top + (np.arange(rows) + 0.5) * truth.height / rows
    covered = np.zeros((rows, columns), bool)
    for box in near:
        inside = (x >= box.left) & (x < box.right)
        covered |= ((y >= box.top) & (y < box.bottom))[:, None] & inside
    return float(covered.mean())


def _array(boxes: Sequence[Box]) -> np.ndarray:
    return np.array([(b.left, b.top, b.right, b.bottom) for b in boxes], float)


def _inside(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Share of each box of a (n, 4) that lies in each of b (m, 4): (n, m)."""
    area = (a[:, 2:] - a[:, :2]).prod(axis=1)
    return _common(a, b) / np.maximum(area, 1e-9)[:, None]


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Area that each box of a (n, 4) shares with each of b (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2))


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union, (len(a), len(b)), of boxes (n, 4)."""
    common = _common(a, b)
    area_a, area_b = ((v[:, 2:] - v[:, :2]).prod(axis=1) for v in (a, b))
    union = area_a[:, None] + area_b[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)
