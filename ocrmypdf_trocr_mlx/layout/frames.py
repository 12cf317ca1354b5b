"""Frames on forms: squares to tick, boxes to be filled in and their short sides; no letters."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .clutter import Mask

# A square to tick has so much paper on both sides, in letter sizes, and so much ink along its sides
# and in its corners: letters are as hollow, but round, or close to other letters.
GAP, SIDE, CORNER = 0.3, 0.77, 0.2
# Where there are so many squares, others about as large may be worn: have less ink along their
# sides, lack a corner, and have specks beside them, of so much of their own ink.
MANY, ALIKE = 3, 0.15
WORN_SIDE, WORN_CORNERS, SPECKS = 0.6, 3, 0.15
# A box to be filled in is as high as a line, this much wider, and of thin strokes.
LOW, HIGH, LONG, WIDE, HOLLOW = 0.9, 2.2, 12.0, 1.5, 0.4
# The side of a box between two rules: how thick, in letter sizes, and high it is at most and
# least, how slim and straight, and how far from the rules it may end.
THICK, SHORT, SLIM, STRAIGHT, REACH = 0.5, 1.0, 3, 0.7, 0.2


def frames(mask: Mask, labels: np.ndarray, stats: np.ndarray, rules: Mask, size: float) -> Mask:
    """What of a mask without its `rules` is drawn to be filled in, frames with what they hold.

    `labels` and `stats` are of the mask's components; letters are about `size` pixels high.
    """
    out = _sides(labels, stats, rules, size)
    for i in (*_squares(mask, labels, stats, size), *_boxes(mask, labels, stats, size)):
        x, y, w, h, _ = stats[i]
        out[y : y + h, x : x + w] = 255
    return out


def _squares(mask: Mask, labels: np.ndarray, stats: np.ndarray, size: float) -> list[int]:
    """Empty squares about as large as letters."""
    width, height = stats[:, 2], stats[:, 3]
    like = (np.minimum(width, height) > 0.6 * size) & (np.maximum(width, height) < 2.2 * size)
    like &= (width < 1.5 * height) & (height < 1.3 * width)
    like &= stats[:, 4] < 0.8 * width * height

    def those(side: float, corners: int, specks: float) -> list[int]:
        return _chosen(
            like,
            lambda i: (
                _stands_alone(mask, stats[i], size, specks)
                and _is_frame(_ink(labels, stats, i), side, corners)
            ),
        )

    found = those(SIDE, 4, 0.0)
    if len(found) < MANY:
        return found
    usual = np.median(stats[found, 2:4], axis=0)
    like &= (np.abs(stats[:, 2:4] - usual) < ALIKE * usual + 1).all(axis=1)
    like[found] = False
    return found + those(WORN_SIDE, WORN_CORNERS, SPECKS)


def _boxes(mask: Mask, labels: np.ndarray, stats: np.ndarray, size: float) -> list[int]:
    """Empty boxes as high as a line, wider than high."""
    width, height = stats[:, 2], stats[:, 3]
    like = (height > LOW * size) & (height < HIGH * size)
    like &= (width >= WIDE * height) & (width < LONG * size)
    like &= stats[:, 4] < HOLLOW * width * height
    return _chosen(
        like,
        lambda i: (
            _stands_alone(mask, stats[i], size, SPECKS)
            and _is_frame(_ink(labels, stats, i), SIDE, WORN_CORNERS)
        ),
    )


def _chosen(like: np.ndarray, test: Callable[[int], bool]) -> list[int]:
    return [int(i) for i in np.flatnonzero(like) if i and test(int(i))]


def _ink(labels: np.ndarray, stats: np.ndarray, i: int) -> np.ndarray:
    x, y, w, h, _ = stats[i]
    return np.asarray(labels[y : y + h, x : x + w] == i)


def _stands_alone(mask: Mask, stat: np.ndarray, size: float, specks: float) -> bool:
    """Is there paper on both sides, but for so many specks, and inside?"""
    x, y, w, h, area = stat
    gap = round(GAP * size)
    beside = mask[y : y + h, max(0, x - gap) : x + w + gap]
    return bool(cv2.countNonZero(beside) <= (1 + specks) * area)


def _is_frame(ink: np.ndarray, least_side: float, least_corners: int) -> bool:
    """Ink (h, w) along all four sides and in so many corners, and hardly any within."""
    h, w = ink.shape
    rim_y, rim_x = max(1, round(0.12 * h)), max(1, round(0.12 * w))
    sides = (
        ink[:rim_y].any(axis=0),
        ink[-rim_y:].any(axis=0),
        ink[:, :rim_x].any(axis=1),
        ink[:, -rim_x:].any(axis=1),
    )
    cy, cx = max(1, round(0.18 * h)), max(1, round(0.18 * w))
    corners = (ink[:cy, :cx], ink[:cy, -cx:], ink[-cy:, :cx], ink[-cy:, -cx:])
    inner = ink[round(0.3 * h) : round(0.7 * h), round(0.3 * w) : round(0.7 * w)]
    return (
        all(side.mean() > least_side for side in sides)
        and sum(corner.mean() > CORNER for corner in corners) >= least_corners
        and inner.mean() < 0.15
    )


def _sides(labels: np.ndarray, stats: np.ndarray, rules: Mask, size: float) -> Mask:
    """Upright strokes from one ruled line to the next: too short to be seen as rules alone."""
    width, height = stats[:, 2], stats[:, 3]
    like = (width < THICK * size) & (height > SHORT * size)
    like &= (height > SLIM * width) & (stats[:, 4] > STRAIGHT * width * height)
    out = np.zeros_like(rules)
    reach = round(REACH * size)
    for i in _chosen(like, lambda _: True):
        x, y, w, h, _ = stats[i]
        across = slice(max(0, x - 1), x + w + 1)
        above = rules[max(0, y - reach) : y + 2, across]
        below = rules[y + h - 2 : y + h + reach, across]
        if above.any() and below.any():
            out[y : y + h, x : x + w] |= np.where(_ink(labels, stats, i), 255, 0).astype(np.uint8)
    return out
