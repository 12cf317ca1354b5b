"""Ink on paper, seen by a scanner: from a mask of ink to a grey image as scans are."""

from __future__ import annotations

import random

import cv2
import numpy as np

# Height of a scanned line in pixels: 10 pt at 100 dpi is 17, at 150 dpi 25, at 300 dpi 50.
_HEIGHTS = (12, 22, 32, 48, 66)
_HEIGHT_WEIGHTS = (3, 4, 4, 3)
_CLEAN = 0.17
_POOL = (160, 2048)


class Paper:
    """Holds noise to cut from: making it anew for each line would cost more than all else."""

    def __init__(self) -> None:
        random_ = np.random.default_rng(0)
        self._fine = random_.standard_normal(_POOL, np.float32)
        self._smooth = [_blurred(random_, scale) for scale in (2, 8, 40)]

    def scan(
        self, rng: random.Random, ink: np.ndarray, style: str, edges: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """A grey image, uint8 (h, w), of a mask of ink, uint8, drawn larger.

        Also where places of the mask come to lie in it: `edges` are x at half its height.
        """
        clean = rng.random() < _CLEAN
        if not clean:
            ink, edges = _bent(rng, ink, style, edges)
        mask = _shrunk(rng, ink).astype(np.float32) / 255
        edges = edges * (mask.shape[1] / ink.shape[1])
        if not clean:
            mask = self._worn(rng, mask)
        dark, light = _levels(rng, clean)
        paper = np.full_like(mask, light) if clean else self.sheet(rng, mask.shape, light)
        image = paper + (dark - light) * mask
        if clean:
            return _bytes(image), edges
        return self.sensed(rng, image, light - dark), edges

    def empty(self, rng: random.Random, aspect: float) -> np.ndarray:
        """A crop with no text: paper, dirt, a rule, or the texture of a picture; see blanks.py."""
        height = rng.randint(16, 60)
        shape = (height, round(height * max(1.0, aspect)))
        image = self.sheet(rng, shape, rng.uniform(120, 255))
        kind = rng.randrange(4)
        if kind == 1:
            y, thick = rng.randrange(height), rng.randint(1, 4)
            image[y : y + thick] *= rng.uniform(0, 0.7)
        elif kind == 2:
            image += rng.uniform(20, 90) * self._cut(rng, rng.choice(self._smooth), shape)
        elif kind == 3:
            specks = self._cut(rng, self._fine, shape) > rng.uniform(2.2, 3.2)
            size = rng.randint(1, 3)
            specks = cv2.dilate(specks.astype(np.uint8), np.ones((size, size), np.uint8))
            image = np.where(specks > 0, rng.uniform(0, 120), image)
        return self.sensed(rng, image.astype(np.float32), 100.0)

    def _cut(self, rng: random.Random, pool: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        height, width = shape
        if height > pool.shape[0] or width > pool.shape[1]:
            return np.asarray(cv2.resize(pool, (width, height)))
        y, x = rng.randint(0, pool.shape[0] - height), rng.randint(0, pool.shape[1] - width)
        return pool[y : y + height, x : x + width]

    def _worn(self, rng: random.Random, mask: np.ndarray) -> np.ndarray:
        """Uneven inking, broken strokes, or edges that bled."""
        kind = rng.random()
        if kind < 0.2:
            smooth = self._cut(rng, self._smooth[2], mask.shape)
            return mask * np.clip(1 + rng.uniform(0.1, 0.3) * smooth - 0.15, 0.3, 1)
        if kind < 0.35:
            spots = self._cut(rng, self._smooth[0], mask.shape)
            return mask * np.clip(1.2 + rng.uniform(0.2, 0.5) * spots, 0.25, 1)
        if kind < 0.5:
            rough = mask + rng.uniform(0.05, 0.25) * self._cut(rng, self._fine, mask.shape)
            return np.asarray(np.clip(rng.uniform(1.3, 2.5) * (rough - 0.5) + 0.5, 0, 1))
        return mask

    def sheet(self, rng: random.Random, shape: tuple[int, ...], light: float) -> np.ndarray:
        """Paper of about this grey, with texture or a shadow across it."""
        sheet = np.full(shape, light, np.float32)
        if rng.random() < 0.4:
            pool = rng.choice([self._fine, *self._smooth])
            sheet += rng.uniform(1, 9) * self._cut(rng, pool, shape)
        if rng.random() < 0.25:
            sheet += np.linspace(rng.uniform(-30, 0), 0, shape[1], dtype=np.float32)[None]
        return sheet

    def sensed(self, rng: random.Random, image: np.ndarray, contrast: float) -> np.ndarray:
        """Blurred, noisy, perhaps black and white or inverted, compressed."""
        if rng.random() < 0.35:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.025 * image.shape[0] + 0.4))
        if rng.random() < 0.45:
            noise = rng.uniform(0.01, 0.12) * contrast
            image = image + noise * self._cut(rng, self._fine, image.shape)
        if rng.random() < 0.15:
            threshold = _paper_of(image) - contrast * rng.uniform(0.35, 0.65)
            image = np.where(image < threshold, 0.0, 255.0)
        gray = _bytes(image)
        if rng.random() < 0.35:
            quality = [cv2.IMWRITE_JPEG_QUALITY, rng.randint(20, 92)]
            data = cv2.imencode(".jpg", gray, quality)[1]
            gray = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
        return 255 - gray if rng.random() < 0.02 else gray


def _blurred(random_: np.random.Generator, scale: int) -> np.ndarray:
    """Noise as smooth as `scale` pixels, of deviation 1."""
    height, width = _POOL
    small = random_.standard_normal((height // scale + 3, width // scale + 3), np.float32)
    noise = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((noise - noise.mean()) / noise.std())


def _bent(
    rng: random.Random, ink: np.ndarray, style: str, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Slanted, turned a little, and, mostly where written by hand, bent; so are the edges."""
    height, width = ink.shape
    shear = rng.uniform(-0.35, 0.3) if style == "hand" else 0.0
    if style == "print" and rng.random() < 0.05:
        shear = rng.uniform(-0.26, -0.1)
    tilt = rng.gauss(0, 0.3) * min(0.03, 0.4 * height / width) if rng.random() < 0.5 else 0.0
    stretch = rng.uniform(0.78, 1.22)
    size = (round(width * stretch + abs(shear) * height), height)
    middle = (size[0] - stretch * width) / 2
    matrix = np.array(
        [[stretch, shear, middle - shear * height / 2], [tilt, 1, -tilt * width / 2]], np.float64
    )
    bent = cv2.warpAffine(ink, matrix, size, flags=cv2.INTER_LINEAR)
    edges = stretch * edges + middle
    if rng.random() < (0.7 if style == "hand" else 0.06):
        columns = max(3, size[0] // height + 2)
        reach = rng.uniform(0.015, 0.05) * height
        moves = np.array([rng.gauss(0, reach) for _ in range(3 * columns * 2)], np.float32).reshape(
            3, columns, 2
        )
        field = cv2.resize(moves, size, interpolation=cv2.INTER_CUBIC)
        x = np.arange(size[0], dtype=np.float32)
        field[..., 0] += x
        field[..., 1] += np.arange(height, dtype=np.float32)[:, None]
        bent = cv2.remap(bent, field, None, cv2.INTER_LINEAR)
        # The field says where each column was; the other way round it says where it went.
        was = np.maximum.accumulate(field[height // 2, :, 0])
        edges = np.interp(edges, was, x)
    return np.asarray(bent), edges


def _shrunk(rng: random.Random, ink: np.ndarray) -> np.ndarray:
    """At the resolution of the scan."""
    (band,) = rng.choices(range(len(_HEIGHT_WEIGHTS)), _HEIGHT_WEIGHTS)
    height = rng.randint(_HEIGHTS[band], _HEIGHTS[band + 1])
    width = max(4, round(ink.shape[1] * height / ink.shape[0]))
    shrinks = height < ink.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(ink, (width, height), interpolation=how))


def _levels(rng: random.Random, clean: bool) -> tuple[float, float]:
    """Greys of ink and paper."""
    if clean:
        return rng.choice((0.0, 0.0, rng.uniform(0, 120))), rng.choice(
            (255.0, rng.uniform(215, 255))
        )
    light = rng.uniform(215, 255) if rng.random() < 0.7 else rng.uniform(110, 215)
    dark = rng.uniform(0, 80) if rng.random() < 0.65 else rng.uniform(40, 140)
    return min(dark, light - 65), light


def _paper_of(image: np.ndarray) -> float:
    """The grey that 95 of 100 pixels are not lighter than."""
    rank = round(0.95 * (image.size - 1))
    return float(np.partition(image, rank, axis=None)[rank])


def _bytes(image: np.ndarray) -> np.ndarray:
    return image.clip(0, 255).astype(np.uint8)
