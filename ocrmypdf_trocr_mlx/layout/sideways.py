"""Sideways lines of an upright page: numbers stamped along an edge, captions beside a figure.

Read upright, their letters are a pile of lone characters, closer to each other than lines are.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from .clutter import Mask, components
from .lines import TextLine, find_text_lines
from .segments import find_segments

# A pile has so many letters at least, apart by no more than this share of their extent across.
LEAST_LETTERS = 4
GAP = 0.6
# Upright lines this many times wider than high, and so many letter heights wide, are no letters
# of a pile.
LONE, WORD = 1.8, 3.0
# Letters that touch make one component; turned, a letter is at least so wide for its height.
PITCH = 0.7
# Where more is left of a page than that, it is noise or a picture.
MOST_LETTERS, MOST_PILES = 1500, 64

Box = tuple[int, int, int, int]  # x0, y0, x1, y1


def find_sideways(
    mask: Mask, rules: Mask, lines: list[TextLine], size: float
) -> tuple[list[TextLine], list[TextLine]]:
    """Lines that run up and lines that run down the page, each as on the page turned upright.

    `mask` and `rules`, uint8 (H, W), are the page's ink; `lines` the upright lines found in it,
    of letters `size` pixels high.  Which way a line runs isn't known: it is in both lists.
    """
    up: list[TextLine] = []
    down: list[TextLine] = []
    height, width = mask.shape
    for x0, y0, x1, y1 in _piles(mask, lines, size):
        ink, ruled = mask[y0:y1, x0:x1], rules[y0:y1, x0:x1]
        for found, turn, dx, dy in (
            (up, cv2.ROTATE_90_CLOCKWISE, height - y1, x0),
            (down, cv2.ROTATE_90_COUNTERCLOCKWISE, y0, width - x1),
        ):
            segments = find_segments(cv2.rotate(ink, turn), size)
            for line in find_text_lines(segments, cv2.rotate(ruled, turn), size):
                if line.width > 0.5 * (y1 - y0):
                    found.append(line.moved(dx, dy))
    return up, down


def _piles(mask: Mask, lines: list[TextLine], size: float) -> list[Box]:
    """Boxes of letters that stand close above each other, beside nothing."""
    rest = mask.copy()
    for line in lines:
        if line.width > max(LONE * (line.bottom - line.top), WORD * size):
            rest[int(line.top) : int(line.bottom) + 1, int(line.left) : int(line.right) + 1] = 0
    _, stats = components(rest)
    stats = stats[1:]
    across, along = stats[:, 2], stats[:, 3]
    letter = (
        (np.maximum(across, along) > 0.4 * size)
        & (across < 4 * size)
        & (along < 4 * size + 20 * across * (across > 0.6 * size))
        & (stats[:, 4] > 0.1 * across * along)
    )
    letters = stats[letter]
    letters = letters[np.argsort(letters[:, 1], kind="stable")]
    if len(letters) > MOST_LETTERS:
        return []
    piles = [_bounds(letters[pile]) for pile in _linked(letters)]
    tall = [box for box in piles if box[3] - box[1] > 2.5 * (box[2] - box[0])]
    margin = round(0.3 * size)
    h, w = mask.shape
    return [
        (max(0, x0 - margin), max(0, y0 - margin), min(w, x1 + margin), min(h, y1 + margin))
        for x0, y0, x1, y1 in tall[:MOST_PILES]
    ]


def _linked(letters: np.ndarray) -> list[list[int]]:
    """Indices of letters, (N, 5) x, y, w, h, area sorted by y, that form piles."""
    x, y, w, h = letters[:, :4].T.astype(float)
    pile = np.arange(len(letters))
    for i in range(len(letters)):
        across = np.maximum(w, w[i])
        gap = y - (y[i] + h[i])
        overlap = np.minimum(x + w, x[i] + w[i]) - np.maximum(x, x[i])
        below = (gap < GAP * across) & (y > y[i]) & (overlap > 0.5 * np.minimum(w, w[i]))
        for j in np.flatnonzero(below):
            pile[pile == pile[j]] = pile[i]
    order = sorted(range(len(letters)), key=lambda i: pile[i])
    groups = [list(group) for _, group in itertools.groupby(order, key=lambda i: pile[i])]
    count = np.maximum(1, h / (PITCH * w))
    return [group for group in groups if count[group].sum() >= LEAST_LETTERS]


def _bounds(letters: np.ndarray) -> Box:
    x0, y0 = letters[:, :2].min(0)
    x1, y1 = (letters[:, :2] + letters[:, 2:4]).max(0)
    return int(x0), int(y0), int(x1), int(y1)
