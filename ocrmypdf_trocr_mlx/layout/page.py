"""The layout of one page: everything from grey levels to line crops in reading order."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from .clutter import Mask, level_at, odd
from .cut_out import LinePart, cut_out
from .edges import without_cut_off
from .fills import on_grounds
from .initials import lines_and_initials
from .ink import Ink, find_ink
from .lean import find_lean
from .lines import TextLine, find_text_lines
from .order import reading_order
from .scale import Scale, find_scale, resize
from .segments import Segment, find_segments
from .sideways import find_sideways
from .skew import find_skew
from .surface import Surface, find_surface

# Below this angle lines are as level as their own slopes; turning would only blur.
LEVEL = 0.15
# A bent page is turned once more if its lines' mean or its columns' edges tell of more than this.
TILTED = 0.3


@dataclass
class PageLayout:
    """Blocks > paragraphs > rows > line parts in reading order.

    `letter_size`: height in pixels of most letters; `skew`: degrees by which the page was turned
    counter-clockwise to be upright; `to_page`: float (2, 3), maps points of the upright page to
    the page image.  `sideways`: what may be lines that run up or down the page, as layouts of
    the page turned by a quarter; the same line may be in two of them.
    """

    blocks: list[list[list[list[LinePart]]]] = field(default_factory=list)
    letter_size: float = 0.0
    skew: float = 0.0
    to_page: np.ndarray = field(default_factory=lambda: np.eye(2, 3))
    sideways: list[PageLayout] = field(default_factory=list)

    @property
    def parts(self) -> list[LinePart]:
        """All line parts in reading order."""
        return [
            part
            for block in self.blocks
            for paragraph in block
            for row in paragraph
            for part in row
        ]


@dataclass
class Sheet:
    """A page made upright, dark on light: uint8 (H, W), as large as the page.

    Reduced or enlarged by `scale`, its letters are about `size` pixels high.  It was turned by
    `skew` degrees counter-clockwise; `turn`: float (2, 3), maps points of the page image to it.
    """

    gray: np.ndarray
    scale: float
    size: float
    skew: float
    turn: np.ndarray

    def ink(self) -> Ink:
        """The ink at working scale."""
        return find_ink(resize(self.gray, self.scale), self.size, max(1.0, self.scale))


@dataclass
class Sight:
    """What is seen on a page before its lines are: the upright sheet, at working scale its ink and
    the runs of letters, and how they run.
    """

    sheet: Sheet
    ink: Ink
    segments: list[Segment]
    surface: Surface

    def lines(self) -> list[TextLine]:
        """The text lines, as on the flat page, at working scale."""
        return self.lines_of(self.ink.mask)

    def lines_and_initials(self) -> tuple[list[TextLine], dict[int, TextLine]]:
        """The lines, and the initials of some by the ids of these; of bent pages no initials."""
        if self.surface.is_flat:
            return lines_and_initials(self.ink, self.sheet.size, self.lines_of)
        return self.lines(), {}

    def lines_of(self, mask: Mask) -> list[TextLine]:
        """The text lines of a mask of some of the ink."""
        size, ink, surface = self.sheet.size, self.ink, self.surface
        if surface.is_flat:
            segments = self.segments if mask is ink.mask else find_segments(mask, size)
            return find_text_lines(on_grounds(segments, ink.dark, size), ink.rules, size)
        segments = find_segments(mask, size, surface.flattened)
        segments = on_grounds(segments, surface.flattened_mask(ink.dark), size)
        return find_text_lines(segments, surface.flattened_mask(ink.rules), size)

    def turn(self) -> float:
        """Degrees counter-clockwise by which a bent page should be turned once more, else 0.

        Its skew was found where its lines are straight.  The edges of columns tell more; without
        any, lines are level in the mean if that means to turn the page less.
        """
        if self.surface.is_flat:
            return 0.0
        lines = [self.surface.bent_line(line) for line in self.lines()]
        lean = find_lean(lines, self.sheet.size)
        if lean is not None:
            return lean
        tilt, skew = self.surface.tilt, self.sheet.skew
        return tilt if abs(skew + tilt) < abs(skew) else 0.0


def look(gray: np.ndarray) -> Sight | None:
    """See a page image, uint8 (H, W), of any resolution and polarity; None if it has no letters."""
    if min(gray.shape) < 8:
        return None
    gray = _dark_on_light(np.ascontiguousarray(gray))
    found = find_scale(gray)
    if found.size == 0:
        return None
    skew = find_skew(found.mask, found.mask_size)
    sight = _seen(_level(gray, found, skew))
    if abs(more := sight.turn()) > TILTED:
        sight = _seen(_level(gray, found, skew + more))
    return sight


def _seen(sheet: Sheet) -> Sight:
    ink = sheet.ink()
    segments = find_segments(ink.mask, sheet.size)
    return Sight(sheet, ink, segments, find_surface(segments, ink.mask.shape, sheet.size))


def _level(gray: np.ndarray, found: Scale, skew: float) -> Sheet:
    """The page image, dark on light, turned by `skew` degrees counter-clockwise."""
    if abs(skew) <= LEVEL:
        return Sheet(gray, found.scale, found.size, 0.0, np.eye(2, 3))
    turned, turn = _turned(gray, skew)
    return Sheet(turned, found.scale, found.size, skew, turn)


def find_layout(gray: np.ndarray, crop_height: int = 48) -> PageLayout:
    """Find the text lines of a page image, uint8 (H, W), of any resolution and polarity.

    Crops are as large as the page gives, but no higher than twice `crop_height`, what the
    recogniser will reduce them to.
    """
    sight = look(gray)
    if sight is None:
        return PageLayout()
    sheet, ink, surface = sight.sheet, sight.ink, sight.surface
    gray, scale, size, skew = sheet.gray, sheet.scale, sheet.size, sheet.skew
    # Where the page is bent, its lines are found and ordered as on the flat page.
    lines, initials = sight.lines_and_initials()
    to_page = cv2.invertAffineTransform(sheet.turn)
    lines = without_cut_off(lines, to_page * [1 / scale, 1 / scale, 1], gray.shape[1])

    paper = np.zeros_like(ink.dark)  # bold strokes of an initial may be taken for a fill

    def cut(row: list[TextLine]) -> list[LinePart]:
        parts = []
        for t in row:
            if initial := initials.get(id(t)):
                parts.append(cut_out(gray, paper, initial, scale, crop_height))
                parts[-1].is_initial = True
            parts.append(cut_out(gray, ink.dark, surface.bent_line(t), scale, crop_height))
        return parts

    blocks = [
        [[cut(row) for row in paragraph] for paragraph in block] for block in reading_order(lines)
    ]
    layout = PageLayout(blocks, size / scale, skew, to_page)
    upright = list(map(surface.bent_line, lines))
    up, down = find_sideways(ink.mask, ink.rules, upright, size)
    height, width = gray.shape
    for turned, rotation, back in (
        (up, cv2.ROTATE_90_CLOCKWISE, [[0, 1, 0], [-1, 0, height], [0, 0, 1]]),
        (down, cv2.ROTATE_90_COUNTERCLOCKWISE, [[0, -1, width], [1, 0, 0], [0, 0, 1]]),
    ):
        if turned:
            image, dark = cv2.rotate(gray, rotation), cv2.rotate(ink.dark, rotation)
            cuts = [cut_out(image, dark, line, scale, crop_height) for line in turned]
            to_page = layout.to_page @ np.array(back, float)
            layout.sideways.append(PageLayout([[[[c]] for c in cuts]], size / scale, skew, to_page))
    return layout


def find_page_skew(gray: np.ndarray) -> float:
    """Degrees by which a page, uint8 (H, W), must turn counter-clockwise to be upright."""
    if min(gray.shape) < 8:
        return 0.0
    gray = _dark_on_light(np.ascontiguousarray(gray))
    found = find_scale(gray)
    return find_skew(found.mask, found.mask_size)


def _dark_on_light(gray: np.ndarray) -> np.ndarray:
    """The page itself, or its negative where it shows light strokes on a dark ground.

    A sheet of paper on a dark ground is light in large areas, not in strokes.
    """
    step = max(1, min(gray.shape) // 1000)
    sample = np.ascontiguousarray(gray[::step, ::step])
    ground, light = level_at(sample, 0.5), level_at(sample, 0.997)
    if ground >= 100 or light < 1.3 * ground + 30:
        return gray
    bright = cv2.compare(sample, (ground + light) / 2, cv2.CMP_GT)
    sheet = cv2.erode(bright, np.ones((odd(min(sample.shape) / 30),) * 2, np.uint8))
    return gray if cv2.countNonZero(sheet) > 0.02 * sample.size else 255 - gray


def _turned(image: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """`image` turned by `angle` degrees counter-clockwise, paper at the edges, and the matrix."""
    h, w = image.shape
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1.0)
    paper = int(np.percentile(image[:: max(1, h // 500), :: max(1, w // 500)], 80))
    turned = cv2.warpAffine(image, matrix, (w, h), flags=cv2.INTER_LINEAR, borderValue=paper)
    return turned, matrix
