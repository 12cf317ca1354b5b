"""Crops of text lines: the page along their baselines, which are straight and level in the crop."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .lines import TextLine
from .scale import resize


@dataclass
class LinePart:
    """A text line (or its part in one cell) with the picture of it to be read.

    `line`: geometry on the upright page, in pixels of the page image.  `crop`: uint8 (h, w),
    dark on light, its columns running along the baseline from `line.left - margin`, at
    `1 / scale` page pixels a column; the baseline is at `baseline_row`.  `is_initial`: it is the
    first letter of the part that follows.
    """

    line: TextLine
    crop: np.ndarray
    margin: float
    scale: float
    baseline_row: float
    is_initial: bool = False


def cut_out(
    gray: np.ndarray, dark: np.ndarray, small: TextLine, scale: float, height: int
) -> LinePart:
    """The crop of a line found at working scale, from the full page along its baseline."""
    line = small.scaled(1 / scale)
    extent = line.ascent + line.descent
    pad = max(2.0, 0.13 * extent)
    # A line without descenders still stands on some paper.
    top, bottom = line.ascent + pad, max(line.descent, 0.12 * line.ascent) + pad
    margin = max(2.0, 0.16 * extent)
    k = min(1.0, 2 * height / (top + bottom))
    w = max(4, round((line.width + 2 * margin) * k))
    h = max(4, round((top + bottom) * k))
    slope = line.slope
    x0, y0 = line.left - margin, line.y_left - slope * margin - top
    matrix = np.array([[1 / k, 0, x0], [slope / k, 1 / k, y0]])
    if line.bend:
        crop = _rectified(gray, line, x0, top, w, h, k)
    elif k > 0.5 and abs(slope) * line.width < 0.1 * extent and k == 1.0:
        crop = _window(gray, round(x0), round((y0 + line.y_right - line.ascent - pad) / 2), w, h)
    else:
        crop = _warped(gray, matrix, w, h, k)
    if _is_on_dark(dark, small):
        crop = 255 - crop
    return LinePart(line, crop, margin, k, top * k)


def _is_on_dark(dark: np.ndarray, line: TextLine) -> bool:
    """Does a line stand on a dark ground: in uint8 (H, W) `dark`, 255 along its letters?"""
    left, right = int(line.left), int(line.right) + 1
    if line.bend:
        columns = np.arange(max(left, 0), min(right, dark.shape[1]))
        rows = line.base(columns) - 0.4 * line.size
        mid = dark[np.clip(rows, 0, dark.shape[0] - 1).astype(int), columns]
    else:
        mid = dark[min(int(line.middle), dark.shape[0] - 1), left:right]
    return bool(len(mid)) and bool(mid.mean() > 128)


def _window(gray: np.ndarray, x: int, y: int, w: int, h: int) -> np.ndarray:
    """A window of the page; what lies outside the page repeats its edge."""
    height, width = gray.shape
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if x0 >= x1 or y0 >= y1:
        return np.full((h, w), 255, np.uint8)
    inner = gray[y0:y1, x0:x1]
    if inner.shape == (h, w):
        return inner.copy()
    sides = (y0 - y, y + h - y1, x0 - x, x + w - x1)
    return cv2.copyMakeBorder(inner, *sides, cv2.BORDER_REPLICATE)


def _warped(gray: np.ndarray, matrix: np.ndarray, w: int, h: int, k: float) -> np.ndarray:
    """The page seen through `matrix` (crop to page), reduced without aliasing."""
    corners = matrix @ np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]], float)
    (x0, y0), (x1, y1) = np.floor(corners.min(1)).astype(int), np.ceil(corners.max(1)).astype(int)
    window = _window(gray, x0, y0, x1 - x0 + 1, y1 - y0 + 1)
    local = matrix.copy()
    local[:, 2] -= (x0, y0)
    if k < 0.8:
        window = resize(window, k)
        local = local * k
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(window, local, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _rectified(
    gray: np.ndarray, line: TextLine, left: float, above: float, w: int, h: int, k: float
) -> np.ndarray:
    """The page from x = `left` and from `above` a bent baseline on, columns moved up and down.

    uint8 (h, w), reduced by `k` without aliasing.
    """
    x = left + np.arange(w) / k
    top = line.base(x) - above
    x0, y0 = int(np.floor(left)), int(np.floor(top.min()))
    x1, y1 = int(np.ceil(x[-1])), int(np.ceil(top.max() + h / k))
    window = _window(gray, x0, y0, x1 - x0 + 1, y1 - y0 + 1)
    zoom = 1.0
    if k < 0.8:
        window, zoom = resize(window, k), k
    columns = np.broadcast_to((x - x0) * zoom, (h, w))
    rows = (top - y0) * zoom + np.arange(h)[:, None] * (zoom / k)
    return cv2.remap(
        window,
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
