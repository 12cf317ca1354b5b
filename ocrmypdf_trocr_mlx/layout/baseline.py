"""The baseline of a line whose letters do not stand on a straight one."""

from __future__ import annotations

import numpy as np

from .segments import quantile

Knots = tuple[tuple[float, float], ...]

# In letter sizes: how far apart a bend's knots are, and how long a line with one is at least.
APART, LEAST = 7.0, 14.0
MOST_KNOTS = 20
# Letters on a line with a bend at least; fewer, and descenders among them, look like one.
LETTERS = 16
# In letter sizes: a bend leaves the straight line by so much at least, and by some pixels: dots in
# a row are no more exact.  Letters as far from a baseline as NEAR stand on it.
DEVIATION, PIXELS, NEAR = 0.25, 3.0, 0.14
# Shares of the letters: so many more stand on the bend, and so many of all.
MORE, MOST = 0.12, 0.55
FOLLOWED = 0.5  # share of a bend that letters' heads go along with
STEEP = 0.4
# Weight of the squared bend between knots against one letter's squared distance.
STIFF = 0.2


def find_bend(x: np.ndarray, feet: np.ndarray, heads: np.ndarray, size: float) -> Knots:
    """Knots (x, offset) from the first to the last letter; empty where the line is straight.

    `x`, (N,), are the middles of the letters of a line, `feet` and `heads` how far they reach down
    below its straight baseline (heads: less than 0), all in pixels; `size` is the letters' height.
    """
    if len(x) < LETTERS or np.ptp(x) < LEAST * size:
        return ()
    left, span = float(x.min()), float(np.ptp(x))
    count = min(MOST_KNOTS, round(span / (APART * size)) + 1)
    at = (x - left) * ((count - 1) / span)
    start = _medians(at, feet, count)
    least = max(PIXELS, DEVIATION * size)
    if np.ptp(start) < 0.75 * least:
        return ()
    bend = _fitted(at, feet, start, NEAR * size)
    steps = np.abs(np.diff(bend)) * (count - 1) / span
    if np.ptp(bend) < least or steps.max() > STEEP:
        return ()
    under = np.interp(at, np.arange(count), bend)
    if not (_is_better(feet, feet - under, NEAR * size) and _is_followed(heads, under)):
        return ()
    knots = left + np.linspace(0, span, count)
    return tuple(zip(knots.tolist(), bend.tolist(), strict=True))


def _medians(at: np.ndarray, off: np.ndarray, count: int) -> np.ndarray:
    """The middle of the letters' feet near each of `count` knots; `at` counts knots."""
    found = []
    for k in range(count):
        near = off[np.abs(at - min(max(k, 0.5), count - 1.5)) < 0.75]
        # The upper of two middle feet: the other may hang below the baseline.
        found.append(np.sort(near)[(len(near) - 1) // 2] if len(near) > 3 else np.nan)
    values = np.array(found)
    known = np.flatnonzero(~np.isnan(values))
    return np.interp(np.arange(count), known, values[known]) if len(known) else np.zeros(count)


def _fitted(at: np.ndarray, off: np.ndarray, start: np.ndarray, near: float) -> np.ndarray:
    """Offsets at the knots that most letters stand on, and that change smoothly.

    Least squares, the letters weighted by how near they stand to the last fit (Tukey's biweight):
    descenders count for nothing.
    """
    count = len(start)
    hats = np.maximum(0, 1 - np.abs(at[:, None] - np.arange(count)))
    bends = np.diff(np.eye(count), 2, axis=0)
    stiff = STIFF * len(at) / count * bends.T @ bends + 1e-6 * np.eye(count)
    bend = start
    for reach in (4, 3, 2.5, 2.5):
        weight = np.square(np.maximum(0, 1 - np.square((off - hats @ bend) / (reach * near))))
        bend = np.linalg.solve(hats.T @ (weight[:, None] * hats) + stiff, hats.T @ (weight * off))
    return bend


def _is_better(straight: np.ndarray, bent: np.ndarray, near: float) -> bool:
    """Do clearly more letters stand on the bend, from which they are `bent` off?"""
    on_straight = float((np.abs(straight - quantile(straight)) < near).mean())
    on_bend = float((np.abs(bent) < near).mean())
    return on_bend > MOST and on_bend > on_straight + MORE


def _is_followed(heads: np.ndarray, bend: np.ndarray) -> bool:
    """Do the letters' heads go up and down with their feet?  Those of underlined ones do not."""
    rest = bend - bend.mean()
    return float(heads @ rest) > FOLLOWED * float(rest @ rest)
