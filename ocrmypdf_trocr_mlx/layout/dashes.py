"""Dashes alone in a column, where other rows have a number: no price, no change, nothing.

By itself a dash may be the piece of a rule; in a line of letters, as high as their middles, it is
a word of it, however far off it stands, if its column has other words.
"""

from __future__ import annotations

import numpy as np

from .segments import Segment, quantile

# In letter sizes.  Longer is a rule, thicker a blot; the line has letters of so much at least.
SHORT, LONG, THICK, LETTER = 0.4, 3.0, 0.35, 0.6
# Its middle is so far above the letters' feet, as a share of their height.
LOW, HIGH = 0.25, 0.75
LETTERS = 2
# Cells of a column are at most so wide, and the next one so far above or below, in letter sizes.
CELL, NEXT = 8.0, 12.0
# Where there are more dashes than that, or than letters, they are a pattern.
MOST = 64


def lone_dashes(
    runs: list[Segment], parts: list[Segment], size: float
) -> list[tuple[Segment, Segment]]:
    """Those of the `parts` of runs that are but a dash, each with the letters beside it."""
    dashes = [part for part in parts if _is_dash(part, size)]
    if not dashes or len(dashes) > min(MOST, len(parts) / 2):
        return []
    of_parts, of_runs = _boxes(parts), _boxes(runs)
    found = []
    for dash in dashes:
        beside = _rest(dash, runs, of_runs)
        if beside is None and _has_column(dash, of_parts, size):
            beside = _beside(dash, runs, of_runs)
        if beside is not None and _is_level(dash, beside, size):
            found.append((dash, beside))
    return found


def _boxes(segments: list[Segment]) -> np.ndarray:
    """(4, N): left, top, right, bottom."""
    return np.array([(s.left, s.top, s.right, s.bottom) for s in segments]).T


def _is_dash(part: Segment, size: float) -> bool:
    width, height = part.right - part.left, part.bottom - part.top
    is_thin = height < min(THICK * size, 0.5 * width)
    return len(part.chars) == 1 and bool(SHORT * size < width < LONG * size and is_thin)


def _rest(dash: Segment, runs: list[Segment], boxes: np.ndarray) -> Segment | None:
    """The run that a dash was cut from, less the dash; None if nothing is left."""
    left, top, right, bottom = boxes
    around = (left <= dash.left) & (top <= dash.top)
    around &= (right >= dash.right) & (bottom >= dash.bottom)
    for i in np.flatnonzero(around):
        others = (runs[i].chars != dash.chars[0]).any(axis=1)
        if others.any() and not others.all():
            return Segment(runs[i].chars[others], runs[i].area - dash.area)
    return None


def _has_column(dash: Segment, parts: np.ndarray, size: float) -> bool:
    """Does a narrow part, of the boxes (4, N), stand above or below the dash, near by?"""
    left, top, right, bottom = parts
    away = np.abs(bottom - dash.bottom)
    in_column = (left - size < dash.right) & (right + size > dash.left)
    is_cell = (right - left < CELL * size) & (bottom - top > LETTER * size)
    return bool((in_column & is_cell & (away > size) & (away < NEXT * size)).any())


def _beside(dash: Segment, runs: list[Segment], boxes: np.ndarray) -> Segment | None:
    """The nearest run, of those with `boxes` (4, N), in whose rows the dash stands."""
    left, top, right, bottom = boxes
    middle = (dash.top + dash.bottom) / 2
    several = np.array([len(run.chars) >= LETTERS for run in runs])
    row = np.flatnonzero((top < middle) & (middle < bottom) & several)
    if not len(row):
        return None
    gap = np.maximum(left - dash.right, dash.left - right)
    return runs[int(row[np.argmin(gap[row])])]


def _is_level(dash: Segment, run: Segment, size: float) -> bool:
    """Is the dash as high as the middles of the run's letters next to it?"""
    letters = run.letters[run.letters[:, 3] - run.letters[:, 1] > LETTER * size]
    if len(letters) < LETTERS:
        return False
    gaps = np.maximum(letters[:, 0] - dash.right, dash.left - letters[:, 2])
    near = letters[np.argsort(gaps, kind="stable")[:6]]
    foot, top = quantile(near[:, 3]), quantile(near[:, 1])
    middle = (dash.top + dash.bottom) / 2
    return bool(LOW * (foot - top) < foot - middle < HIGH * (foot - top))
