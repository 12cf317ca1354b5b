"""How high letters are on a page, measured on the page: resolution tags lie."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .clutter import Mask, components, odd
from .ink import threshold

# Letters of this height, in pixels, are what the rest of the layout is at ease with.
WORKING_SIZE = 14.0
MAX_PIXELS = 12_000_000
# Enough to see how high letters are, unless they are lower than SURE_SIZE there.
GLANCE_PIXELS = 2_500_000
SURE_SIZE = 10.0
# A smaller share of a page's ink than this is noise of the noise.
NOISE = 0.1


def letter_size(mask: np.ndarray) -> float:
    """Height in pixels of most letters in an ink mask; 0 where nothing looks like a letter.

    The mode of the components' heights on a logarithmic scale, each weighted by its height,
    so that specks, however many, don't win over letters.  The pieces of noise are the more
    frequent the smaller they are: what only falls off from the smallest height on is left out.
    """
    _, stats = components(mask)
    w, h, area = stats[1:, 2], stats[1:, 3], stats[1:, 4]
    ok = (h >= 4) & (w <= 6 * h) & (h <= 8 * w) & (h < mask.shape[0] / 4) & (area > 0.12 * w * h)
    if ok.sum() < 3:
        return 0.0
    h = _without_noise(h[ok]).astype(np.float64)
    if len(h) < 3:
        return 0.0
    bins = np.round(np.log2(h) * 8).astype(int)
    counts: np.ndarray = np.bincount(bins, weights=np.minimum(h, 60.0))
    votes = np.convolve(counts, [0.25, 0.75, 1.0, 0.75, 0.25], "same")
    return float(2 ** (votes.argmax() / 8))


def _without_noise(heights: np.ndarray) -> np.ndarray:
    """Heights above those that fall off steadily from the smallest one on; empty if few are."""
    ink: np.ndarray = np.bincount(np.minimum(heights, 60)) * np.arange(min(heights.max(), 60) + 1)
    smooth = np.convolve(ink[4:], [0.25, 0.5, 0.25], "same")
    rises = np.flatnonzero(np.diff(smooth) > 0.02 * smooth.max())
    rest = heights[heights >= 4 + (rises[0] if len(rises) else len(smooth))]
    return rest if np.minimum(rest, 60).sum() > NOISE * ink[4:].sum() else rest[:0]


@dataclass
class Scale:
    """How to look at a page: resize it by `scale` and letters are about `size` pixels high.

    `size` is 0 where the page has no letters.  `mask` (uint8, ink 255) is the page's ink as it
    was measured, with letters of `mask_size` pixels.
    """

    scale: float
    size: float
    mask: Mask
    mask_size: float


def find_scale(gray: np.ndarray) -> Scale:
    """The scale of a page image, uint8 (H, W); looked for on the page reduced, then larger."""
    for most in (GLANCE_PIXELS, MAX_PIXELS):
        reduce = min(1.0, (most / gray.size) ** 0.5)
        small = resize(gray, reduce)
        mask = threshold(small, odd(max(25, min(small.shape) / 40)))
        size = letter_size(mask)
        if size >= SURE_SIZE or reduce == 1.0:
            break
    if size == 0:
        return Scale(reduce, 0.0, mask, 0.0)
    own = size / reduce  # the letters' height on the page itself
    most = min(2.0 if own < 0.75 * WORKING_SIZE else 1.0, (MAX_PIXELS / gray.size) ** 0.5)
    scale = min(max(WORKING_SIZE / own, reduce * 0.125), most)
    return Scale(scale, own * scale, mask, size)


def resize(gray: np.ndarray, scale: float) -> np.ndarray:
    """`gray` scaled by one factor; averaged when reduced, interpolated when enlarged."""
    if scale == 1.0:
        return gray
    height, width = gray.shape
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(gray, shape, interpolation=how)
