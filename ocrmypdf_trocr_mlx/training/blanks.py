"""Crops that say nothing, as page layouts cut them out: a model must learn to be silent, too."""

from __future__ import annotations

import math
import random

import cv2
import numpy as np

from .paper import Paper

_HEIGHTS = (18, 56)
# A scan of nothing still has about the contrast of one of print.
_CONTRAST = 120.0
# In crops narrower than this, in heights, rules and shapes would look like letters.
_NARROW = 1.5


class Blanks:
    """Draws paper, rules, boxes, specks, screens, dark shapes and rows of dots or dashes."""

    def __init__(self, paper: Paper):
        self._paper = paper
        # Empty paper as often as what is drawn on it is seen on pages.
        self._kinds = {None: 35, _boxes: 10, _specks: 14, _screen: 10}
        self._wide_kinds = {**self._kinds, _rules: 15, _shapes: 9, _dots: 7}

    def draw(self, rng: random.Random, aspect: float) -> np.ndarray:
        """uint8 (h, w), w about `aspect` times h, and at least as wide as half of it."""
        kinds = self._kinds if aspect < _NARROW else self._wide_kinds
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        if kind is None:
            return self._paper.empty(rng, aspect)
        height = rng.randint(*_HEIGHTS)
        shape = height, max(height // 2, round(height * aspect))
        image = self._paper.sheet(rng, shape, rng.uniform(170, 255))
        kind(rng, image, rng.uniform(0, 110))
        return self._paper.sensed(rng, image, _CONTRAST)


def _stroke(
    image: np.ndarray, begin: tuple[float, float], end: tuple[float, float], grey: float, thick: int
) -> None:
    """Between points (x, y)."""
    first, last = ((round(x), round(y)) for x, y in (begin, end))
    cv2.line(image, first, last, grey, thick, cv2.LINE_AA)


def _rules(rng: random.Random, image: np.ndarray, grey: float) -> None:
    """Of forms and tables: some across, perhaps some upright."""
    height, width = image.shape
    for _ in range(rng.randint(1, 3)):
        y = rng.uniform(0, height)
        _stroke(image, (0, y), (width, y + rng.uniform(-1, 1)), grey, rng.randint(1, 3))
    for _ in range(rng.randint(0, 3)):
        x = rng.uniform(0, width)
        _stroke(image, (x, 0), (x + rng.uniform(-1, 1), height), grey, rng.randint(1, 3))


def _boxes(rng: random.Random, image: np.ndarray, grey: float) -> None:
    """An empty box to tick or to write in."""
    height, width = image.shape
    size = rng.uniform(0.35, 0.8) * height
    left, top = rng.uniform(0, max(1.0, width - size)), rng.uniform(0.05, 0.95) * (height - size)
    right, bottom = left + size * rng.uniform(0.8, 2.5), top + size
    corners = (round(left), round(top)), (round(right), round(bottom))
    cv2.rectangle(image, *corners, grey, rng.randint(1, 2))


def _specks(rng: random.Random, image: np.ndarray, grey: float) -> None:
    """A few, smaller than letters and not in a row as dots are, and scratches."""
    height, width = image.shape
    for _ in range(rng.randint(1, 5)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        if rng.random() < 0.8:
            size = rng.uniform(0.5, 0.06 * height + 0.8)
            axes = max(1, int(size)), max(1, int(size * rng.uniform(0.5, 1.3)))
            angle = rng.uniform(0, 180)
            cv2.ellipse(image, (round(x), round(y)), axes, angle, 0, 360, grey, -1, cv2.LINE_AA)
        else:
            end = x + rng.uniform(-0.4, 0.4) * height, y + rng.uniform(-0.1, 0.1) * height
            _stroke(image, (x, y), end, grey, 1)


def _screen(rng: random.Random, image: np.ndarray, grey: float) -> None:
    """The dots of a half-tone, or hatching."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    angle, period = rng.uniform(0, math.pi), rng.randint(3, 9)
    along = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period)
    across = np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period)
    wave = along * across if rng.random() < 0.7 else along
    image[wave > rng.uniform(-0.3, 0.7)] = grey


def _shapes(rng: random.Random, image: np.ndarray, grey: float) -> None:
    """Dark ones that reach over the edges: parts of pictures and of borders."""
    height, width = image.shape
    for _ in range(rng.randint(1, 3)):
        corners = [
            (rng.uniform(-0.2, 1.2) * width, rng.uniform(-0.5, 1.5) * height)
            for _ in range(rng.randint(3, 6))
        ]
        cv2.fillPoly(image, [np.array(corners, np.int32)], grey, cv2.LINE_AA)


def _dots(rng: random.Random, image: np.ndarray, grey: float) -> None:
    """A dotted or dashed rule from edge to edge."""
    height, width = image.shape
    y, thick = rng.uniform(0.2, 0.9) * height, rng.randint(1, 3)
    step = rng.uniform(0.5, 1.5) * rng.randint(6, 14)
    for x in np.arange(0, width, step):
        _stroke(image, (x, y), (x + step / 2, y), grey, thick)
