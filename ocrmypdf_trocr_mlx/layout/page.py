"""The layout of one page: everything from grey levels to line crops in reading order."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from .clutter import level_at, odd
from .edges import without_cut_off
from .fills import on_grounds
from .initials import lines_and_initials
from .ink import Ink, find_ink
from .lines import TextLine, find_text_lines
from .order import reading_order
from .scale import find_scale, resize
from .segments import find_segments
from .sideways import find_sideways
from .skew import find_skew

# Below this angle lines are as level as their own slopes; turning would only blur.
LEVEL = 0.15


@dataclass
class LinePart:
    """A text line (or its part in one cell) with the picture of it to be read.

    `line`: geometry on the upright page, in pixels of the page image.  `crop`: uint8 (h, w),
    dark on light, its columns running along the baseline from `line.left - margin`, at
    `1 / scale` page pixels a column; the baseline is at `baseline_row`.  `is_initial`: it is the
    first letter of the part that follows.
    """

    line: TextLine
    crop: np.ndarray
    margin: float
    scale: float
    baseline_row: float
    is_initial: bool = False


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


def level_sheet(gray: np.ndarray) -> Sheet | None:
    """The page image, uint8 (H, W), of any polarity, made upright; None where it has no letters."""
    if min(gray.shape) < 8:
        return None
    gray = _dark_on_light(np.ascontiguousarray(gray))
    found = find_scale(gray)
    if found.size == 0:
        return None
    skew = find_skew(found.mask, found.mask_size)
    if abs(skew) <= LEVEL:
        return Sheet(gray, found.scale, found.size, 0.0, np.eye(2, 3))
    turned, turn = _turned(gray, skew)
    return Sheet(turned, found.scale, found.size, skew, turn)


def find_layout(gray: np.ndarray, crop_height: int = 48) -> PageLayout:
    """Find the text lines of a page image, uint8 (H, W), of any resolution and polarity.

    Crops are as large as the page gives, but no higher than twice `crop_height`, what the
    recogniser will reduce them to.
    """
    sheet = level_sheet(gray)
    if sheet is None:
        return PageLayout()
    gray, scale, size, skew = sheet.gray, sheet.scale, sheet.size, sheet.skew
    ink = sheet.ink()

    def lines_of(mask: np.ndarray) -> list[TextLine]:
        segments = on_grounds(find_segments(mask, size), ink.dark, size)
        return find_text_lines(segments, ink.rules, size)

    lines, initials = lines_and_initials(ink, size, lines_of)
    to_page = cv2.invertAffineTransform(sheet.turn)
    at_scale = to_page * [1 / scale, 1 / scale, 1]
    lines = without_cut_off(lines, at_scale, gray.shape[1])

    paper = np.zeros_like(ink.dark)  # bold strokes of an initial may be taken for a fill

    def cut(row: list[TextLine]) -> list[LinePart]:
        parts = []
        for t in row:
            if initial := initials.get(id(t)):
                parts.append(_cut_out(gray, paper, initial, scale, crop_height))
                parts[-1].is_initial = True
            parts.append(_cut_out(gray, ink.dark, t, scale, crop_height))
        return parts

    blocks = [
        [[cut(row) for row in paragraph] for paragraph in block] for block in reading_order(lines)
    ]
    layout = PageLayout(blocks, size / scale, skew, to_page)
    up, down = find_sideways(ink.mask, ink.rules, lines, size)
    height, width = gray.shape
    for turned, rotation, back in (
        (up, cv2.ROTATE_90_CLOCKWISE, [[0, 1, 0], [-1, 0, height], [0, 0, 1]]),
        (down, cv2.ROTATE_90_COUNTERCLOCKWISE, [[0, -1, width], [1, 0, 0], [0, 0, 1]]),
    ):
        if turned:
            image, dark = cv2.rotate(gray, rotation), cv2.rotate(ink.dark, rotation)
            cuts = [_cut_out(image, dark, line, scale, crop_height) for line in turned]
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


def _cut_out(
    gray: np.ndarray, dark: np.ndarray, small: TextLine, scale: float, height: int
) -> LinePart:
    """The crop of a line found at working scale, from the full page along its baseline."""
    line = small.scaled(1 / scale)
    extent = line.ascent + line.descent
    pad = max(2.0, 0.13 * extent)
    # A line without descenders still stands on some paper.
    top, bottom = line.ascent + pad, max(line.descent, 0.12 * line.ascent) + pad
    margin = max(2.0, 0.16 * extent)
    k = min(1.0, 2 * height / (top + bottom))
    w = max(4, round((line.width + 2 * margin) * k))
    h = max(4, round((top + bottom) * k))
    slope = (line.y_right - line.y_left) / max(line.width, 1.0)
    x0, y0 = line.left - margin, line.y_left - slope * margin - top
    matrix = np.array([[1 / k, 0, x0], [slope / k, 1 / k, y0]])
    if k > 0.5 and abs(slope) * line.width < 0.1 * extent and k == 1.0:
        crop = _window(gray, round(x0), round((y0 + line.y_right - line.ascent - pad) / 2), w, h)
    else:
        crop = _warped(gray, matrix, w, h, k)
    mid = dark[min(int(small.middle), dark.shape[0] - 1), int(small.left) : int(small.right) + 1]
    if len(mid) and mid.mean() > 128:
        crop = 255 - crop
    return LinePart(line, crop, margin, k, top * k)


def _window(gray: np.ndarray, x: int, y: int, w: int, h: int) -> np.ndarray:
    """A window of the page; what lies outside the page repeats its edge."""
    height, width = gray.shape
    x0, y0, x1, y1 = max(0, x), max(0, y), min(width, x + w), min(height, y + h)
    if x0 >= x1 or y0 >= y1:
        return np.full((h, w), 255, np.uint8)
    inner = gray[y0:y1, x0:x1]
    if inner.shape == (h, w):
        return inner.copy()
    sides = (y0 - y, y + h - y1, x0 - x, x + w - x1)
    return cv2.copyMakeBorder(inner, *sides, cv2.BORDER_REPLICATE)


def _warped(gray: np.ndarray, matrix: np.ndarray, w: int, h: int, k: float) -> np.ndarray:
    """The page seen through `matrix` (crop to page), reduced without aliasing."""
    corners = matrix @ np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]], float)
    (x0, y0), (x1, y1) = np.floor(corners.min(1)).astype(int), np.ceil(corners.max(1)).astype(int)
    window = _window(gray, x0, y0, x1 - x0 + 1, y1 - y0 + 1)
    local = matrix.copy()
    local[:, 2] -= (x0, y0)
    if k < 0.8:
        window = resize(window, k)
        local = local * k
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(window, local, (w, h), flags=flags, borderMode=cv2.BORDER_REPLICATE)
