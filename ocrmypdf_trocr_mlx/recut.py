"""Other cuts of a line that could not be read: it may be two lines, or two things side by side.

Words beside a scribble, a signature over a name, lines that touch: what is left of them after a
cut may be read surely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ocrmypdf_trocr_mlx.assembly import Row
from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.recognizer.ink import ink_mask, ink_profile
from ocrmypdf_trocr_mlx.result import Box, Word
from ocrmypdf_trocr_mlx.sideways import covered

# A line is cut otherwise if it is so wide and its letters are so high, in letter sizes; so many
# at most, and of what is read then fewer characters may be chance.
WORD, LETTER, MOST, LEAST_READ = 2.0, 0.6, 32, 3
# Rows are parted where there is less than this share of the ink of both, in the middle of the crop.
VALLEY, MIDDLE = 0.4, (0.25, 0.75)
# Columns are parted at the widest gap, of at least so many heights of the crop.
GAP = 0.3
# Paper around the ink, in heights of it.
PAPER = 0.15
LEAST = 3  # pixels; less is no piece

Cut = list[LinePart]  # pieces, below each other or from left to right


def read_again(
    parts: Sequence[LinePart],
    layout: PageLayout,
    read: Callable[[Sequence[LinePart], PageLayout], list[list[Word]]],
    taken: Sequence[Box],
) -> dict[int, list[Row]]:
    """Of parts of a layout that could not be read, by their ids: the rows of the better cut.

    `read` gives the words of parts, none for one that it does not trust.  A piece of which words
    lie on boxes that are `taken` by other words is left out.
    """
    ways = [(part, cut) for part in _worth_a_cut(parts, layout) for cut in cuts(part) if cut]
    found = iter(read([piece for _, cut in ways for piece in cut], layout))
    best: dict[int, list[Row]] = {}
    most: dict[int, int] = {}
    for part, cut in ways:
        row = [(piece, words) for piece, words in zip(cut, found, strict=False) if _is_long(words)]
        length = sum(len(word.text) for _, words in row for word in words)
        if length > most.get(id(part), 0):
            most[id(part)] = length
            above = len(row) > 1 and row[0][0].line.bottom < row[1][0].line.middle
            best[id(part)] = [[piece] for piece in row] if above else [row]
    return {key: [_without_copies(row, taken) for row in rows] for key, rows in best.items()}


def _worth_a_cut(parts: Sequence[LinePart], layout: PageLayout) -> list[LinePart]:
    """Those of some parts in which a few letters may be, the largest, if they are many."""
    size = layout.letter_size
    able = [p for p in parts if p.line.width > WORD * size and p.line.size > LETTER * size]
    return sorted(able, key=lambda part: part.line.width, reverse=True)[:MOST]


def _is_long(words: Sequence[Word]) -> bool:
    return len(" ".join(word.text for word in words)) >= LEAST_READ


def _without_copies(row: Row, taken: Sequence[Box]) -> Row:
    """The row less pieces, some of whose words lie where others were read."""
    return [
        (piece, words)
        for piece, words in row
        if not any(covered(word.box, box) for word in words for box in taken)
    ]


def cuts(part: LinePart) -> tuple[Cut, Cut]:
    """The rows and the columns that a line may be; one of them, or both, is empty.

    Of two pieces one may hold no ink, and is left out.
    """
    crop = part.crop
    ink = ink_mask(crop)
    height, width = ink.shape
    rows = [(slice(a, b), slice(0, width)) for a, b in _rows(ink)]
    columns = [(slice(0, height), slice(a, b)) for a, b in _columns(crop)]
    return _pieces(part, ink, rows), _pieces(part, ink, columns)


def _rows(ink: np.ndarray) -> list[tuple[int, int]]:
    """Two ranges of rows, parted where there is the least ink; none where there is no valley."""
    height = len(ink)
    k = max(1, height // 20)
    cover = np.convolve(ink.sum(axis=1).astype(float), np.ones(k) / k, "same")
    low, high = (int(share * height) for share in MIDDLE)
    if high - low < LEAST:
        return []
    y = low + int(cover[low:high].argmin())
    if cover[y] > VALLEY * min(cover[:y].max(initial=0), cover[y:].max(initial=0)):
        return []
    return [(0, y), (y, height)]


def _columns(crop: np.ndarray) -> list[tuple[int, int]]:
    """Two ranges of columns, parted in the middle of the widest gap; none where it is narrow."""
    profile = ink_profile(crop)
    inner = [(b - a, a, b) for a, b in profile.free_runs() if a > 0 and b < len(profile.columns)]
    width, a, b = max(inner, default=(0, 0, 0))
    if width < GAP * profile.height:
        return []
    x = round((a + b) / 2 * profile.scale)
    return [(0, x), (x, crop.shape[1])]


def _pieces(part: LinePart, ink: np.ndarray, windows: list[tuple[slice, slice]]) -> Cut:
    return [piece for window in windows if (piece := _piece(part, ink, *window)) is not None]


def _piece(part: LinePart, ink: np.ndarray, rows: slice, columns: slice) -> LinePart | None:
    """The ink in a window of the crop as a line of its own, standing on its lowest ink."""
    inked = ink[rows, columns]
    ys, xs = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if len(ys) < LEAST or len(xs) < LEAST:
        return None
    top, bottom, left, right = ys[0], ys[-1] + 1, xs[0], xs[-1] + 1
    paper = max(2, round(PAPER * (bottom - top)))
    padded = np.pad(part.crop[rows, columns], paper, mode="edge")
    crop = padded[top : bottom + 2 * paper, left : right + 2 * paper]
    line, k = part.line, part.scale
    x0, x1 = (line.left - part.margin + (columns.start + x) / k for x in (left, right))
    drop = (rows.start + bottom - part.baseline_row) / k
    x = np.array([x0, *(x for x, _ in line.bend if x0 < x < x1), x1])
    y = line.base(x) + drop
    height = float(bottom - top) / k
    piece = TextLine(x0, x1, float(y[0]), float(y[-1]), height, 0.0, min(line.size, height))
    if line.bend:
        piece = piece.along(x, y)
    baseline_row = float(paper + bottom - top)
    return LinePart(piece, np.ascontiguousarray(crop), paper / k, k, baseline_row)
