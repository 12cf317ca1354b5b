"""New lines from the words of lines: some of a long one, or words of a page side by side.

A hand of which there are few lines is seen in many more orders, and lines that are too long for
a model can be learned from after all.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .dataset import Sample


class Place(NamedTuple):
    """A word of a line and where it is: left and right in pixels of the line's image."""

    text: str
    left: float
    right: float


# Share of the lines that are put together from words of several.
_TOGETHER = 0.3
# In line heights: paper left beside the words cut out, and added between those put together.
_MARGIN, _OWN_MARGIN, _GAP = 0.25, 0.12, 0.3
# Words of a page with fewer lines than this are put together with those of all its source.
_FEWEST = 4
_MOST_PARTS = 12
# Paper is taken to be as light as this percentile, and never as dark as the least.
_PAPER, _LEAST_PAPER = 90, 40


class Regrouper:
    """Lines made of the words of `samples`, of which `places` are known, left to right."""

    def __init__(self, samples: Sequence[Sample], places: Sequence[Sequence[Place]], height: int):
        """`height`: of the lines put together, in pixels."""
        self._samples = list(samples)
        self._places = [list(p) for p in places]
        self._height = height
        pages, sources = collections.defaultdict(list), collections.defaultdict(list)
        for i, sample in enumerate(self._samples):
            pages[sample.source, sample.page].append(i)
            sources[sample.source].append(i)
        self._mates = {
            key: members if len(members) >= _FEWEST else sources[key[0]]
            for key, members in pages.items()
        }

    def __len__(self) -> int:
        """Lines whose words are known."""
        return len(self._samples)

    def line(self, rng: random.Random, aspect: float) -> tuple[np.ndarray, str]:
        """A grey line, uint8 (h, w), and its text; not wider than `aspect` heights, if its first
        word is not."""
        make = self.together if rng.random() < _TOGETHER else self.span
        return make(rng, rng.randrange(len(self)), aspect)

    def span(self, rng: random.Random, index: int, aspect: float) -> tuple[np.ndarray, str]:
        """Words of one line in a row, as many as fit, from any of them on."""
        sample, places = self._samples[index], self._places[index]
        room = (aspect - 2 * _MARGIN) * sample.height
        first = rng.randrange(len(places))
        last = first
        while last + 1 < len(places) and places[last + 1].right - places[first].left <= room:
            last += 1
        while first and places[last].right - places[first - 1].left <= room:
            first -= 1
        return self._cut_out(index, first, last, rng.uniform(0, _MARGIN))

    def together(self, rng: random.Random, index: int, aspect: float) -> tuple[np.ndarray, str]:
        """One to three words at a time, from lines of the page of `index`; of its light, too."""
        sample = self._samples[index]
        mates = self._mates[sample.source, sample.page]
        parts: list[np.ndarray] = []
        words: list[str] = []
        light, room = 0.0, aspect * self._height
        for _ in range(_MOST_PARTS):
            part, text = self._some(rng, rng.choice(mates))
            paper = max(_LEAST_PAPER, float(np.percentile(part, _PAPER)))
            light = light or paper
            part = (part * (light / paper)).clip(0, 255).astype(np.uint8)
            gap = round(rng.uniform(0, _GAP) * self._height) if parts else 0
            if parts and part.shape[1] + gap > room:
                break
            if gap:
                edge = (parts[-1][:, -1:] + np.float32(light)) / 2
                parts.append(np.repeat(edge.astype(np.uint8), gap, axis=1))
            parts.append(part)
            words.append(text)
            room -= gap + part.shape[1]
        return np.concatenate(parts, axis=1), " ".join(words)

    def _some(self, rng: random.Random, index: int) -> tuple[np.ndarray, str]:
        """Up to three words of a line, as high as lines put together are."""
        places = self._places[index]
        first = rng.randrange(len(places))
        last = min(len(places), first + rng.choice((1, 1, 2, 3))) - 1
        pixels, text = self._cut_out(index, first, last, _OWN_MARGIN)
        width = max(1, round(pixels.shape[1] * self._height / pixels.shape[0]))
        how = cv2.INTER_AREA if pixels.shape[0] > self._height else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(pixels, (width, self._height), interpolation=how)), text

    def _cut_out(self, index: int, first: int, last: int, margin: float) -> tuple[np.ndarray, str]:
        """Words first..last, with paper beside them up to half-way to the next word."""
        sample, places = self._samples[index], self._places[index]
        margin *= sample.height
        left, right = places[first].left, places[last].right
        before = (left - places[first - 1].right) / 2 if first else margin
        after = (places[last + 1].left - right) / 2 if last + 1 < len(places) else margin
        a = max(0, round(left - min(margin, before)))
        b = max(a + 1, round(right + min(margin, after)))
        return sample.pixels[:, a:b], " ".join(p.text for p in places[first : last + 1])
