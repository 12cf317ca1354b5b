"""Pieces of words at an edge of a scan, beyond the margin: the facing page's, or a shadow's.

Where the page's own lines come near an edge, as on a tight cut-out, what lies at it is theirs.
"""

from __future__ import annotations

import numpy as np

from .lines import TextLine

# In letter sizes: a piece is no wider, and so near the edge; the page's lines, no fewer than
# LINES and each at least so wide, keep so far off it.
PIECE, NEAR, WIDE, MARGIN = 4.0, 0.5, 8.0, 4.0
LINES = 3


def without_cut_off(lines: list[TextLine], to_page: np.ndarray, width: float) -> list[TextLine]:
    """The lines less short ones at the left or right edge of an image of such a width.

    `to_page`: float (2, 3), maps points of the lines' page to the image.
    """
    wide = [t for t in lines if t.width > WIDE * t.size]
    if len(wide) < LINES:
        return lines
    size = float(np.median([t.size for t in wide]))
    room = np.array([_room(t, to_page, width) for t in wide]).min(axis=0)
    has_margin = room > MARGIN * size
    return [
        t
        for t in lines
        if t.width > PIECE * size
        or not (has_margin & (np.array(_room(t, to_page, width)) < NEAR * size)).any()
    ]


def _room(line: TextLine, to_page: np.ndarray, width: float) -> tuple[float, float]:
    """How far a line is off the left and the right edge."""
    (x0, _), (x1, _) = [to_page @ (x, line.middle, 1.0) for x in (line.left, line.right)]
    return float(x0), float(width - x1)
