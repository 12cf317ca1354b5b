"""How high letters are on a page, measured on the page: resolution tags lie."""

from __future__ import annotations

import cv2
import numpy as np

from .clutter import odd
from .ink import threshold

# Letters of this height, in pixels, are what the rest of the layout is at ease with.
WORKING_SIZE = 14.0
MAX_PIXELS = 12_000_000


def letter_size(mask: np.ndarray) -> float:
    """Height in pixels of most letters in an ink mask; 0 where nothing looks like a letter.

    The mode of the components' heights on a logarithmic scale, each weighted by its height,
    so that specks, however many, don't win over letters.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    w, h, area = stats[1:, 2], stats[1:, 3], stats[1:, 4]
    ok = (h >= 4) & (w <= 6 * h) & (h <= 8 * w) & (h < mask.shape[0] / 4) & (area > 0.12 * w * h)
    if ok.sum() < 3:
        return 0.0
    h = h[ok].astype(np.float64)
    bins = np.round(np.log2(h) * 8).astype(int)
    votes = np.bincount(bins, weights=np.minimum(h, 60.0))
    votes = np.convolve(votes, [0.25, 0.75, 1.0, 0.75, 0.25], "same")
    return float(2 ** (votes.argmax() / 8))


def working_scale(gray: np.ndarray) -> tuple[float, float]:
    """(scale, size): resize the page by `scale` and its letters are about `size` pixels high.

    `size` is 0 where the page has no letters.
    """
    height, width = gray.shape
    reduce = min(1.0, (MAX_PIXELS / (height * width)) ** 0.5)
    small = resize(gray, reduce)
    mask = threshold(small, odd(max(25, min(small.shape) / 40)))
    size = letter_size(mask)
    if size == 0:
        return reduce, 0.0
    scale = reduce
    if size > 1.3 * WORKING_SIZE:
        scale *= max(WORKING_SIZE / size, 0.125)
    elif size < 0.75 * WORKING_SIZE:
        enlarge = min(2.0, WORKING_SIZE / size, (MAX_PIXELS / small.size) ** 0.5)
        scale *= max(1.0, enlarge)
    return scale, size * scale / reduce


def resize(gray: np.ndarray, scale: float) -> np.ndarray:
    """`gray` scaled by one factor; averaged when reduced, interpolated when enlarged."""
    if scale == 1.0:
        return gray
    height, width = gray.shape
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(gray, shape, interpolation=how)
