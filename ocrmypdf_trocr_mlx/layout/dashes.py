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


def lone_dashes(
    runs: list[Segment], parts: list[Segment], size: float
) -> list[tuple[Segment, Segment]]:
    """Those of the `parts` of runs that are but a dash, each with the letters beside it."""
    dashes = [part for part in parts if _is_dash(part, size)]
    found = []
    for dash in dashes[: len(parts) // 2]:  # where most is dashes, there are no letters
        own = [run for run in runs if (run.chars == dash.chars[0]).all(axis=1).any()]
        beside = _rest(own[0], dash) if own else None
        if beside is None and _has_column(dash, parts, size):
            beside = _beside(dash, runs)
        if beside is not None and _is_level(dash, beside, size):
            found.append((dash, beside))
    return found


def _is_dash(part: Segment, size: float) -> bool:
    width, height = part.right - part.left, part.bottom - part.top
    is_thin = height < min(THICK * size, 0.5 * width)
    return len(part.chars) == 1 and bool(SHORT * size < width < LONG * size and is_thin)


def _rest(run: Segment, dash: Segment) -> Segment | None:
    """The run that a dash was cut from, less the dash; None if nothing is left."""
    rest = run.chars[(run.chars != dash.chars[0]).any(axis=1)]
    return Segment(rest, run.area - dash.area) if len(rest) else None


def _has_column(dash: Segment, parts: list[Segment], size: float) -> bool:
    """Does a narrow part stand above or below the dash, near by?"""
    return any(
        part.left - size < dash.right
        and part.right + size > dash.left
        and part.right - part.left < CELL * size
        and size < abs(part.bottom - dash.bottom) < NEXT * size
        and part.bottom - part.top > LETTER * size
        for part in parts
    )


def _beside(dash: Segment, runs: list[Segment]) -> Segment | None:
    """The nearest run in whose rows the dash stands."""
    middle = (dash.top + dash.bottom) / 2
    rows = [run for run in runs if run.top < middle < run.bottom and len(run.chars) >= LETTERS]
    return min(rows, key=lambda run: _gap(dash, run.left, run.right), default=None)


def _gap(dash: Segment, left: float, right: float) -> float:
    return float(max(left - dash.right, dash.left - right))


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
