"""How the edges of columns lean: where lines bend, they do not tell how a page was turned."""

from __future__ import annotations

import numpy as np

from .lines import TextLine

LIMIT, STEP = 15.0, 0.25  # degrees
# In letter sizes: lines so wide have ends on an edge, which is so high and so exact.
WIDE, HIGH, EXACT = 8.0, 10.0, 0.7
# Ends of lines on an edge at least, and as a share of all: few, for there may be two columns, but
# on the right, where lines end by chance, most.
LEAST, LEFT, RIGHT = 6, 0.3, 0.6


def find_lean(lines: list[TextLine], size: float) -> float | None:
    """Degrees, counter-clockwise, that set the edges of columns upright; None where there are none.

    `lines` are of letters `size` pixels high.  Of left and right edges it is the mean.
    """
    wide = [line for line in lines if line.width > WIDE * size]
    if len(wide) < LEAST:
        return None
    left = np.array([(line.left, line.y_left) for line in wide])
    right = np.array([(line.right, line.y_right) for line in wide])
    leans = [_lean(left, size, LEFT), _lean(right, size, RIGHT)]
    found = [lean for lean in leans if lean is not None]
    return float(np.mean(found)) if found else None


def _lean(ends: np.ndarray, size: float, share: float) -> float | None:
    """The turn at which a share of some ends, (N, 2) x and y, stand above each other."""
    x, y = ends.T
    best: np.ndarray = np.zeros(len(x), bool)
    for angle in sorted(np.arange(-LIMIT, LIMIT + STEP, STEP), key=abs):
        at = x + y * np.tan(np.radians(angle))
        order = np.sort(at)
        count = np.searchsorted(order, order + EXACT * size, "right") - np.arange(len(at))
        if count.max() > best.sum():
            start = order[int(count.argmax())]
            best = (at >= start) & (at <= start + EXACT * size)
    x, y = x[best], y[best]
    if len(x) < max(LEAST, share * len(best)) or np.ptp(y) < HIGH * size:
        return None
    i, j = np.triu_indices(len(x), 1)
    far = np.abs(y[j] - y[i]) > 0.3 * np.ptp(y)
    return -float(np.degrees(np.arctan(np.median((x[j] - x[i])[far] / (y[j] - y[i])[far]))))
