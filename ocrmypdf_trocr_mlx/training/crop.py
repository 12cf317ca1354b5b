"""A line cut out of its page by the polygon and the baseline that a transcriber drew."""

from __future__ import annotations

import math

import cv2
import numpy as np

# Around the polygon, in heights of the line: drawn polygons touch the ink.
_MARGIN = 0.06
# Less than this is not worth an interpolation: half a pixel in a line of 12:1 at 48 rows.
_LEAST_ANGLE = math.radians(0.1)


def cut_line(page: np.ndarray, polygon: np.ndarray, baseline: np.ndarray | None) -> np.ndarray:
    """The polygon's part of a grey page, uint8 (h, w), turned so that the baseline is level.

    `polygon` (N, 2) and `baseline` (M, 2) hold x, y in pixels of the page.  What is outside the
    polygon, other lines for the most part, becomes paper.  Raises ValueError where nothing of
    the polygon lies on the page.
    """
    turn, width, height = _level(polygon, _angle(baseline))
    if not 2 <= width <= 4 * max(page.shape) or not 2 <= height <= 4 * max(page.shape):
        raise ValueError("its polygon has no area")
    size = (round(width), round(height))
    mask = np.zeros((size[1], size[0]), np.uint8)
    corners = np.round(polygon @ turn[:, :2].T + turn[:, 2]).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255)
    mask = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=max(1, round(_MARGIN * height)))
    on_page = cv2.warpAffine(np.full_like(page, 255), turn, size, flags=cv2.INTER_NEAREST)
    inside = (mask > 0) & (on_page > 0)
    if not inside.any():
        raise ValueError("its polygon does not lie on the page")
    crop = cv2.warpAffine(page, turn, size, flags=cv2.INTER_LINEAR)
    paper = np.percentile(crop[inside], 90)
    return np.asarray(np.where(inside, crop, np.uint8(paper)))


def _angle(baseline: np.ndarray | None) -> float:
    """Of the straight line from the baseline's first point to its last."""
    if baseline is None or len(baseline) < 2:
        return 0.0
    dx, dy = baseline[-1] - baseline[0]
    angle = math.atan2(dy, dx)
    return angle if abs(angle) > _LEAST_ANGLE else 0.0


def _level(polygon: np.ndarray, angle: float) -> tuple[np.ndarray, float, float]:
    """The map (2, 3) from page to crop, and the crop's width and height."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    turned = polygon @ turn.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    margin = _MARGIN * (high[1] - low[1])
    low, high = np.floor(low - margin), np.ceil(high + margin)
    width, height = high - low
    return np.column_stack([turn, -low]), float(width), float(height)
