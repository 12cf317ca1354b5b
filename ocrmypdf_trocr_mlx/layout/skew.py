"""The angle at which a page lies on the scanner's glass."""

from __future__ import annotations

import cv2
import numpy as np

LIMIT = 15.0  # degrees
FINE_WIDTH = 900  # pixels
# An angle's score stands out if it is so many times the usual; CLEAR, with one point of SPARSE.
FAINT, CLEAR, SPARSE = 1.08, 1.4, 4
# Lines that wave run level at more than one angle: at such as are so many degrees apart, and stand
# out by such a share of what the best does, and that by so much.
APART, RIVAL, SURE = 4.0, 0.6, 0.25


def find_skew(mask: np.ndarray, size: float) -> float:
    """Angle in degrees, counter-clockwise, that turns the text of an ink mask upright.

    The right angle makes the rows' ink sums most uneven.  Searched coarsely, then finely, on
    the mask reduced to letters of about 5 pixels, but not so far that a fine angle moves nothing;
    0 where no angle stands out, and the mean of several far apart that do.
    """
    if size <= 0:
        return 0.0
    shrink = min(1.0, max(5.0 / size, FINE_WIDTH / mask.shape[1]))
    small = cv2.resize(mask, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    ys, xs = np.nonzero(small > 40)
    if len(xs) < 200:
        return 0.0
    rng = np.random.default_rng(0)
    if len(xs) > 150_000:
        pick = rng.choice(len(xs), 150_000, replace=False)
        xs, ys = xs[pick], ys[pick]
    x = (xs - small.shape[1] / 2).astype(np.float32)
    # Jitter: on the pixel grid itself an angle of 0 would look sharper than it is.
    y = (ys + rng.random(len(ys))).astype(np.float32)
    angles = np.arange(-LIMIT, LIMIT + 0.01, 0.5)
    scores = np.array([])
    # Of most pages a few points tell enough.
    for every, enough in ((SPARSE, CLEAR), (1, FAINT)):
        scores = np.array([_evenness(x[::every], y[::every], a) for a in angles])
        if scores.max() >= enough * np.median(scores):
            break
    else:
        return 0.0
    best = float(angles[scores.argmax()])
    above = scores / np.median(scores) - 1
    rivals = above[np.abs(angles - best) >= APART].max() > RIVAL * above.max()
    if rivals and above.max() > SURE:
        high = above > above.max() / 2
        return float(np.average(angles[high], weights=above[high]))
    for step in (0.1, 0.02):
        angles = best + step * np.arange(-6, 7)
        scores = np.array([_evenness(x, y, a) for a in angles])
        best = float(angles[scores.argmax()])
    return best


def _evenness(x: np.ndarray, y: np.ndarray, angle: float | np.floating) -> float:
    """Sum of squared differences of neighbouring rows' ink after turning by `angle`."""
    rows = y * np.cos(np.radians(angle)) - x * np.sin(np.radians(angle))
    profile = np.bincount((rows - rows.min()).astype(np.int64))
    return float(np.square(np.diff(profile)).sum())
