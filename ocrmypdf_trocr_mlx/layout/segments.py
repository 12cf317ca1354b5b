"""Ink to segments: runs of letters on one line, touching lines taken apart.

Blurred far along the line and little across it, the ink of a text line leaves a ridge over the
x-height; ascenders and descenders are too sparse to bridge two ridges.  Cut at half the ridge's
height, each line becomes blobs of its own even where letters of two lines touch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from .clutter import Mask, chosen, components, odd
from .scale import resize

# Letters much larger than the page's usual ones are handled on the page reduced 2, 4, 8 times.
LEVELS = 4
TALL = 3.1  # in letter sizes: what is taller belongs to the next level
# Between two rows letters cover less than this share of either; a row holds so many letter sizes.
VALLEY, WORD = 0.35, 1.5
NARROW_ROW = 0.3  # a row holds at least so much of what the blob's widest does, or a word
ALIGNED = 0.6  # share of the letters of such rows that stand on their baselines


def quantile(values: np.ndarray, share: float = 0.5) -> float:
    """The value below which a share of some numbers lies; numpy's own is slow on a few."""
    return float(np.sort(values)[int(share * (len(values) - 1) + 0.5)])


@dataclass
class Segment:
    """Letters on a line without a wide gap.

    `chars`: (N, 4) float x0, y0, x1, y1 of the connected pieces of ink, sorted by x0.
    `area`: their pixels of ink.  `ground`: the number of the dark box they lie in; 0 is the paper.
    """

    chars: np.ndarray
    area: float
    ground: int = 0

    def __post_init__(self) -> None:
        self.chars = self.chars[np.argsort(self.chars[:, 0], kind="stable")]
        self.left, self.top = self.chars[:, :2].min(0)
        self.right, self.bottom = self.chars[:, 2:].max(0)
        heights = self.chars[:, 3] - self.chars[:, 1]
        # Punctuation and accents say nothing of the letters' height.
        tall = heights > 0.5 * quantile(heights, 0.8)
        self.letters = self.chars[tall]
        self.size = quantile(heights[tall])

    def band(self, right_end: bool) -> tuple[float, float]:
        """(top, baseline) of the letters near one end, where a neighbour would go on."""
        reach = 6 * self.size
        if right_end:
            near = self.letters[self.letters[:, 2] > self.right - reach]
        else:
            near = self.letters[self.letters[:, 0] < self.left + reach]
        if not len(near):
            near = self.letters
        return quantile(near[:, 1]), quantile(near[:, 3])


def find_segments(
    mask: Mask, size: float, flattened: Callable[[np.ndarray], np.ndarray] = lambda boxes: boxes
) -> list[Segment]:
    """All segments of an ink mask whose letters are mostly about `size` pixels high.

    `flattened`: moves boxes, (N, 4 and more), to where they are on a flat page, if it is not.
    """
    labels, stats = components(mask)
    level = _levels(stats, size)
    segments: list[Segment] = []
    for k in range(LEVELS):
        members = level == k
        if members.any():
            segments += _segments_of(labels, stats, members, size, k, flattened)
    return segments


def _levels(stats: np.ndarray, size: float) -> np.ndarray:
    """The size class of each component; -1 for what is no letter."""
    width, height, area = stats[:, 2], stats[:, 3], stats[:, 4]
    level = np.zeros(len(stats), int)
    for k in range(1, LEVELS):
        level[height > TALL * size * 2 ** (k - 1)] = k
    # A long tall component is lines that touch, or handwriting: the ridges take it apart.
    level[(level == 1) & (height < 0.6 * width)] = 0
    # Letters beside much taller ones are the small letters of a heading.
    for c in np.flatnonzero((level > 0) & (width < 2.5 * height)):
        x, y, w, h, _ = stats[c]
        beside = (
            (stats[:, 0] < x + w + 1.2 * h)
            & (stats[:, 0] + width > x - 1.2 * h)
            & (stats[:, 1] > y - 0.2 * h)
            & (stats[:, 1] + height < y + 1.4 * h)
            & (height > 0.38 * h)
        )
        level[beside] = np.maximum(level[beside], level[c])
    speck = (area < max(3, (0.12 * size) ** 2)) | (np.maximum(height, width) < 0.12 * size)
    hollow = (area < 0.12 * width * height) & (height > 2 * size)  # frames, drawings
    level[speck | hollow | (height > TALL * size * 2 ** (LEVELS - 1))] = -1
    level[0] = -1
    return level


def _segments_of(
    labels: np.ndarray,
    stats: np.ndarray,
    members: np.ndarray,
    size: float,
    level: int,
    flattened: Callable[[np.ndarray], np.ndarray],
) -> list[Segment]:
    """Segments among the components of one size class, the `members` (n,)."""
    x0, y0 = stats[members, :2].min(0)
    x1, y1 = (stats[members, :2] + stats[members, 2:4]).max(0)
    labels, stats = labels[y0:y1, x0:x1], stats - (x0, y0, 0, 0, 0)
    mask = chosen(members, labels, stats)
    small = resize(mask, 0.5**level)
    blobs = _ridges(small, size)
    if not blobs.any():
        return []
    # Label of the nearest blob for every pixel of ink, and how far away it is.
    distance, nearest = cv2.distanceTransformWithLabels(
        cv2.bitwise_not(blobs), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_CCOMP
    )
    if level:
        shape = (mask.shape[1], mask.shape[0])
        distance = distance * 2**level
        nearest = cv2.resize(nearest, shape, interpolation=cv2.INTER_NEAREST)
        distance = cv2.resize(distance, shape, interpolation=cv2.INTER_NEAREST)
    stats[~members] = 0
    pieces = _pieces(mask, labels, stats, nearest, distance, size * 2**level)
    if not len(pieces):
        return []
    pieces[:, [0, 2]] += x0
    pieces[:, [1, 3]] += y0
    order = np.argsort(pieces[:, 5], kind="stable")
    pieces = flattened(pieces[order])
    starts = np.flatnonzero(np.diff(pieces[:, 5], prepend=-1))
    groups = [row for p in np.split(pieces, starts[1:]) for row in _rows(p, size * 2**level)]
    return [Segment(p[:, :4], float(p[:, 4].sum())) for p in groups]


def _rows(pieces: np.ndarray, size: float) -> list[np.ndarray]:
    """The pieces of one blob by rows: capitals set tight leave no valley for the ridges to see.

    Rows show where the letters' boxes, a little shortened, leave heights uncovered.  Pieces much
    smaller than letters of `size` are noise and stay together.
    """
    height = pieces[:, 3] - pieces[:, 1]
    usual = quantile(height[height >= 0.5 * quantile(height, 0.8)])
    if usual < 0.5 * size or np.ptp(np.append(pieces[:, 1], pieces[:, 3])) < 1.7 * usual:
        return [pieces]
    letters = pieces[(height > 0.6 * usual) & (height < 1.5 * usual)]
    if len(letters) < 4:
        return [pieces]
    cuts = _cuts(letters, usual)
    if not _aligned(letters, cuts, usual):
        return [pieces]
    middle = (pieces[:, 1] + pieces[:, 3]) / 2
    row = np.searchsorted(cuts, middle)
    for k, cut in enumerate(cuts):
        # A piece that reaches far into both rows is two letters that touch.
        both = (pieces[:, 1] < cut - 0.5 * usual) & (pieces[:, 3] > cut + 0.5 * usual)
        upper, lower = pieces[both].copy(), pieces[both].copy()
        upper[:, 3] = lower[:, 1] = cut
        pieces = np.concatenate([pieces[~both], upper, lower])
        row = np.concatenate([row[~both], np.full(len(upper), k), np.full(len(lower), k + 1)])
    return [pieces[row == k] for k in range(len(cuts) + 1) if (row == k).any()]


def _aligned(letters: np.ndarray, cuts: list[float], usual: float) -> bool:
    """Do most letters stand on the baselines of the rows between `cuts`?  Noise does not."""
    row = np.searchsorted(cuts, (letters[:, 1] + letters[:, 3]) / 2)
    feet = letters[:, 3]
    off = [np.abs(feet[row == k] - quantile(feet[row == k])) for k in np.unique(row)]
    return bool((np.concatenate(off) < 0.25 * usual).mean() > ALIGNED)


def _cuts(letters: np.ndarray, usual: float) -> list[float]:
    """Heights between the rows of letters about `usual` pixels high.

    There letters cover much less than nearby above and below.  They count by their width: letters
    that an underline joins are one piece; a word stands on its own row beside a long line's.
    """
    trim = 0.16 * usual
    origin = letters[:, 1].min()
    change = np.zeros(int(letters[:, 3].max() - origin) + 2)
    width = letters[:, 2] - letters[:, 0]
    np.add.at(change, (letters[:, 1] + trim - origin).astype(int), width)
    np.add.at(change, (letters[:, 3] - trim - origin).astype(int), -width)
    cover = np.cumsum(change)
    reach = int(1.2 * usual) + 1
    above = np.array([cover[max(0, y - reach) : y + 1].max() for y in range(len(cover))])
    below = np.array([cover[y : y + reach].max() for y in range(len(cover))])
    peak = np.minimum(above, below)
    # A blob of narrow rows has numbers above each other; beside a long line a few letters are none.
    least = min(WORD * usual, NARROW_ROW * cover.max())
    low = np.flatnonzero((cover < VALLEY * peak) & (peak > least))
    return [
        origin + float(run.mean())
        for run in np.split(low, np.flatnonzero(np.diff(low) > 1) + 1)
        if len(run)
    ]


def _ridges(mask: Mask, size: float) -> Mask:
    """Blobs over the x-height of the text lines of a mask."""
    f = cv2.sepFilter2D(mask, -1, _bell(0.75 * size), _bell(0.24 * size))
    crest = cv2.dilate(f, np.ones((odd(1.7 * size), 1), np.uint8))
    ridge = cv2.compare(f, cv2.max(cv2.multiply(crest, 0.58), 9), cv2.CMP_GE)
    # A row of descenders may still bridge two ridges: a neck narrower than any letter's blob.
    return cv2.morphologyEx(ridge, cv2.MORPH_OPEN, np.ones((1, odd(0.8 * size)), np.uint8))


def _bell(sigma: float) -> np.ndarray:
    """The weights with which OpenCV's GaussianBlur blurs bytes: seen in what it makes of a dot.

    With wide ones its sepFilter2D gives the same and takes a third of the time.
    """
    reach = int(4 * sigma) + 2
    dot = np.zeros((2 * reach + 1, 1), np.uint8)
    dot[reach] = 255
    return np.trim_zeros(cv2.GaussianBlur(dot, (0, 0), sigmaX=0.1, sigmaY=sigma).ravel()) / 256


def _pieces(
    mask: Mask,
    labels: np.ndarray,
    stats: np.ndarray,
    nearest: np.ndarray,
    distance: np.ndarray,
    size: float,
) -> np.ndarray:
    """(N, 6) x0, y0, x1, y1, area, blob: components of ink, cut where they span two blobs.

    `labels` and `stats` are of the mask's components, and of others, whose stats are zeros.

    A component goes whole to the blob that most of its ink is nearest to, unless another
    blob has a fair share too: then each pixel goes to its nearest blob.
    """
    n = len(stats)
    inside = mask > 0
    component, blob = labels[inside].astype(np.int64), nearest[inside].astype(np.int64)
    comp_of, blob_of, counts = _pairs(component, blob, n)
    share = counts / stats[comp_of, 4]
    biggest = np.zeros(n)
    biggest[0] = 1  # the background is whole
    np.maximum.at(biggest, comp_of, share)
    split = (biggest < 0.8) & (stats[:, 3] > 1.5 * size)
    away = np.full(n, np.inf)
    np.minimum.at(away, component, distance[inside])
    # Specks far from any line would stretch it; frames and drawings are mostly holes.
    lost = (away > 0.6 * size) & (stats[:, 3] < 0.6 * size) | (away > 1.5 * size)
    main = (share == biggest[comp_of]) & ~(split | lost)[comp_of]
    whole = np.column_stack((stats[comp_of[main]], blob_of[main])).astype(float)
    whole[:, 2:4] += whole[:, :2]
    rows = [row for c in np.flatnonzero(split) for row in _cut(labels, nearest, stats[c], int(c))]
    out = np.concatenate((whole, np.array(rows, float).reshape(-1, 6)))
    # A component that is the largest share of two blobs at once is counted once.
    out = out[np.lexsort(out[:, 3::-1].T)]
    return out[np.append(True, (np.diff(out[:, :4], axis=0) != 0).any(axis=1))[: len(out)]]


def _pairs(component: np.ndarray, blob: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """(component, blob, pixels) of what of `n` components goes to each blob, in this order.

    Most components go to one blob as a whole; only the others' pixels are sorted.
    """
    first, last = np.full(n, blob.max()), np.zeros(n, int)
    np.minimum.at(first, component, blob)
    np.maximum.at(last, component, blob)
    whole = np.flatnonzero(first == last)
    mixed = (first < last)[component]
    base = int(blob.max()) + 1
    keys, counts = np.unique(component[mixed] * base + blob[mixed], return_counts=True)
    keys = np.append(whole * base + first[whole], keys)
    counts = np.append(np.bincount(component, minlength=n)[whole], counts)
    order = np.argsort(keys)
    return keys[order] // base, keys[order] % base, counts[order]


def _cut(labels: np.ndarray, nearest: np.ndarray, stat: np.ndarray, c: int) -> list[tuple]:
    """The parts of component `c`, one for each blob that its pixels are nearest to."""
    x, y, w, h, area = stat
    part = np.where(labels[y : y + h, x : x + w] == c, nearest[y : y + h, x : x + w], 0)
    rows = []
    for b in np.unique(part):
        ys, xs = np.nonzero(part == b)
        if b and len(ys) > 0.08 * area:
            rows.append(
                (x + xs.min(), y + ys.min(), x + xs.max() + 1, y + ys.max() + 1, len(ys), b)
            )
    return rows
