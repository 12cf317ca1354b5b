"""From grey levels to ink: local thresholds, light text on dark fills, ruled lines taken out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .clutter import (
    Mask,
    chosen,
    components,
    dotted_rules,
    is_speckled,
    level_at,
    odd,
    pictures,
    without_specks,
)
from .frames import frames
from .screens import find_screens, read_screens

# Ink higher than this is letters.  A rule lies bare over so long a stretch, and in all over this
# share of its length.  In letter sizes.
THIN, THICK, BARE, BARE_SHARE = 0.45, 0.55, 1.2, 0.15


@dataclass
class Ink:
    """Ink of a page at working resolution, without rules and fills.

    `mask`: uint8 (H, W), 255 where a letter may be; `dark`: uint8 (H, W), 255 inside fills
    whose text is light; `rules`: uint8 (H, W), 255 on the ruled lines that were taken out.
    `whole`: uint8 (H, W), 255 on all ink, before anything was taken out.
    """

    mask: Mask
    dark: Mask
    rules: Mask
    whole: Mask


def threshold(gray: np.ndarray, window: int) -> Mask:
    """Ink darker than its surroundings (Niblack with a floor above the paper's noise).

    With text covering a part p of the window and contrast C, mean - std / 2 lies between
    paper and ink for every p up to a half; the floor keeps empty paper empty.
    """
    box = (window, window)
    mean = cv2.boxFilter(gray, cv2.CV_32F, box)
    noise = (
        1.48 * level_at(cv2.convertScaleAbs(cv2.Laplacian(gray, cv2.CV_16S, ksize=1)), 0.5) / 4.5
    )
    floor = max(14.0, 4.0 * noise)
    # In place: pages of floats are read and written in no time, but not allocated.
    depth = cv2.sqrBoxFilter(gray, cv2.CV_32F, box)
    depth -= cv2.multiply(mean, mean)
    # Half the deviation, but no less than the floor.
    cv2.sqrt(cv2.max(depth, (2 * floor) ** 2, dst=depth), dst=depth)
    depth *= 0.5
    limit = cv2.min(cv2.subtract(mean, depth, dst=mean), 255, dst=mean)
    return cv2.compare(gray, limit.astype(np.uint8), cv2.CMP_LT)


def dark_fills(gray: np.ndarray, size: float) -> Mask:
    """Areas filled dark enough to carry light text: three letters wide, higher than a line of text.

    Bold letters that run together are as dark, but no higher than they are.
    """
    paper = level_at(gray, 0.9)
    # A closing-like blur first: halftone fills are dark only on average.
    level = cv2.blur(gray, (odd(size * 0.6),) * 2)
    dark = cv2.compare(level, 0.62 * paper, cv2.CMP_LT)
    k = odd(size * 1.1)
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((odd(size * 0.7), k), np.uint8))
    dark = cv2.morphologyEx(dark, cv2.MORPH_CLOSE, np.ones((k, odd(size * 1.6)), np.uint8))
    if not cv2.hasNonZero(dark):
        return dark
    labels, stats = components(dark)
    keep = (
        (stats[:, cv2.CC_STAT_WIDTH] > 3 * size)
        & (stats[:, cv2.CC_STAT_HEIGHT] > 1.7 * size)
        & (
            stats[:, cv2.CC_STAT_AREA]
            > 0.5 * stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT]
        )
    )
    keep[0] = False
    return chosen(keep, labels, stats)


def ruled_lines(mask: Mask, size: float) -> Mask:
    """Horizontal and vertical rules: straight, without gaps, far longer than a letter, thin.

    Less the strokes of letters that cross or stand on them.
    """
    turned = cv2.transpose(mask)
    across, down = _runs(mask, size), _runs(turned, size)
    rest = cv2.subtract(mask, across | cv2.transpose(down))
    down = _less_strokes(down, cv2.transpose(rest), size)
    return _less_strokes(across, rest, size) | cv2.transpose(down)


def _runs(mask: Mask, size: float) -> Mask:
    """Horizontal rules of a mask."""
    length = odd(3.5 * size)
    # Bridge the breaks of a worn or slightly slanted rule, but not the gaps between letters.
    joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((1, odd(0.2 * size)), np.uint8))
    runs = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    if not cv2.hasNonZero(runs):
        return runs
    labels, stats = components(runs)
    n = len(stats)
    ink = np.bincount(labels[(runs & mask) > 0], minlength=n)
    area, width, height = stats[:, 4], stats[:, 2], stats[:, 3]
    # The longer a rule, the thicker it may be.
    thick = np.clip(0.03 * width, THIN * size, THICK * size)
    keep = (ink > 0.88 * area) & (area < width * thick) & (height < thick + 0.05 * width)
    # Letters that run together are a run as well; a rule lies bare for more than a letter's width.
    thin = thick == THIN * size
    for kind, most in ((thin, THIN), (~thin, THICK)):
        if (keep & kind).any():
            keep &= ~kind | (_bare(runs, mask, labels, n, most, size) > BARE_SHARE * area)
    keep[0] = False
    grown = cv2.dilate(chosen(keep, labels, stats), np.ones((3, 1), np.uint8))
    return grown & mask


def _bare(
    runs: Mask, mask: Mask, labels: np.ndarray, n: int, most: float, size: float
) -> np.ndarray:
    """How much of each of `n` runs has no ink above or below it and is at most so thick."""
    higher = np.ones((int(most * size) + 1, 1), np.uint8)
    bare = cv2.subtract(runs, cv2.morphologyEx(mask, cv2.MORPH_OPEN, higher))
    bare = cv2.morphologyEx(bare, cv2.MORPH_OPEN, np.ones((1, odd(BARE * size)), np.uint8))
    return np.bincount(labels[bare > 0], minlength=n)


def _less_strokes(runs: Mask, rest: Mask, size: float) -> Mask:
    """Horizontal runs less where strokes of the `rest` go on into them: that share is theirs.

    A run that strokes stand on all along is the joined serifs of letters, no rule.
    """
    if not cv2.hasNonZero(runs):
        return runs
    stroke = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((odd(0.25 * size), 1), np.uint8))
    # Only where it touches: what stands a little above a rule has no share in it.
    touching = cv2.dilate(stroke, np.ones((3, 1), np.uint8)) & runs
    stroke = cv2.dilate(touching, np.ones((2 * _rule_width(size) + 1, 1), np.uint8)) & runs
    if not stroke.any():
        return runs
    labels, stats = components(runs)
    shared = np.bincount(labels[stroke > 0], minlength=len(stats))
    serifs = (shared > 0.3 * stats[:, 4]) & (stats[:, 2] < 5.5 * size)
    return cv2.subtract(runs, stroke | chosen(serifs, labels, stats))


def _rule_width(size: float) -> int:
    return odd(0.36 * size)


def find_ink(gray: np.ndarray, size: float, enlarged: float = 1.0) -> Ink:
    """Ink of a page whose letters are about `size` pixels high, now that it was `enlarged`."""
    # Half-tone dots and 1-bit dither vanish under a blur narrower than a stroke.
    soft = cv2.GaussianBlur(gray, (0, 0), max(0.4, 0.045 * size))
    window = odd(max(15, 5 * size))
    mask = threshold(soft, window)
    if is_speckled(mask, size):
        soft = cv2.GaussianBlur(gray, (0, 0), 0.12 * size)
        mask = without_specks(threshold(soft, window), size)
    whole = mask.copy()
    dark = dark_fills(gray, size)
    screens = find_screens(gray, mask, size, enlarged)
    if dark.any():
        light = threshold(255 - soft, window)
        mask = np.where(dark > 0, light, mask)
    if screens.any():
        where, ink, light = read_screens(gray, mask, screens, size)
        mask, dark = np.where(where > 0, ink, mask), np.where(screens > 0, light, dark)
    if dark.any():
        # The edge of a fill is a step, not a stroke.
        edge = cv2.morphologyEx(dark, cv2.MORPH_GRADIENT, np.ones((odd(0.3 * size),) * 2, np.uint8))
        mask[edge > 0] = 0
    mask[pictures(gray, size) > 0] = 0
    rules = ruled_lines(mask, size)
    mask = cv2.subtract(mask, rules)
    labels, stats = components(mask)
    apart = dotted_rules(mask, labels, stats, size) | frames(mask, labels, stats, rules, size)
    return Ink(cv2.subtract(mask, apart), dark, cv2.bitwise_or(rules, apart), whole)
