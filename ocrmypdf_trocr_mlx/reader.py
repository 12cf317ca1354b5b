"""Reading a page image: layout and recogniser put together; knows nothing of OCRmyPDF."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.assembly import blocks_of, line_of
from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE, is_doubtful, without_rules
from ocrmypdf_trocr_mlx.gray import to_gray
from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout, find_layout
from ocrmypdf_trocr_mlx.pipeline import WORKERS
from ocrmypdf_trocr_mlx.places import word_box, word_of
from ocrmypdf_trocr_mlx.recognizer import Reading
from ocrmypdf_trocr_mlx.recut import read_again
from ocrmypdf_trocr_mlx.result import Block, Box, Page, Word
from ocrmypdf_trocr_mlx.sideways import with_sideways
from ocrmypdf_trocr_mlx.spaced import together
from ocrmypdf_trocr_mlx.specks import remove_specks
from ocrmypdf_trocr_mlx.stains import without_stains
from ocrmypdf_trocr_mlx.upside_down import find_upside_down, half_turned

log = logging.getLogger(__name__)

# Pages are not so many times as wide as they are high.
_CUT_OUT = 2
# Feet and heads of letters of other lines, in the crop of a line, are shorter or lower rows.
_SECOND_ROW, _SECOND_SIZE = 0.6, 0.8
# What is read of other cuts of a line is no chance if it is so much surer, of what is left to be.
SURER = 0.3


class ReadsLines(Protocol):
    """What reads the lines of pages; see `recognizer.Recognizer`."""

    def submit_all(
        self, crops: Sequence[np.ndarray], *, characters: bool = False
    ) -> list[Future[Reading]]: ...


class PageReader:
    """Reads page images with one recogniser; may be used from many threads at once."""

    def __init__(
        self,
        recognizer: ReadsLines,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        characters: bool = False,
    ) -> None:
        """With `characters` words have the boxes of theirs.

        OpenCV is left one thread in this process: pages are read in threads of their own, and its
        threads wait for each other (sixteen took twice the processor time of one).
        """
        cv2.setNumThreads(1)
        self._recognizer = recognizer
        self._characters = characters
        self._min_confidence = min_confidence

    @property
    def at_once(self) -> int:
        """Pages that are worth being read at a time."""
        return WORKERS

    def read(self, image: Image.Image | np.ndarray) -> Page:
        """Read an upright page (a slight skew is found and undone), any size and mode."""
        gray = to_gray(image)
        height, width = gray.shape
        page = Page(width, height, self._blocks(_layout(gray)))
        remove_specks(list(page.words))
        return page

    def _blocks(self, layout: PageLayout) -> list[Block]:
        """Upright lines in reading order, then those that stand on their heads, then sideways."""
        sides = [(turned, part) for turned in layout.sideways for part in turned.parts]
        upright = layout.parts
        readings = self._readings([*upright, *(part for _, part in sides)])
        as_read = {id(part): reading for part, reading in zip(upright, readings, strict=False)}
        found = {id(part): self._words(part, as_read[id(part)], layout) for part in upright}
        sideways = [
            line_of([part.line], words, turned)
            for (turned, part), reading in zip(sides, readings, strict=True)
            if (words := self._words(part, reading, turned))
        ]
        heads = find_upside_down(layout, as_read, self._read)
        found |= {key: [] for key in heads}
        left = [part for part in upright if not found[id(part)] and id(part) not in heads]
        on_heads = [words for _, words in heads.values()]
        taken = [word.box for words in (*found.values(), *on_heads) for word in words]
        again = read_again(left, layout, self._read_surely, taken)
        blocks = blocks_of(layout, {id(p): [[(p, found[id(p)])]] for p in upright} | again)
        turned = half_turned(layout, [part for part, _ in heads.values()])
        blocks += blocks_of(turned, {id(part): [[(part, words)]] for part, words in heads.values()})
        return with_sideways(blocks, sideways)

    def _readings(self, parts: Sequence[LinePart]) -> Iterator[Reading]:
        """In order; if one failed or the caller gave up, the rest are not read."""
        crops = [part.crop for part in parts]
        return _results(self._recognizer.submit_all(crops, characters=self._characters))

    def _read(
        self, parts: Sequence[LinePart], layout: PageLayout, floor: float | None = None
    ) -> list[list[Word]]:
        """The words of parts of a layout; none of a part that is not to be trusted."""
        pairs = zip(parts, self._readings(parts), strict=True)
        return [self._words(part, reading, layout, floor) for part, reading in pairs]

    def _read_surely(self, parts: Sequence[LinePart], layout: PageLayout) -> list[list[Word]]:
        floor = self._min_confidence + SURER * (1 - self._min_confidence)
        return self._read(parts, layout, floor)

    def _words(
        self, part: LinePart, reading: Reading, layout: PageLayout, floor: float | None = None
    ) -> list[Word]:
        """Words of a line part on the page; none if the reading is not to be trusted."""
        letter = part.line.size * part.scale
        reading = together(without_stains(without_rules(reading), part.crop, letter), letter)
        floor = self._min_confidence if floor is None else floor
        if is_doubtful(reading, part.line.size, layout.letter_size, floor):
            log.debug("Left out, too unsure: %r", reading.text)
            return []

        def box(left: float, right: float, least: float) -> Box:
            return word_box(part, left, right, layout, least)

        return [word_of(word, box) for word in reading.words]


def is_line(image: Image.Image | np.ndarray) -> bool:
    """Is this a single line, cut out: wide and low, without a second row about as large?"""
    gray = to_gray(image)
    if gray.shape[0] * _CUT_OUT > gray.shape[1]:
        return False
    lines = [part.line for part in _layout(gray).parts]
    largest = max(lines, key=lambda line: line.width * line.size, default=None)
    return largest is None or not any(
        abs(line.middle - largest.middle) > 0.8 * largest.size
        and line.width > _SECOND_ROW * largest.width
        and line.size > _SECOND_SIZE * largest.size
        for line in lines
    )


def _layout(gray: np.ndarray) -> PageLayout:
    """The layout of a page, or of a few lines cut out of one, whose letters may touch the edges."""
    height, width = gray.shape
    if height * _CUT_OUT > width:
        return find_layout(gray)
    margin = height
    frame = np.concatenate((gray[0], gray[-1], gray[:, 0], gray[:, -1]))
    paper = float(np.median(frame))
    edges = (margin, margin, margin, margin)
    layout = find_layout(cv2.copyMakeBorder(gray, *edges, cv2.BORDER_CONSTANT, value=paper))
    for part in (layout, *layout.sideways):
        part.to_page = part.to_page - [[0, 0, margin], [0, 0, margin]]
    return layout


def _results(futures: list[Future[Reading]]) -> Iterator[Reading]:
    """Readings in order; if one failed or the caller gave up, the rest are not read."""
    try:
        for future in futures:
            yield future.result()
    finally:
        for future in futures:
            future.cancel()
