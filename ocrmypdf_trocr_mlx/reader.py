"""Reading a page image: layout and recogniser put together; knows nothing of OCRmyPDF."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import cv2
import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE, is_doubtful, without_rules
from ocrmypdf_trocr_mlx.initials import with_initials
from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout, find_layout
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.levels import percentiles
from ocrmypdf_trocr_mlx.recognizer import Reading, ReadWord, Recognizer
from ocrmypdf_trocr_mlx.recut import cuts
from ocrmypdf_trocr_mlx.result import Block, Box, Character, Line, Page, Paragraph, Word
from ocrmypdf_trocr_mlx.sideways import covered, with_sideways
from ocrmypdf_trocr_mlx.spaced import together
from ocrmypdf_trocr_mlx.specks import without_specks
from ocrmypdf_trocr_mlx.stains import without_stains
from ocrmypdf_trocr_mlx.upside_down import find_upside_down, half_turned

log = logging.getLogger(__name__)

# Pages are not so many times as wide as they are high.
_CUT_OUT = 2
# Feet and heads of letters of other lines, in the crop of a line, are shorter or lower rows.
_SECOND_ROW, _SECOND_SIZE = 0.6, 0.8
# A rule has ink in so many of a word's columns; no letter below the baseline has.
_RULE_COVER = 0.9
# What is doubtful is cut otherwise if it is so wide and its letters are so high, in letter sizes;
# so many at most, and of what is read then, so many characters are no chance if they are surer.
WORD, LETTER, MOST_AGAIN, LEAST_AGAIN, SURER = 2.0, 0.6, 32, 3, 0.3
# Ink lower than such a share of its line is specks; a single character may be a dot or a dash.
LEAST_WORD, LEAST_MARK = 0.15, 0.03

Row = list[tuple[LinePart, list[Word]]]


class PageReader:
    """Reads page images with one recogniser; may be used from many threads at once."""

    def __init__(
        self,
        recognizer: Recognizer,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        characters: bool = False,
    ) -> None:
        """With `characters` words have the boxes of theirs.

        OpenCV is left one thread in this process: pages are read in threads of their own, and its
        threads wait for each other (sixteen took twice the processor time of one).
        """
        cv2.setNumThreads(1)
        submit = recognizer.submit
        self._submit = functools.partial(submit, characters=True) if characters else submit
        self._min_confidence = min_confidence

    def read(self, image: Image.Image | np.ndarray) -> Page:
        """Read an upright page (a slight skew is found and undone), any size and mode."""
        gray = to_gray(image)
        layout = _layout(gray)
        upright = layout.parts
        sides = [(turned, part) for turned in layout.sideways for part in turned.parts]
        crops = [part.crop for part in (*upright, *(part for _, part in sides))]
        readings = _results([self._submit(crop) for crop in crops])
        as_read = {id(part): reading for part, reading in zip(upright, readings, strict=False)}
        found = {id(part): self._words(part, as_read[id(part)], layout) for part in upright}
        sideways = [
            _line([part.line], words, turned)
            for (turned, part), reading in zip(sides, readings, strict=True)
            if (words := self._words(part, reading, turned))
        ]
        heads = find_upside_down(layout, as_read, self._read)
        found |= {key: [] for key in heads}
        left = [part for part in upright if not found[id(part)] and id(part) not in heads]
        again = self._again(left, layout)
        on_heads = [words for _, words in heads.values()]
        read = [word.box for words in (*found.values(), *on_heads) for word in words]
        again = {key: _without_copies(rows, read) for key, rows in again.items()}
        blocks = _blocks(
            layout, {id(part): [[(part, found[id(part)])]] for part in upright} | again
        )
        turned = half_turned(layout, [part for part, _ in heads.values()])
        blocks += _blocks(turned, {id(part): [[(part, words)]] for part, words in heads.values()})
        height, width = gray.shape
        page = Page(width, height, with_sideways(blocks, sideways))
        words_read = [word for line in page.lines for word in line.words]
        for word, text in zip(words_read, without_specks(words_read), strict=True):
            word.text = text
            for character, c in zip(word.characters, text, strict=False):
                character.text = c
        return page

    def _read(self, parts: Sequence[LinePart], layout: PageLayout) -> list[list[Word]]:
        """The words of parts of a layout; none of a part that is not to be trusted."""
        readings = _results([self._submit(part.crop) for part in parts])
        return [self._words(p, reading, layout) for p, reading in zip(parts, readings, strict=True)]

    def _again(self, parts: list[LinePart], layout: PageLayout) -> dict[int, list[Row]]:
        """Rows of what is read surely of other cuts of parts that were not, by their ids."""
        floor = self._min_confidence + SURER * (1 - self._min_confidence)
        ways = [(part, cut) for part in _worth_a_cut(parts, layout) for cut in cuts(part) if cut]
        crops = [piece.crop for _, cut in ways for piece in cut]
        readings = _results([self._submit(crop) for crop in crops])
        best: dict[int, list[Row]] = {}
        most: dict[int, int] = {}
        for part, cut in ways:
            row = [
                (piece, words)
                for piece, reading in zip(cut, readings, strict=False)
                if len(reading.text) >= LEAST_AGAIN
                and (words := self._words(piece, reading, layout, floor))
            ]
            length = sum(len(word.text) for _, words in row for word in words)
            if length > most.get(id(part), 0):
                most[id(part)] = length
                above = len(row) > 1 and row[0][0].line.bottom < row[1][0].line.middle
                best[id(part)] = [[piece] for piece in row] if above else [row]
        return best

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
            return _word_box(part, left, right, layout, least)

        return [word_of(word, box) for word in reading.words]


def word_of(read: ReadWord, box: Callable[[float, float, float], Box]) -> Word:
    """A word on the page; `box` tells where its ink in columns [left, right) is.

    `box` is told, too, how high ink of the line is at least, as a share of the line's height.
    """
    characters = (
        Character(c.text, box(c.left, c.right, LEAST_MARK), c.confidence) for c in read.characters
    )
    whole = box(read.left, read.right, LEAST_WORD)
    return Word(read.text, whole, read.confidence, tuple(characters))


def _blocks(layout: PageLayout, found: dict[int, list[Row]]) -> list[Block]:
    """The page's lines of the words `found` in each part, by its id: a row, and rows below it."""
    blocks = []
    for block in layout.blocks:
        paragraphs = []
        for paragraph in block:
            lines = []
            for parts in paragraph:
                rows = [found[id(part)] for part in parts]
                lines += _lines([piece for first, *_ in rows for piece in first], layout)
                for below in (row for _, *more in rows for row in more):
                    lines += _lines(below, layout)
            if lines:
                paragraphs.append(Paragraph(lines))
        if paragraphs:
            blocks.append(Block(paragraphs))
    return blocks


def _without_copies(rows: list[Row], read: list[Box]) -> list[Row]:
    """The rows less pieces, some of whose words lie where others were `read`."""
    return [
        [
            (piece, words)
            for piece, words in row
            if not any(covered(word.box, box) for word in words for box in read)
        ]
        for row in rows
    ]


def _worth_a_cut(parts: list[LinePart], layout: PageLayout) -> list[LinePart]:
    """Those of some parts in which a few letters may be, the largest, if they are many."""
    size = layout.letter_size
    able = [p for p in parts if p.line.width > WORD * size and p.line.size > LETTER * size]
    return sorted(able, key=lambda part: part.line.width, reverse=True)[:MOST_AGAIN]


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


def _word_box(part: LinePart, left: float, right: float, layout: PageLayout, least: float) -> Box:
    """The box of the ink at columns [left, right) of the crop, on the page."""
    line, k = part.line, part.scale
    x0, x1 = line.left - part.margin + left / k, line.left - part.margin + right / k
    middle = (x0 + x1) / 2
    feet = line.base(np.array([x0, middle, x1] if line.bend else [middle]))
    above, below = _ink_rows(part, int(left), int(np.ceil(right)), least)
    top, bottom = feet.min() - above, feet.max() + below
    corners = np.array([[x, y, 1.0] for x in (x0, x1) for y in (top, bottom)])
    points = corners @ layout.to_page.T
    (px0, py0), (px1, py1) = points.min(0), points.max(0)
    return Box(float(px0), float(py0), float(px1), float(py1))


def _ink_rows(
    part: LinePart, left: int, right: int, least: float = LEAST_WORD
) -> tuple[float, float]:
    """How far the ink in some columns of a crop goes above and below the baseline.

    Looked for within the line's own ascent and descent, where no other line's ink is; a rule under
    the words is none of it.
    """
    line, k = part.line, part.scale
    height = part.crop.shape[0]
    total = line.ascent + line.descent
    base = part.baseline_row
    top, bottom = base - line.ascent * k, base + line.descent * k
    columns = part.crop[max(0, int(top)) : min(height, int(np.ceil(bottom)) + 1), left:right]
    if not columns.size:
        return line.ascent, line.descent
    dark, light = percentiles(columns, (3, 90)).tolist()
    first = max(0, int(top))
    ink = columns < (dark + light) / 2
    rows = _without_rule(np.flatnonzero(ink.any(axis=1)), ink.mean(axis=1), base - first)
    if light - dark < 20 or not len(rows):
        return line.ascent, line.descent
    above = (base - (first + rows[0])) / k
    below = (first + rows[-1] + 1 - base) / k
    if above + below < least * total:
        return line.ascent, line.descent
    return above, below


def _without_rule(rows: np.ndarray, cover: np.ndarray, base: float) -> np.ndarray:
    """`rows` with ink, less those of a rule below the baseline, right across the columns.

    `cover` is the share of ink of each row.  Underscores, which have nothing above them, stay.
    """
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    *above, last = np.split(rows, breaks)
    if above and last[0] > base and cover[last].max() > _RULE_COVER:
        return np.concatenate(above)
    return rows


def _lines(row: Row, layout: PageLayout) -> list[Line]:
    """The parts of a row that have words as one line, or as several where their sizes differ."""
    groups: list[Row] = []
    for part, words in with_initials(row):
        if not words:
            continue
        if groups:
            size = groups[-1][-1][0].line.size
            if max(size, part.line.size) < 1.6 * min(size, part.line.size):
                groups[-1].append((part, words))
                continue
        groups.append([(part, words)])
    return [_line([p.line for p, _ in g], [w for _, ws in g for w in ws], layout) for g in groups]


def _line(parts: list[TextLine], words: list[Word], layout: PageLayout) -> Line:
    points = [point for part in parts for point in part.ends]
    if not any(part.bend for part in parts):
        points = [points[0], points[-1]]
    on_page = np.array([[x, y, 1.0] for x, y in points]) @ layout.to_page.T
    return Line(
        words=words,
        baseline=tuple((x, y) for x, y in on_page.tolist()),
        ascent=max(p.ascent for p in parts),
        descent=max(p.descent for p in parts),
    )


def to_gray(image: Image.Image | np.ndarray) -> np.ndarray:
    """uint8 (H, W) of an image of any mode; transparent parts are paper."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(f"an image array must be uint8, not {image.dtype}")
        if image.ndim == 3 and image.shape[2] == 4:
            image = Image.fromarray(image)
        elif image.ndim == 3 and image.shape[2] == 3:
            return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        elif image.ndim == 2:
            return image
        else:
            raise ValueError(
                f"an image array must be (H, W), (H, W, 3) or (H, W, 4), not {image.shape}"
            )
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, np.float32)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        return (values * (255.0 / top)).clip(0, 255).astype(np.uint8)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.asarray(image.convert("L"))
