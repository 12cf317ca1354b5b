"""Lines of text drawn in fonts, then printed and scanned (paper.py): images and what they say."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .blanks import Blanks
from .fonts import Font, FontSet
from .glyphs import glyphs_of
from .paper import Paper
from .texts import Texts

# Lines are drawn at this size of font, in pixels, and scanned smaller.
_SIZE = 44
# Crops that hold no text, to be read as nothing.
_EMPTY = 0.06
# Shares of the lines: with parts of lines above or below, ruled, written thicker or thinner.
_NEIGHBOURS, _RULED, _STROKE = 0.3, 0.12, 0.12
# Widest gap that a tab becomes, in line heights: the recogniser cuts lines at wider ones.
_WIDEST_GAP = 2.0
# Of a line's height, with its margins, that a font's size is.
_LEADING = 1.25


class Rendered(NamedTuple):
    """A grey line, uint8 (h, w), its text, and where each of its characters is.

    `edges` (characters + 1,): x in pixels where each begins, and where the last one ends.
    """

    pixels: np.ndarray
    text: str
    edges: np.ndarray


@dataclass
class _Word:
    text: str
    x: float
    width: float


class LineRenderer:
    """Draws lines; all that is random comes from what `line` is given."""

    def __init__(self, fonts: FontSet, texts: Texts):
        self._fonts = fonts
        self._texts = texts
        self._paper = Paper()
        self._blanks = Blanks(self._paper)

    def line(self, rng: random.Random, aspect: float) -> Rendered:
        """A line 13 to 66 pixels high.

        It is about as wide as `aspect` line heights, or less where the text is short.
        """
        if rng.random() < _EMPTY:
            return Rendered(self._blanks.draw(rng, aspect), "", np.zeros(1))
        while True:
            text = self._texts.draw(rng)
            font = self._fonts.choose(rng, text.replace("\t", " "))
            text = _known(font, text)
            words = self._set(rng, font, text, aspect * _LEADING * _SIZE)
            if words:
                break
        ink, left = self._draw(rng, font, words)
        edges = left + _edges(font, words)
        pixels, edges = self._paper.scan(rng, ink, font.style, edges)
        return Rendered(pixels, " ".join(w.text for w in words), edges)

    def _set(self, rng: random.Random, font: Font, text: str, room: float) -> list[_Word]:
        """As many of the words as there is room for, each at its place; none if none fits."""
        glyphs = glyphs_of(font, _SIZE)
        space = glyphs[" "].advance or 0.27 * _SIZE
        space = max(0.16 * _SIZE, space * rng.uniform(0.8, 1.7))
        spread = rng.choice((0.0, 0.0, 0.12, 0.3))
        words: list[_Word] = []
        x = 0.0
        for i, cell in enumerate(text.split("\t")):
            for j, word in enumerate(cell.split()):
                gap = 0.0
                if words:
                    gap = space * rng.uniform(1 - spread, 1 + spread)
                    if i and not j:
                        gap = rng.uniform(0.7, _WIDEST_GAP) * _LEADING * _SIZE
                width = glyphs.length(word)
                if x + gap + width > room:
                    return words
                words.append(_Word(word, x + gap, width))
                x += gap + width
        return words

    def _draw(self, rng: random.Random, font: Font, words: list[_Word]) -> tuple[np.ndarray, float]:
        """The share of ink, uint8 (h, w): 255 where it is full; and the margin on the left."""
        glyphs = glyphs_of(font, _SIZE)
        ascent, descent = min(glyphs.ascent, 2 * _SIZE), min(glyphs.descent, _SIZE)
        left, right = (rng.uniform(0.05, 0.5) * _SIZE for _ in range(2))
        length = words[-1].x + words[-1].width
        if rng.random() < 0.5:  # cut as tight as the letters are, or as the font is
            above, below = glyphs.extent(w.text for w in words)
            ascent, descent = int(max(0.62 * _SIZE, above)), int(max(0.05 * _SIZE, below))
        top, bottom = (rng.uniform(0.0, 0.22) * _SIZE for _ in range(2))
        width, height = round(left + length + right), round(top + ascent + descent + bottom)
        ink = np.zeros((height, width), np.uint8)
        base = top + ascent
        wobble = rng.uniform(0, 0.04) * _SIZE if font.style != "print" else 0.0
        for word in words:
            y = base + rng.gauss(0, wobble)
            glyphs.draw(ink, word.text, left + word.x, y)
        if rng.random() < _NEIGHBOURS:
            self._neighbours(rng, ink, font, base)
        if rng.random() < _RULED:
            ink = _ruled(rng, ink, words, left, base)
        if rng.random() < _STROKE:
            change = cv2.dilate if rng.random() < 0.6 else cv2.erode
            ink = np.asarray(change(ink, np.ones((2, 2), np.uint8)))
        return ink, left

    def _neighbours(self, rng: random.Random, ink: np.ndarray, font: Font, base: float) -> None:
        """Feet of the line above and heads of the one below, at the edges."""
        glyphs = glyphs_of(font, _SIZE)
        ascent, descent = glyphs.ascent, glyphs.descent
        reach = rng.uniform(0.02, 0.25) * _SIZE
        above, below = reach - 0.3 * descent, len(ink) - reach + 0.8 * ascent
        lead = 0.95 * (ascent + descent)
        for y in (min(above, base - lead), max(below, base + lead)):
            if rng.random() < 0.65:
                text = _known(font, self._texts.draw(rng)).replace("\t", "  ")
                x = rng.uniform(-3, 1) * _SIZE
                glyphs.draw(ink, text, x, y)


def _known(font: Font, text: str) -> str:
    """The characters that the font has, and tabs."""
    if font.characters.issuperset(text):  # mostly, and far sooner told of all than of each
        return text
    return "".join(c for c in text if c == "\t" or c in font.characters)


def _edges(font: Font, words: list[_Word]) -> np.ndarray:
    """Where the characters begin and the last one ends, as the font spaces them."""
    glyphs = glyphs_of(font, _SIZE)
    edges: list[float] = []
    for word in words:
        # The space before a word begins where the word before it ends.
        edges += itertools.accumulate((glyphs[c].advance for c in word.text), initial=word.x)
    return np.array(edges)


def _ruled(
    rng: random.Random, ink: np.ndarray, words: list[_Word], left: float, base: float
) -> np.ndarray:
    """With an underline, a form's rule, perhaps through the text, a cell's border, or uprights in
    the gaps of a table."""
    height, width = ink.shape
    image = Image.fromarray(ink)
    draw = ImageDraw.Draw(image)
    grey, thick = rng.randint(140, 255), rng.randint(1, 3)
    kind = rng.randrange(5)
    if kind == 0:
        word = rng.choice(words)
        y = base + rng.uniform(0.05, 0.15) * _SIZE
        draw.line((left + word.x, y, left + word.x + word.width, y), grey, thick)
    elif kind == 1:
        y = base + rng.uniform(0.08, 0.3) * _SIZE
        draw.line((0, y, width, y), grey, thick)
    elif kind == 2:
        draw.line((0, height - 2, width, height - 2), grey, thick)
        draw.line((2, 0, 2, height), grey, thick)
    elif kind == 3:
        y, slope = base - rng.uniform(-0.3, 0.8) * _SIZE, rng.uniform(-0.1, 0.1) * _SIZE
        draw.line((0, y, width, y + slope), grey, thick)
    else:
        for a, b in itertools.pairwise(words):
            if b.x - a.x - a.width > 0.6 * _SIZE:
                x = left + (a.x + a.width + b.x) / 2
                draw.line((x, 0, x, height), grey, thick)
    return np.asarray(image)
