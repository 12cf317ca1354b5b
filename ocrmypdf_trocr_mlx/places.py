"""Where the words of a line are on the page: the boxes of their ink."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout
from ocrmypdf_trocr_mlx.levels import percentiles
from ocrmypdf_trocr_mlx.recognizer import ReadWord
from ocrmypdf_trocr_mlx.result import Box, Character, Word

# A rule has ink in so many of a word's columns; no letter below the baseline has.
_RULE_COVER = 0.9
# Ink lower than such a share of its line is specks; a single character may be a dot or a dash.
LEAST_WORD, LEAST_MARK = 0.15, 0.03


def word_of(read: ReadWord, box: Callable[[float, float, float], Box]) -> Word:
    """A word on the page; `box` tells where its ink in columns [left, right) is.

    `box` is told, too, how high ink of the line is at least, as a share of the line's height.
    """
    characters = (
        Character(c.text, box(c.left, c.right, LEAST_MARK), c.confidence) for c in read.characters
    )
    whole = box(read.left, read.right, LEAST_WORD)
    return Word(read.text, whole, read.confidence, tuple(characters))


def word_box(part: LinePart, left: float, right: float, layout: PageLayout, least: float) -> Box:
    """The box of the ink at columns [left, right) of the crop, on the page."""
    line, k = part.line, part.scale
    x0, x1 = line.left - part.margin + left / k, line.left - part.margin + right / k
    middle = (x0 + x1) / 2
    feet = line.base(np.array([x0, middle, x1] if line.bend else [middle]))
    above, below = ink_rows(part, int(left), int(np.ceil(right)), least)
    top, bottom = feet.min() - above, feet.max() + below
    corners = np.array([[x, y, 1.0] for x in (x0, x1) for y in (top, bottom)])
    points = corners @ layout.to_page.T
    (px0, py0), (px1, py1) = points.min(0), points.max(0)
    return Box(float(px0), float(py0), float(px1), float(py1))


def ink_rows(
    part: LinePart, left: int, right: int, least: float = LEAST_WORD
) -> tuple[float, float]:
    """How far the ink in some columns of a crop goes above and below the baseline.

    Looked for within the line's own ascent and descent, where no other line's ink is; a rule under
    the words is none of it.
    """
    line, k = part.line, part.scale
    height = part.crop.shape[0]
    total = line.ascent + line.descent
    base = part.baseline_row
    top, bottom = base - line.ascent * k, base + line.descent * k
    columns = part.crop[max(0, int(top)) : min(height, int(np.ceil(bottom)) + 1), left:right]
    if not columns.size:
        return line.ascent, line.descent
    dark, light = percentiles(columns, (3, 90)).tolist()
    first = max(0, int(top))
    ink = columns < (dark + light) / 2
    rows = _without_rule(np.flatnonzero(ink.any(axis=1)), ink.mean(axis=1), base - first)
    if light - dark < 20 or not len(rows):
        return line.ascent, line.descent
    above = (base - (first + rows[0])) / k
    below = (first + rows[-1] + 1 - base) / k
    if above + below < least * total:
        return line.ascent, line.descent
    return above, below


def _without_rule(rows: np.ndarray, cover: np.ndarray, base: float) -> np.ndarray:
    """`rows` with ink, less those of a rule below the baseline, right across the columns.

    `cover` is the share of ink of each row.  Underscores, which have nothing above them, stay.
    """
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    *above, last = np.split(rows, breaks)
    if above and last[0] > base and cover[last].max() > _RULE_COVER:
        return np.concatenate(above)
    return rows
