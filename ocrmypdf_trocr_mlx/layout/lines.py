"""Segments to text lines: linked along the line, cut at gutters and cell borders, measured."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from .baseline import Knots, find_bend
from .clutter import Mask
from .dashes import lone_dashes
from .segments import Segment, quantile
from .strays import without_strays

# In letter sizes.  Spaces of justified and typewritten text stay below WIDE; between NARROW and
# WIDE a gap is a gutter only if gaps above and below continue it.
WIDE, NARROW = 2.3, 0.9
GUTTER_ROWS = 4
# So many where the gaps are no wider than their lines' spaces, as between tight columns; in
# typescript spaces stand above each other on fewer.
TIGHT_ROWS = 8
LONE = 2.5  # in letter sizes: what is wider is no lone letter, nor two that touch


@dataclass
class TextLine:
    """A line of text, or the part of it in one column or cell, on an upright page.

    `left`, `right`: ends of the ink.  `y_left`, `y_right`: height of the baseline there.
    `ascent`, `descent`: how far the ink goes above and below the baseline.  `size`: median
    height of the letters.  `bend`: where the baseline is not straight, its points (x, y) from the
    left end to the right one; else empty.  All in pixels.
    """

    left: float
    right: float
    y_left: float
    y_right: float
    ascent: float
    descent: float
    size: float
    bend: Knots = ()

    @property
    def ends(self) -> Knots:
        """The points of the baseline, two where it is straight."""
        return self.bend or ((self.left, self.y_left), (self.right, self.y_right))

    @property
    def top(self) -> float:
        return min(y for _, y in self.ends) - self.ascent

    @property
    def bottom(self) -> float:
        return max(y for _, y in self.ends) + self.descent

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def middle(self) -> float:
        """Height of the middle of the letters without ascenders, in the mean."""
        if self.bend:
            return float(np.mean([y for _, y in self.bend])) - 0.4 * self.size
        return (self.y_left + self.y_right) / 2 - 0.4 * self.size

    @property
    def slope(self) -> float:
        """dy/dx from the left end to the right one."""
        return (self.y_right - self.y_left) / max(self.width, 1.0)

    def base(self, x: np.ndarray) -> np.ndarray:
        """Height of the baseline at x (N,); beyond its ends it goes on as it ends."""
        if not self.bend:
            return self.y_left + self.slope * (x - self.left)
        (x0, y0), (x1, y1), *_ = self.bend
        *_, (x2, y2), (x3, y3) = self.bend
        y = np.interp(x, *np.transpose(self.bend))
        before, after = np.minimum(x - x0, 0), np.maximum(x - x3, 0)
        return y + before * (y1 - y0) / (x1 - x0) + after * (y3 - y2) / (x3 - x2)

    def scaled(self, k: float) -> TextLine:
        """The same line on the page enlarged by `k`."""
        numbers = {name: k * v for name, v in vars(self).items() if name != "bend"}
        return TextLine(**numbers, bend=tuple((k * x, k * y) for x, y in self.bend))

    def along(self, x: np.ndarray, y: np.ndarray) -> TextLine:
        """The same line with the baseline (x, y), (N,) each, from its left end to its right."""
        bend = tuple(zip(x.tolist(), y.tolist(), strict=True))
        return replace(self, y_left=bend[0][1], y_right=bend[-1][1], bend=bend)

    def moved(self, dx: float, dy: float) -> TextLine:
        """The same line further right and down."""
        return replace(
            self,
            left=self.left + dx,
            right=self.right + dx,
            y_left=self.y_left + dy,
            y_right=self.y_right + dy,
            bend=tuple((x + dx, y + dy) for x, y in self.bend),
        )


def find_text_lines(segments: list[Segment], rules: Mask, size: float) -> list[TextLine]:
    """Text lines made of `segments`, in no order; `rules` (uint8 H, W) keeps cells apart."""
    segments = [part for s in segments for part in without_strays(s)]
    chains = _link(segments, rules)
    runs = [Segment(np.concatenate([s.chars for s in c]), sum(s.area for s in c)) for c in chains]
    parts = _cut_at_gutters(runs)
    lines = [measure(p) for p in map(_without_stray_dots, parts) if _is_text(p, size)]
    return lines + [_at(dash, measure(rest)) for dash, rest in lone_dashes(runs, parts, size)]


def _at(part: Segment, line: TextLine) -> TextLine:
    """The part of a line's geometry that lies at `part`."""
    left, right = float(part.left), float(part.right)
    y_left, y_right = line.base(np.array([left, right])).tolist()
    return TextLine(left, right, y_left, y_right, line.ascent, line.descent, line.size)


def _link(segments: list[Segment], rules: Mask) -> list[list[Segment]]:
    """Chains of segments, each linked to its nearest neighbour on the same line."""
    n = len(segments)
    if not n:
        return []
    lefts = np.array([s.left for s in segments])
    rights = np.array([s.right for s in segments])
    start = np.array([s.band(right_end=False) for s in segments])
    end = np.array([s.band(right_end=True) for s in segments])
    sizes = np.array([s.size for s in segments])
    grounds = np.array([s.ground for s in segments])
    best_right = np.full(n, -1)
    best_left: dict[int, tuple[float, int]] = {}
    for i in range(n):
        big = np.maximum(sizes, sizes[i])
        gap = lefts - rights[i]
        overlap = np.minimum(start[:, 1], end[i, 1]) - np.maximum(start[:, 0], end[i, 0])
        small = np.minimum(start[:, 1] - start[:, 0], end[i, 1] - end[i, 0])
        ok = (
            (gap < WIDE * np.minimum(sizes, sizes[i]))
            & (gap > -0.6 * big)
            & (grounds == grounds[i])
            & (lefts > lefts[i])
            & (rights > rights[i])
            & (overlap > 0.45 * small)
            & (np.minimum(sizes, sizes[i]) > 0.42 * big)
        )
        ok[i] = False
        candidates = np.flatnonzero(ok)
        if not len(candidates):
            continue
        j = int(candidates[np.argmin(gap[candidates])])
        y = int((max(start[j, 0], end[i, 0]) + min(start[j, 1], end[i, 1])) / 2)
        if _ruled(rules, rights[i], lefts[j], y):
            continue
        best_right[i] = j
        if j not in best_left or gap[j] < best_left[j][0]:
            best_left[j] = (float(gap[j]), i)
    follows = {j: i for j, (_, i) in best_left.items() if best_right[i] == j}
    after = {i: j for j, i in follows.items()}
    chains = []
    for i in range(n):
        if i not in follows:
            chain = [i]
            while chain[-1] in after:
                chain.append(after[chain[-1]])
            chains.append([segments[k] for k in chain])
    return chains


def _ruled(rules: Mask, left: float, right: float, y: int) -> bool:
    """Does a vertical rule stand between x = left and right at height y?"""
    x0, x1 = int(min(left, right)), int(max(left, right)) + 1
    window = rules[max(0, y - 2) : y + 3, max(0, x0) : x1]
    return bool(window.size) and bool((window > 0).all(axis=0).any())


@dataclass
class _Gap:
    """A wide gap of a run: from x0 to x1 at height y, before its char `index`.

    `clear`: it is wider than the run's spaces.  An `index` of 0 is the gap between two runs.
    """

    x0: float
    x1: float
    y: float
    size: float
    run: int
    index: int
    clear: bool


def _gaps(number: int, run: Segment) -> list[_Gap]:
    """The gaps of a run wide enough for a gutter."""
    ends = np.maximum.accumulate(run.chars[:-1, 2])
    starts = run.chars[1:, 0]
    width = starts - ends
    spaces = width[width > 0.35 * run.size]
    # A gutter is wider than its line's spaces; typewritten spaces all line up.
    usual = quantile(spaces) if len(spaces) > 2 else 0.0
    y = quantile(run.letters[:, 3])
    clear = width > 1.5 * usual
    return [
        _Gap(float(ends[i]), float(starts[i]), y, run.size, number, int(i) + 1, bool(clear[i]))
        for i in np.flatnonzero(width > NARROW * run.size)
    ]


def _gaps_between(runs: list[Segment]) -> list[_Gap]:
    """The gaps from runs to what follows on their rows: gutters go on through them."""
    left = np.array([run.left for run in runs])
    y = np.array([quantile(run.letters[:, 3]) for run in runs])
    gaps = []
    for r, run in enumerate(runs):
        row = (np.abs(y - y[r]) < 0.5 * run.size) & (left > run.right + NARROW * run.size)
        if row.any():
            gaps.append(
                _Gap(float(run.right), float(left[row].min()), float(y[r]), run.size, r, 0, True)
            )
    return gaps


def _cut_at_gutters(runs: list[Segment]) -> list[Segment]:
    """Runs cut at gaps that are wide, or part of a gutter through neighbouring runs."""
    found = [gap for r, run in enumerate(runs) for gap in _gaps(r, run)]
    clear = [gap for gap in found if gap.clear]
    between = _gaps_between(runs)
    gutters = _gutters(clear + between, GUTTER_ROWS) + _gutters(found + between, TIGHT_ROWS)
    wide = [gap for gap in clear if gap.x1 - gap.x0 > WIDE * gap.size]
    cuts: dict[int, set[int]] = {}
    for gap in gutters + wide:
        if not gap.index:
            continue
        cuts.setdefault(gap.run, set()).add(gap.index)
    parts = []
    for r, run in enumerate(runs):
        for chars in np.split(run.chars, sorted(cuts.get(r, ()))):
            parts.append(Segment(chars, run.area * len(chars) / len(run.chars)))
    return parts


def _gutters(gaps: list[_Gap], rows: int) -> list[_Gap]:
    """Those gaps that lie in a strip free through so many rows."""
    gaps = sorted(gaps, key=lambda gap: gap.y)
    down, up = _chain(gaps, 1), _chain(gaps[::-1], -1)[::-1]
    return [gap for gap, d, u in zip(gaps, down, up, strict=True) if d + u - 1 >= rows]


def _without_stray_dots(part: Segment) -> Segment:
    """The part less dots at its ends that stand too far off to be punctuation."""
    chars, size = part.chars, part.size
    dot = (chars[:, 2:] - chars[:, :2]).max(1) < 0.3 * size
    first, last = 0, len(chars) - 1
    while first < last and dot[first] and chars[first + 1, 0] - chars[first, 2] > 0.5 * size:
        first += 1
    while first < last and dot[last] and chars[last, 0] - chars[:last, 2].max() > 0.5 * size:
        last -= 1
    kept = chars[first : last + 1]
    return part if len(kept) == len(chars) else Segment(kept, part.area)


def _chain(gaps: list[_Gap], direction: int) -> list[int]:
    """How many gaps above (direction 1) or below (-1) each gap continue one another in it."""
    strips: list[tuple[float, float, int]] = []
    for k, gap in enumerate(gaps):
        best = (gap.x0, gap.x1, 1)
        for m in range(k - 1, -1, -1):
            step = direction * (gap.y - gaps[m].y)
            if step > 4.0 * gap.size:
                break
            s0, s1, count = strips[m]
            strip = (max(gap.x0, s0), min(gap.x1, s1), count + 1)
            near = step > 0.8 * gap.size and gap.run != gaps[m].run
            if near and strip[1] - strip[0] > NARROW * gap.size and strip[2] > best[2]:
                best = strip
        strips.append(best)
    return [s[2] for s in strips]


def measure(part: Segment) -> TextLine:
    """Baseline, ascent and descent of a line's letters."""
    letters, size = part.letters, part.size
    x = (letters[:, 0] + letters[:, 2]) / 2
    feet = letters[:, 3]
    slope = _slope(x, feet, size)
    # Once more without descenders, which may stand more on one side.
    rest = feet - slope * x
    near = np.abs(rest - quantile(rest)) < 0.2 * size
    slope = _slope(x[near], feet[near], size)
    rest = feet - slope * x
    # The upper of two middle feet: the other may hang below the baseline.
    base = float(np.sort(rest)[(len(rest) - 1) // 2])
    base = quantile(rest[np.abs(rest - base) < 0.3 * size])
    line = TextLine(
        left=float(part.left),
        right=float(part.right),
        y_left=base + slope * float(part.left),
        y_right=base + slope * float(part.right),
        ascent=0.0,
        descent=0.0,
        size=size,
    )
    mid = (part.chars[:, 0] + part.chars[:, 2]) / 2
    foot = base + slope * mid
    # Underlined letters are one piece and stand lower.
    lone = letters[:, 2] - letters[:, 0] < LONE * size
    heads = letters[lone, 1] - base - slope * x[lone]
    if bend := find_bend(x[lone], rest[lone] - base, heads, size):
        line = _bent(line, bend)
        foot = line.base(mid)
    ascent = float(np.max(foot - part.chars[:, 1]))
    descent = float(np.max(part.chars[:, 3] - foot))
    line.ascent = min(max(ascent, size), 2.6 * size)
    line.descent = min(max(descent, 0.0), 1.0 * size)
    return line


def _bent(line: TextLine, bend: Knots) -> TextLine:
    """A straight line with offsets (x, dy) from it, which are those of the line's letters."""
    x, off = np.transpose(bend)
    x[0], x[-1] = line.left, line.right
    return line.along(x, line.base(x) + off)


def _slope(x: np.ndarray, y: np.ndarray, size: float) -> float:
    """Slope of the baseline through the letters' feet (Theil-Sen); 0 for short lines."""
    if len(x) < 5 or np.ptp(x) < 8 * size:
        return 0.0
    if len(x) > 48:
        pick = np.linspace(0, len(x) - 1, 48).round().astype(int)
        x, y = x[pick], y[pick]
    i, j = _pairs(len(x))
    far = x[j] - x[i] > 0.3 * np.ptp(x)
    slope = float(np.median((y[j] - y[i])[far] / (x[j] - x[i])[far]))
    return slope if abs(slope) < 0.12 else 0.0


@functools.cache
def _pairs(count: int) -> tuple[np.ndarray, ...]:
    """Each two of so many things, at most 48."""
    return np.triu_indices(count, 1)


def _is_text(part: Segment, size: float) -> bool:
    """Geometry that a letter or a line of letters can have."""
    height, width = part.bottom - part.top, part.right - part.left
    if part.area < 0.06 * size * size or max(height, width) < 0.45 * size:
        return False
    if height < 0.4 * size:  # a dash or a dotted rule
        return False
    if len(part.chars) == 1 and part.area > 0.85 * height * width and width > 2.5 * height:
        return False
    return not (len(part.chars) == 1 and height > 6 * width)
