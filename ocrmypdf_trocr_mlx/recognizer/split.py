"""Cutting a line that is too long for the recogniser, at gaps between words.

Squeezing a long line into the model's image costs many times the errors that a cut costs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from .ink import InkProfile

# Costs of a cut, in pieces: one through letters is worth several pieces more.
_LETTER_GAP_COST = 3.0
_INK_COST = 6.0
# A gap of this many line heights is as good as any wider one.
_AMPLE_GAP = 0.4
# A wider gap than this is left out: over long blanks the recogniser invents text.
_WIDE_GAP = 2.0
# What is left of it on either side.
_MARGIN = 0.3


@dataclass(frozen=True)
class Piece:
    """Columns [left, right) of a line's profile; `after_gap`: a word gap parts it from the last."""

    left: int
    right: int
    after_gap: bool = True


@dataclass(frozen=True)
class _Cut:
    x: int
    cost: float
    at_gap: bool


def split_line(profile: InkProfile, max_aspect: float) -> list[Piece]:
    """Pieces of about equal width, none wider than `max_aspect` line heights; none if blank.

    Cut at very wide gaps, which are left out, then at wide ones; where words leave none,
    between letters or through the least ink.
    """
    limit = max(2, math.floor(max_aspect * profile.height))
    pieces = []
    for left, right in _segments(profile):
        if right - left <= limit:
            pieces.append(Piece(left, right))
            continue
        cuts = [
            _Cut(0, 0.0, True),
            *_possible_cuts(profile[left:right]),
            _Cut(right - left, 0.0, True),
        ]
        for a, b in itertools.pairwise(_cheapest(cuts, limit)):
            pieces.append(Piece(left + a.x, left + b.x, a.at_gap))
    return pieces


def _segments(profile: InkProfile) -> list[tuple[int, int]]:
    """Where there is ink without very wide gaps in it, with a margin of paper."""
    inked = np.flatnonzero(profile.columns)
    if not len(inked):
        return []
    margin = round(_MARGIN * profile.height)
    ends = np.flatnonzero(np.diff(inked) > _WIDE_GAP * profile.height)
    starts = [inked[0], *inked[ends + 1]]
    return [
        (max(0, int(a) - margin), min(len(profile.columns), int(b) + 1 + margin))
        for a, b in zip(starts, [*inked[ends], inked[-1]], strict=True)
    ]


def _possible_cuts(profile: InkProfile) -> list[_Cut]:
    """Every gap, and the column with the least ink of each quarter of a line height."""
    height, columns = profile.height, profile.columns
    gaps = [(a, b) for a, b in profile.free_runs() if a > 0 and b < len(columns)]
    word_gap = _least_word_gap([b - a for a, b in gaps], height)
    cuts = {}
    step = max(1, height // 4)
    quarters = columns[step : (len(columns) - 1) // step * step].reshape(-1, step)
    least = np.arange(1, len(quarters) + 1) * step + quarters.argmin(axis=1)
    costs = _INK_COST * (1 + columns[least])
    for x, cost in zip(least.tolist(), costs.tolist(), strict=True):
        cuts[x] = _Cut(x, cost, False)
    for a, b in gaps:
        x, narrow = (a + b) // 2, max(0.0, 1 - (b - a) / (_AMPLE_GAP * height))
        at_gap = b - a >= word_gap
        cuts[x] = _Cut(x, narrow if at_gap else _LETTER_GAP_COST + narrow, at_gap)
    return [cuts[x] for x in sorted(cuts)]


def _least_word_gap(widths: list[int], height: int) -> float:
    """From which width a gap parts words: about one gap in five does, the wide ones."""
    wide = float(np.percentile(widths, 90)) if widths else 0.0
    return min(max(0.6 * wide, 0.12 * height), 0.25 * height)


def _cheapest(cuts: list[_Cut], limit: int) -> list[_Cut]:
    """The cuts, first and last included, of the least cost with no piece wider than `limit`.

    A piece costs 1 and the square of its share of the limit: few pieces, then equal ones.
    """
    x = np.array([cut.x for cut in cuts])
    shares = ((x[:, None] - x) / limit) ** 2
    # Of the pieces up to each cut, with the piece that begins there.
    total = np.ones(len(cuts))
    previous = np.zeros(len(cuts), int)
    for i, first in enumerate(np.searchsorted(x, x - limit).tolist()[1:], 1):
        costs = total[first:i] + shares[i, first:i]
        best = int(costs.argmin())
        previous[i] = first + best
        total[i] = costs[best] + cuts[i].cost + 1
    chosen = [len(cuts) - 1]
    while chosen[-1]:
        chosen.append(int(previous[chosen[-1]]))
    return [cuts[i] for i in reversed(chosen)]
