"""Letters on half-tone screens: shaded cells and bands of old printers, faxes and 1-bit scans."""

from __future__ import annotations

import cv2
import numpy as np

from .clutter import Mask, chosen, components, odd, without_specks

# How often ink and paper alternate from pixel to pixel, along each axis, in a screened fill.
SCREEN = 0.16
# A fine screen that fills more of the page than this is the noise of the scan.
MOST = 0.5
# Letters are at least this much darker, or lighter, than the tone of their fill.
CONTRAST = 0.16


def find_screens(gray: np.ndarray, mask: Mask, size: float, enlarged: float) -> Mask:
    """Areas filled with a half-tone screen or dither, at least a line high and two letters wide.

    There ink and paper alternate within a stroke or two along both axes; in text they do so
    along the line only.  The page was `enlarged` so many times: the steps are so much lower.
    """
    busy = cv2.blur(cv2.max(*_busy((mask, gray), size)), (3, 3))
    found = cv2.compare(busy, SCREEN * 255, cv2.CMP_GT)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((2, 4), np.uint8))
    if enlarged > 1:  # bold letters alternate as much, but only as high as they are
        calmer = cv2.compare(busy, SCREEN / enlarged * 255, cv2.CMP_GT)
        calmer = cv2.morphologyEx(calmer, cv2.MORPH_OPEN, np.ones((4, 8), np.uint8))
        if cv2.countNonZero(calmer) < MOST * calmer.size:
            found |= calmer
    if not found.any():
        return np.zeros_like(mask)
    # Letters in the fill interrupt the screen.
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((5, 9), np.uint8))
    return cv2.resize(found, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)


def _busy(images: tuple[np.ndarray, np.ndarray], size: float) -> list[np.ndarray]:
    """(H, W) -> cells of half a letter: the mean step from pixel to pixel, of the calmer axis."""
    cell = 0.5 * size
    height, width = images[0].shape
    shape = (max(1, round(width / cell)), max(1, round(height / cell)))
    steps = []
    for image in images:
        steps.append(cv2.absdiff(image[:-1, 1:], image[:-1, :-1]))
        steps.append(cv2.absdiff(image[1:, :-1], image[:-1, :-1]))
    # As channels of one image they are reduced in half the time.
    cells = cv2.split(cv2.resize(cv2.merge(steps), shape, interpolation=cv2.INTER_AREA))
    return [cv2.min(*cells[:2]), cv2.min(*cells[2:])]


def read_screens(
    gray: np.ndarray, mask: Mask, screens: Mask, size: float
) -> tuple[Mask, Mask, Mask]:
    """(where, ink, light): screens with their rims, the letters there, fills of light letters."""
    x, y, w, h = cv2.boundingRect(screens)
    reach = int(6 * size) + 8  # of everything that is looked at about a pixel
    window = slice(max(0, y - reach), y + h + reach), slice(max(0, x - reach), x + w + reach)
    found = np.zeros((3, *screens.shape), np.uint8)
    parts = _read(gray[window], mask[window], screens[window], size)
    for whole, part in zip(found, parts, strict=True):
        whole[window] = part
    return found[0], found[1], found[2]


def _read(gray: np.ndarray, mask: Mask, screens: Mask, size: float) -> tuple[Mask, Mask, Mask]:
    """Blurred, a screen is its tone; letters stand out from it, in one of two directions."""
    soft = cv2.GaussianBlur(gray, (0, 0), 0.10 * size).astype(np.float32)
    inside = (screens > 0).astype(np.float32)
    window = (odd(5 * size), odd(2.5 * size))
    weight = cv2.max(cv2.blur(inside, window), 1e-3)
    tone = cv2.divide(cv2.blur(cv2.multiply(soft, inside), window), weight)
    # Letters reach black or white; what the blur leaves of the screen stays near its tone.
    depth = (tone * (1 - CONTRAST) - soft) / cv2.max(tone, 1)
    lift = (soft - tone * (1 + CONTRAST)) / cv2.max(255 - tone, 1)
    labels, stats = components(screens)
    within = screens > 0
    # Their rims may lie on the paper about them.
    inner = cv2.erode(screens, np.ones((odd(size),) * 2, np.uint8)) > 0
    dark_ink, light_ink = (
        np.bincount(labels[inner], np.maximum(d[inner], 0) ** 2, len(stats)) for d in (depth, lift)
    )
    is_light = light_ink > 1.5 * dark_ink
    is_light[0] = False
    light = chosen(is_light, labels, stats)
    where = cv2.dilate(screens, np.ones((odd(size),) * 2, np.uint8))
    ink = np.where(np.where(light > 0, lift, depth) > 0, 255, 0).astype(np.uint8)
    # Letters beside a screen stand on paper: what is ink there is known already.
    ink = without_specks(np.where(within, ink, ink & mask) & where, size)
    return where, ink, light
