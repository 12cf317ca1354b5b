"""What is on a page besides letters, fills and rules: pictures, specks, dotted rules."""

from __future__ import annotations

import cv2
import numpy as np

# So few components are drawn one by one, not by looking at every pixel of the page.
_FEW = 64

Mask = np.ndarray  # uint8 (H, W), 255 where there is ink


def odd(x: float) -> int:
    """The odd kernel size nearest above `x`, at least 1."""
    return 2 * int(max(x, 0) / 2) + 1


def components(mask: Mask) -> tuple[np.ndarray, np.ndarray]:
    """The mask's labels (H, W), 0 for what is no ink, and stats (n, 5): x, y, w, h, area.

    As OpenCV numbers them, but it measures pixel by pixel: over runs it takes a third of the time.
    The stats of label 0 are zeros.
    """
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), bool)
    np.not_equal(mask, 0, out=padded[:, 1:-1])
    flat = padded.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    y, start = np.divmod(edges[::2], padded.shape[1])
    end = edges[1::2] - y * padded.shape[1]
    label = labels[y, start]
    stats = np.zeros((count, 5), np.int32)
    left, right = np.full(count, mask.shape[1]), np.zeros(count, int)
    np.minimum.at(left, label, start)
    np.maximum.at(right, label, end)
    stats[label[::-1], 1] = y[::-1]  # runs come row by row: the last one to be noted stays
    stats[label, 3] = y + 1
    stats[1:, 0], stats[1:, 2] = left[1:], (right - left)[1:]
    stats[:, 3] -= stats[:, 1]
    stats[:, 4] = np.bincount(label, end - start, count)
    return labels, stats


def chosen(keep: np.ndarray, labels: np.ndarray, stats: np.ndarray | None = None) -> Mask:
    """The mask of the components, labelled in (H, W), for which `keep` (n,) is true.

    Where their `stats` are known and they are few, they are drawn one by one.
    """
    few = np.flatnonzero(keep)
    if not len(few):
        return np.zeros(labels.shape, np.uint8)
    small = stats is not None and stats[few, 2:4].prod(axis=1).sum() < labels.size / 8
    if stats is None or not small or len(few) > _FEW:
        return np.take(np.where(keep, 255, 0).astype(np.uint8), labels, mode="clip")
    mask = np.zeros(labels.shape, np.uint8)
    for i, (x, y, w, h) in zip(few, stats[few, :4], strict=True):
        mask[y : y + h, x : x + w][labels[y : y + h, x : x + w] == i] = 255
    return mask


def level_at(gray: np.ndarray, share: float) -> float:
    """The grey level below which a share of the pixels, uint8, lies."""
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel()
    return float(np.searchsorted(np.cumsum(counts), share * gray.size))


def pictures(gray: np.ndarray, size: float) -> Mask:
    """Photographs: areas that show no paper within a letter's reach, and uneven tones.

    Shaded cells lack paper too, but there the lightest tone nearby is the same all over.
    """
    shrink = min(1.0, 4.0 / size)
    small = cv2.resize(gray, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    s = size * shrink
    paper = level_at(small, 0.85)
    lightest = cv2.dilate(small, np.ones((odd(1.4 * s),) * 2, np.uint8))
    smooth = cv2.blur(lightest, (odd(6 * s),) * 2)
    tones = cv2.blur(cv2.absdiff(lightest, smooth), (odd(6 * s),) * 2)
    found = np.where((smooth < paper - 35) & (tones > 9), 255, 0).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((odd(4 * s),) * 2, np.uint8))
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((odd(6 * s),) * 2, np.uint8))
    if not found.any():
        return np.zeros_like(gray)
    labels, stats = components(found)
    keep = stats[:, cv2.CC_STAT_AREA] > (9 * s) ** 2
    keep[0] = False
    for i in np.flatnonzero(keep):
        # A fill with light text in it has one ground.
        within = small[(labels == i) & (small < paper - 35)].astype(np.int16)
        keep[i] = (np.abs(within - np.median(within)) < 16).mean() < 0.6
    return cv2.resize(
        chosen(keep, labels, stats), gray.shape[::-1], interpolation=cv2.INTER_NEAREST
    )


def is_speckled(mask: Mask, size: float) -> bool:
    """Are there far more specks than letters, as in dithered or noisy scans?"""
    _, stats = components(mask)
    extent = np.maximum(stats[1:, 2], stats[1:, 3])
    return bool((extent < 0.3 * size).sum() > 6 * (extent > 0.5 * size).sum() + 200)


def without_specks(mask: Mask, size: float) -> Mask:
    """The mask less small pieces of ink that stand among others of their kind, not by letters."""
    labels, stats = components(mask)
    speck = np.maximum(stats[:, 2], stats[:, 3]) < 0.45 * size
    speck[0] = False
    specks = chosen(speck, labels, stats)
    window = (odd(3 * size),) * 2
    crowd = cv2.boxFilter(specks, cv2.CV_32F, window)
    letters = cv2.boxFilter(cv2.subtract(mask, specks), cv2.CV_32F, window)
    return cv2.subtract(mask, cv2.bitwise_and(specks, cv2.compare(crowd, letters, cv2.CMP_GT)))


def dotted_rules(mask: Mask, labels: np.ndarray, stats: np.ndarray, size: float) -> Mask:
    """Rows and columns of dots or dashes that part cells; not the leaders of a text line.

    `labels` and `stats` are of the mask's components.
    """
    width, height = stats[:, 2], stats[:, 3]
    tiny = np.minimum(width, height) < 0.3 * size
    tiny &= np.maximum(width, height) < 1.2 * size
    tiny[0] = False
    dots = chosen(tiny, labels, stats)
    out = np.zeros_like(mask)
    for across in (True, False):
        d = dots if across else cv2.transpose(dots)
        kernel = np.ones((1, odd(0.9 * size)), np.uint8)
        runs = opened(cv2.morphologyEx(d, cv2.MORPH_CLOSE, kernel), odd(5 * size))
        if runs is None:
            continue
        if across:
            runs = _unattached(runs, cv2.subtract(mask, dots), size)
        # The rest of each dot, above and below the run.
        runs = cv2.dilate(runs, np.ones((odd(0.3 * size), odd(size)), np.uint8)) & d
        out |= runs if across else cv2.transpose(runs)
    return out


def opened(mask: Mask, length: int) -> Mask | None:
    """The mask's horizontal runs of such a length; None if there is none."""
    kernel = np.ones((1, length), np.uint8)
    cores = cv2.erode(mask, kernel)
    return cv2.dilate(cores, kernel) if cv2.hasNonZero(cores) else None


def _unattached(runs: Mask, letters: Mask, size: float) -> Mask:
    """The runs with no letter standing at their height just before or after them."""
    labels, stats = components(runs)
    keep = np.zeros(len(stats), bool)
    reach = int(2 * size)
    for i, (x, y, w, h, _) in enumerate(stats):
        if i:
            rows = slice(max(0, int(y - 0.5 * size)), y + h)
            left = letters[rows, max(0, x - reach) : x]
            right = letters[rows, x + w : x + w + reach]
            keep[i] = not (left.any() or right.any())
    return chosen(keep, labels)
