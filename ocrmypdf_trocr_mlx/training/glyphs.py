"""Letters of fonts drawn once, kept, and put side by side.

Having FreeType draw every word anew takes longer than all else that makes a line.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .fonts import Font


class Glyph(NamedTuple):
    """A character's share of ink, uint8 (h, w): where it is from the pen's place on the baseline,
    and how far the pen goes on; all in pixels."""

    mask: np.ndarray
    left: int
    top: int
    advance: float


class Glyphs(dict[str, Glyph]):
    """The characters of a font at a size, each drawn when it is first asked for.

    They stand as Pillow's basic layout sets them, but for a kerning of which that applies a 64th.
    """

    def __init__(self, font: Font, size: int):
        super().__init__()
        self._font = font
        self._size = size
        self.ascent, self.descent = font.at(size).getmetrics()

    def __missing__(self, character: str) -> Glyph:
        face = self._font.at(self._size)
        image, (left, top) = face.getmask2(character, "L", anchor="ls")
        width, height = image.size
        mask = np.array(image, np.uint8).reshape(height, width)
        glyph = self[character] = Glyph(mask, left, top, face.getlength(character))
        return glyph

    def length(self, text: str) -> float:
        """How far the pen goes."""
        return sum(self[c].advance for c in text)

    def extent(self, texts: Iterable[str]) -> tuple[int, int]:
        """How far the ink of any of them reaches above and below the baseline."""
        glyphs = [self[c] for text in texts for c in text]
        return -min(g.top for g in glyphs), max(g.top + len(g.mask) for g in glyphs)

    def draw(self, ink: np.ndarray, text: str, x: float, y: float) -> None:
        """Adds what of the text is within the ink, uint8 (h, w); it begins at x, its line is y."""
        height, width = ink.shape
        base = math.floor(y + 0.5)
        for character in text:
            mask, left, top, advance = self[character]
            left, top = left + math.floor(x + 0.5), top + base
            if left >= width:
                return
            x += advance
            rows, columns = mask.shape
            a, b = max(0, left), min(width, left + columns)
            c, d = max(0, top), min(height, top + rows)
            if a < b and c < d:
                part = ink[c:d, a:b]
                np.maximum(part, mask[c - top : d - top, a - left : b - left], out=part)


@functools.lru_cache(maxsize=1024)
def glyphs_of(font: Font, size: int) -> Glyphs:
    """Those of a font, the same each time: about 100 kB for a language's letters at 44 pixels."""
    return Glyphs(font, size)
