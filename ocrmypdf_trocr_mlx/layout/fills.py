"""Dark boxes keep lines apart, as cell borders do: a line is all in the box or all beside it.

An initial cut in wood, white on black, would else be the beginning of all the lines beside it.
"""

from __future__ import annotations

import cv2
import numpy as np

from .clutter import Mask
from .segments import Segment

# A box has lines beside it if it is so many letter sizes high, and fills so much of its bounds:
# bold letters far larger than the page's fill less.
LINES, BOX = 3.5, 0.85


def on_grounds(segments: list[Segment], dark: Mask, size: float) -> list[Segment]:
    """The segments, parted where they cross the edge of a box, with the ground each lies on.

    `dark`: uint8 (H, W), 255 inside fills, on a page with letters of `size`.
    """
    ground = _grounds(dark, size) if cv2.hasNonZero(dark) else None
    if ground is None:
        return segments
    return [part for s in segments for part in _parted(s, ground)]


def _grounds(dark: Mask, size: float) -> np.ndarray | None:
    """The number of the box at each pixel, int32 (H, W), 0 on the paper; None without a box.

    What a box surrounds is in it.
    """
    ground = None
    contours, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for number, contour in enumerate(contours, start=1):
        _, _, width, height = cv2.boundingRect(contour)
        if height < LINES * size or cv2.contourArea(contour) < BOX * width * height:
            continue
        if ground is None:
            ground = np.zeros(dark.shape, np.int32)
        cv2.fillConvexPoly(ground, cv2.convexHull(contour), number)
    return ground


def _parted(segment: Segment, ground: np.ndarray) -> list[Segment]:
    chars = segment.chars
    x, y = ((chars[:, k] + chars[:, k + 2]).astype(int) // 2 for k in (0, 1))
    numbers = ground[y, x]
    share = segment.area / len(chars)
    owns = [(int(number), numbers == number) for number in np.unique(numbers)]
    return [Segment(chars[own], share * np.count_nonzero(own), number) for number, own in owns]
