"""Where a line's ink is, column by column: what splitting and word boxes hold on to."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.levels import percentiles, percentiles_of_counts

# A line is examined at this height: a pixel is then about the thickness of a stroke.
_HEIGHT = 48
# Levels of grey between paper and ink below which there is nothing to read.
_MIN_CONTRAST = 24.0
# Ink is what is darker than this part of the way from paper to the darkest ink nearby.
_THRESHOLD = 0.45
# Nearby ink this much fainter than the line's darkest is paper texture or shows through.
_FAINT = 0.35
# A row inked over so much of a long line is a rule under or through it, not text.
_RULE = 0.7
# A run of ink longer than this many line heights is of a rule: no letter has one.
_RULE_LENGTH = 1.25
# A rule with other ink in this share of its columns is drawn under or through words; with less, it
# is a blank to be filled in, which is read.
_BESIDE_RULE = 0.4
# What comes in over the edge of the crop and is lower than this is of the line above or below.
_INTRUDER = 0.4


@dataclass(frozen=True)
class InkProfile:
    """Share of ink in each column, 0 to 1, of a line that is `height` columns high.

    A column is `scale` pixels of the crop wide.
    """

    columns: np.ndarray
    height: int
    scale: float

    @property
    def is_blank(self) -> bool:
        return not self.columns.any()

    def free_runs(self) -> list[tuple[int, int]]:
        """The gaps: runs [start, end) of columns without ink."""
        return runs(self.columns == 0)

    def __getitem__(self, part: slice) -> InkProfile:
        return InkProfile(self.columns[part], self.height, self.scale)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Runs [start, end) of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def ink_profile(gray: np.ndarray, most: int = _HEIGHT) -> InkProfile:
    """The profile of a line crop, uint8 (h, w), of either polarity, made at most `most` high."""
    height, width = gray.shape
    if not height or not width:
        return InkProfile(np.zeros(0), max(1, height), 1.0)
    if height > most:
        size = (max(1, round(width * most / height)), most)
        gray = np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BOX))
    mask = ink_mask(gray)
    mask = _without_neighbours(_without_rules(mask))
    return InkProfile(mask.mean(axis=0), gray.shape[0], width / gray.shape[1])


def ink_mask(gray: np.ndarray) -> np.ndarray:
    """Where the ink of a line crop, uint8 (h, w), of either polarity is: bool (h, w)."""
    frame = np.concatenate((gray[0], gray[-1], gray[:, 0], gray[:, -1]))
    low, high = percentiles(gray, (1, 99))
    if np.median(frame) < (low + high) / 2:
        gray = 255 - gray
    paper, contrast = _local_levels(gray)
    if contrast.max() < _MIN_CONTRAST:
        return np.zeros(gray.shape, bool)
    contrast = np.maximum(contrast, _FAINT * contrast.max())
    return gray < paper - _THRESHOLD * contrast


def _without_rules(mask: np.ndarray) -> np.ndarray:
    """Without rules under or through words: they fill the gaps between these."""
    height, width = mask.shape
    if width > 5 * height:
        across = (mask.mean(axis=1) > _RULE).astype(np.uint8)[:, None]
        mask = mask & ~_with_edges(across)
    long = np.ones((1, round(_RULE_LENGTH * height) | 1), np.uint8)  # odd, or it shifts
    rules = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, long)
    rest = mask & ~_with_edges(rules)
    for left, right in runs(rules.any(axis=0)):
        if rest[:, left:right].any(axis=0).mean() < _BESIDE_RULE:
            rest[:, left:right] = mask[:, left:right]
    return rest


def _with_edges(rules: np.ndarray) -> np.ndarray:
    """And the rows around them: rules have rough edges."""
    return cv2.dilate(rules, np.ones((5, 1), np.uint8)) > 0


def _without_neighbours(mask: np.ndarray) -> np.ndarray:
    """Without the feet and heads of letters that reach into the crop from other lines.

    Where whole letters reach the edge too, the crop is tight and a small mark may be a stop.
    """
    height = len(mask)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    top, tall = stats[:, cv2.CC_STAT_TOP], stats[:, cv2.CC_STAT_HEIGHT]
    foreign = np.zeros(len(stats), bool)
    for at_edge in (top == 0, top + tall == height):
        at_edge[0] = False  # the background
        low = at_edge & (tall < _INTRUDER * height)
        if 2 * low.sum() > at_edge.sum():
            foreign |= low
    if not foreign.any():
        return mask
    own = mask & ~foreign[labels]
    return own if own.any() else mask


def _local_levels(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey of the paper, and how much darker the ink is, for each column.

    Measured over squares of the line and their neighbours, straight lines in between.
    """
    height, width = gray.shape
    count = max(1, round(width / height))
    edges = np.linspace(0, width, count + 1).astype(int)
    squares = np.repeat(np.arange(0, 256 * count, 256), np.diff(edges))
    counts = np.bincount((gray + squares).reshape(-1), minlength=256 * count).reshape(count, 256)
    counts = np.pad(counts, ((1, 1), (0, 0)))
    levels = percentiles_of_counts(counts[:-2] + counts[1:-1] + counts[2:], (90, 0.5))
    centres = (edges[:-1] + edges[1:]) / 2
    x = np.arange(width) + 0.5
    paper, ink = (np.interp(x, centres, levels[:, k]) for k in (0, 1))
    return paper, paper - ink
