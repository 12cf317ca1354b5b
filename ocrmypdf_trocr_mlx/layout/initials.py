"""Large initials: a letter as high as the lines beside it together begins the first of them.

Left among the other ink, it would be a line between those lines, or be cut into pieces of each.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .clutter import Mask, chosen, components
from .ink import Ink
from .lines import TextLine

# In letter sizes: how high an initial is; how far ink stands off to its left, lines to its right;
# how far its foot and head are off the baseline of the last of them and the top of the first.
LOW, HIGH = 3.2, 16.0
LEFT, RIGHT, FOOT, HEAD = 2.0, 2.5, 0.6, 1.2
# Shares of its height: how wide it is, how thick its strokes are; of its box: its ink.
WIDE, STROKE, INK = (0.2, 1.6), (0.07, 0.5), 0.12
# Ink so high, as a share of its height, makes it a letter of a heading.
ALIKE = 0.6
LINES, WIDTH = 2, 8.0  # beside it; so wide each, in letter sizes


def lines_and_initials(
    ink: Ink, size: float, lines_of: Callable[[Mask], list[TextLine]]
) -> tuple[list[TextLine], dict[int, TextLine]]:
    """The lines of a page, and the initials of some, by the ids of these lines.

    `lines_of` finds the lines of a mask of letters.
    """
    mask, letters = large_letters(ink.mask, ink.whole, size)
    lines = lines_of(mask)
    initials = beginnings(letters, lines)
    if others := [t for t in letters if t not in initials.values()]:
        # A large letter that begins no line is ink like any other.
        lines = lines_of(put_back(mask, ink.mask, others))
        initials = beginnings(list(initials.values()), lines)
    return lines, initials


def large_letters(mask: Mask, whole: Mask, size: float) -> tuple[Mask, list[TextLine]]:
    """The `mask` less letters, alone and far larger than the page's, and these letters.

    Their strokes and bars may have been taken for fills and rules: they are looked for in the
    `whole` ink.
    """
    if not _has_tall(whole, size):
        return mask, []
    labels, stats = components(whole)
    found = [
        i
        for i in np.flatnonzero(_may_be(stats, size)).tolist()
        if _is_letter(labels, stats, i, size)
    ]
    if not found:
        return mask, []
    keep = np.zeros(len(stats), bool)
    keep[found] = True
    return cv2.subtract(mask, chosen(keep, labels, stats)), [_line(stats[i]) for i in found]


def put_back(mask: Mask, ink: Mask, letters: list[TextLine]) -> Mask:
    """The `mask` with the `ink` of letters that were taken off it."""
    mask = mask.copy()
    for t in letters:
        window = slice(int(t.top), int(t.bottom)), slice(int(t.left), int(t.right))
        mask[window] = ink[window]
    return mask


def beginnings(letters: list[TextLine], lines: list[TextLine]) -> dict[int, TextLine]:
    """The letters that begin lines, by the ids of these; `letters` are none of the `lines`."""
    found = {}
    for letter in letters:
        beside = sorted(
            (t for t in lines if letter.top < t.middle < letter.bottom and _follows(letter, t)),
            key=lambda t: t.middle,
        )
        if len(beside) < LINES:
            continue
        first, last = beside[0], beside[-1]
        level = abs(letter.bottom - last.y_left) < FOOT * last.size
        if level and abs(letter.top - (first.y_left - first.ascent)) < HEAD * first.size:
            found[id(first)] = letter
    return found


def _has_tall(mask: Mask, size: float) -> bool:
    """A quick look: is there ink, without a gap, as high as half an initial?"""
    stroke = np.ones((int(0.5 * LOW * size), 1), np.uint8)
    return bool(cv2.hasNonZero(cv2.erode(mask, stroke)))


def _may_be(stats: np.ndarray, size: float) -> np.ndarray:
    """Which components are as high, wide and dense as an initial."""
    width, height, area = stats[:, 2], stats[:, 3], stats[:, 4]
    may_be = (height > LOW * size) & (height < HIGH * size) & (area > INK * width * height)
    may_be &= (width > WIDE[0] * height) & (width < WIDE[1] * height)
    may_be[0] = False
    return may_be


def _is_letter(labels: np.ndarray, stats: np.ndarray, i: int, size: float) -> bool:
    """Has component `i` the strokes of a large letter, with letters at its right only?"""
    x, y, w, h, _ = stats[i]
    own = np.pad((labels[y : y + h, x : x + w] == i).astype(np.uint8), 1)
    stroke = 2 * float(cv2.distanceTransform(own, cv2.DIST_L2, 3).max())
    if not STROKE[0] * h < stroke < STROKE[1] * h:
        return False
    left, top, width, height = stats[:, :4].T
    rows = (top < y + 0.9 * h) & (top + height > y + 0.1 * h) & (height > 0.5 * size)
    rows[[0, i]] = False
    before = rows & (left < x) & (left + width > x - LEFT * size)
    alike = rows & (height > ALIKE * h) & (left < x + w + h) & (left + width > x - h)
    after = rows & (left > x + w - 0.5 * size) & (left < x + w + RIGHT * size)
    at_head = after & (np.abs(top - y) < HEAD * size)
    at_foot = after & (np.abs(top + height - y - h) < FOOT * size)
    return not (before | alike).any() and bool(at_head.any() and at_foot.any())


def _line(stat: np.ndarray) -> TextLine:
    x, y, w, h, _ = (float(v) for v in stat)
    return TextLine(x, x + w, y + h, y + h, h, 0.0, h)


def _follows(letter: TextLine, line: TextLine) -> bool:
    gap = line.left - letter.right
    return -0.5 * line.size < gap < RIGHT * line.size and line.width > WIDTH * line.size
