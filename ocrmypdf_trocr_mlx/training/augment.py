"""What scanning and handling do to a line: another crop, slant, blur, resolution, contrast.

And what they do not: parts hidden under static.  A model learns the few real lines of a hand by
heart unless they look another way each time (Chaudhary and Bali, "EASTER2.0", 2022: tiling and
corruption).
"""

from __future__ import annotations

import cv2
import numpy as np

# Shares of the lines that each change happens to.
_CROP, _SLANT, _WARP, _BLUR, _COARSE, _BILEVEL = 0.7, 0.5, 0.45, 0.15, 0.15, 0.05
_STRETCH, _STROKE, _LEVELS, _NOISE, _HIDDEN = 0.5, 0.2, 0.6, 0.3, 0.4
# Of such a line up to this share is hidden, in pieces so many line heights wide.
_MOST_HIDDEN, _PIECE = 0.3, (0.15, 0.7)


def augment(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A changed copy of a grey line, uint8 (h, w) -> (h', w'); it stays legible."""
    if random.random() < _CROP:
        pixels = _other_crop(pixels, random)
    if random.random() < _STRETCH:
        width = max(4, round(pixels.shape[1] * random.uniform(0.7, 1.35)))
        pixels = cv2.resize(pixels, (width, pixels.shape[0]), interpolation=cv2.INTER_AREA)
    if random.random() < _SLANT:
        pixels = _slant(pixels, random)
    if random.random() < _WARP:
        pixels = _warp(pixels, random)
    if random.random() < _STROKE:
        change = cv2.erode if random.random() < 0.5 else cv2.dilate
        pixels = change(pixels, np.ones((1, 2) if random.random() < 0.5 else (2, 2), np.uint8))
    if random.random() < _BLUR:
        sigma = random.uniform(0.4, 0.025 * pixels.shape[0] + 0.5)
        pixels = cv2.GaussianBlur(pixels, (0, 0), sigma)
    if random.random() < _COARSE:
        k = random.uniform(max(0.3, 14 / pixels.shape[0]), 1.0) if pixels.shape[0] > 14 else 1.0
        pixels = cv2.resize(pixels, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
    if random.random() < _BILEVEL:
        pixels = cv2.threshold(pixels, 0, 255, cv2.THRESH_OTSU)[1]
    pixels = _tone(pixels, random)
    return _hidden(pixels, random) if random.random() < _HIDDEN else pixels


def _other_crop(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Edges up to an eighth of the height further in above and below, or further out."""
    height, width = pixels.shape
    top, bottom, left, right = np.round(random.uniform(-0.12, 0.1, 4) * height).astype(int)
    left, right = min(left, width // 8), min(right, width // 8)
    edges = [max(0, int(-v)) for v in (top, bottom, left, right)]
    grown = cv2.copyMakeBorder(pixels, edges[0], edges[1], edges[2], edges[3], cv2.BORDER_REPLICATE)
    rows = slice(max(0, top), grown.shape[0] - max(0, bottom))
    return np.asarray(grown[rows, max(0, left) : grown.shape[1] - max(0, right)])


def _slant(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turned by up to a degree or so, and sheared."""
    height, width = pixels.shape
    rise = random.uniform(-0.12, 0.12) * height / width
    rise = float(np.clip(rise, -0.03, 0.03))
    shear = random.uniform(-0.35, 0.35)
    matrix = np.array([[1, shear, -shear * height / 2], [rise, 1, -rise * width / 2]])
    return _by_map(pixels, matrix)


def _by_map(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = (pixels.shape[1], pixels.shape[0])
    return np.asarray(cv2.warpAffine(pixels, matrix, size, borderMode=cv2.BORDER_REPLICATE))


def _warp(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Moved about smoothly, as paper and hands do: by up to a twentieth of the height or so."""
    height, width = pixels.shape
    reach = random.uniform(0.01, 0.05) * height
    grid = random.normal(0, reach, (3, max(3, width // height + 2), 2)).astype(np.float32)
    moves = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    moves[..., 0] += np.arange(width, dtype=np.float32)
    moves[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return np.asarray(
        cv2.remap(pixels, moves, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


def _tone(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    values = pixels.astype(np.float32)
    if random.random() < _LEVELS:
        values = (values - 128) * random.uniform(0.7, 1.15) + 128 + random.uniform(-30, 30)
    if random.random() < _NOISE:
        noise = random.standard_normal(values.shape, np.float32)
        values = values + np.float32(random.uniform(1, 12)) * noise
    return values.clip(0, 255).astype(np.uint8)


def _hidden(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """With static, or a flat grey, in place of some pieces of all its height."""
    height, width = pixels.shape
    pixels = pixels.copy()
    left = random.uniform(0.05, _MOST_HIDDEN) * width
    while left > 0:
        piece = max(1, round(random.uniform(*_PIECE) * height))
        x = int(random.integers(0, max(1, width - piece)))
        part = pixels[:, x : x + piece]
        flat = random.random() < 0.3
        part[:] = random.integers(0, 256, 1 if flat else part.shape, np.uint8)
        left -= piece
    return pixels
