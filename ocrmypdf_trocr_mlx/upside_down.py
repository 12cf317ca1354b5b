"""Lines that stand on their heads on an upright page: a label, a stamp, half of a folded sheet.

The layout finds them as it finds others, and upright they read as words of few sure letters.
Turned by half they read as surely as any line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import cv2
import numpy as np

from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout
from ocrmypdf_trocr_mlx.layout.clutter import components
from ocrmypdf_trocr_mlx.layout.lines import TextLine, measure
from ocrmypdf_trocr_mlx.layout.order import reading_order
from ocrmypdf_trocr_mlx.layout.segments import Segment
from ocrmypdf_trocr_mlx.recognizer import Reading, ReadWord
from ocrmypdf_trocr_mlx.recognizer.ink import ink_mask
from ocrmypdf_trocr_mlx.result import Word, mean_confidence

# A line so wide, in letter sizes, and read as so many letters or digits may stand on its head if it
# was read so much less surely than the page's usual line, or this unsurely anyway: hands are not
# read as surely as print.  The widest are tried, so many at most, and all if one of them does.
WORD, LETTERS, MOST = 2.0, 3, 16
LESS_SURE, UNSURE = 0.06, (0.8, 0.9)
# A line is believed to if it then has so many letters and digits and is so much less unsure than
# upright, for "SOS" and "8008" read well both ways up; of a page one must be read surely, too.
LEAST_CHARACTERS, LEAST_CONFIDENCE, LESS_UNSURE = 4, 0.9, 0.5
# What is lower than this share of the line is no letter and stands on no baseline.
LETTER = 0.3

Found = dict[int, tuple[LinePart, list[Word]]]


def find_upside_down(
    layout: PageLayout,
    readings: Mapping[int, Reading],
    read: Callable[[Sequence[LinePart], PageLayout], list[list[Word]]],
) -> Found:
    """Which parts of a page stand on their heads, by their ids: the part turned, and its words.

    `readings` are of the parts as they stand, by their ids; `read` gives the words of other parts
    of a layout, none for a part that it does not trust.
    """
    back = half_turned(layout)
    turned: Found = {}

    def try_out(parts: list[LinePart]) -> None:
        pieces = [turned_by_half(part) for part in parts]
        words = read(pieces, back)
        turned.update(zip(map(id, parts), zip(pieces, words, strict=True), strict=True))

    def surer(least: float = 0.0) -> set[int]:
        return {key for key, (_, words) in turned.items() if _is_surer(readings[key], words, least)}

    try_out(_worth_turning(layout, readings))
    if not surer(LEAST_CONFIDENCE):
        return {}
    try_out([part for part in layout.parts if id(part) not in turned])
    heads = surer()
    heads |= {key for key in _beside(heads, layout) if _is_better(readings[key], turned[key][1])}
    return {id(part): turned[id(part)] for part in layout.parts if id(part) in heads}


def _worth_turning(layout: PageLayout, readings: Mapping[int, Reading]) -> list[LinePart]:
    """The widest of the parts that were read unsurely."""
    sure = {id(part): _sureness(readings[id(part)]) for part in layout.parts}
    read = [value for value in sure.values() if value > 0]
    usual = float(np.median(read)) if read else 0.0
    least, most = UNSURE
    limit = min(most, max(least, usual - LESS_SURE))
    unsure = [
        part
        for part in layout.parts
        if part.line.width > WORD * layout.letter_size
        and _characters(readings[id(part)].words) >= LETTERS
        and sure[id(part)] < limit
    ]
    return sorted(unsure, key=lambda part: part.line.width, reverse=True)[:MOST]


def _is_surer(upright: Reading, turned: Sequence[Word], least: float) -> bool:
    """Is a line so much better read turned by half that it must be meant that way up?"""
    sure = mean_confidence(turned) or 0.0
    clearly = 1 - sure < LESS_UNSURE * (1 - _sureness(upright))
    return _characters(turned) >= LEAST_CHARACTERS and sure >= least and clearly


def _is_better(upright: Reading, turned: Sequence[Word]) -> bool:
    return (mean_confidence(turned) or 0.0) > _sureness(upright)


def _sureness(reading: Reading) -> float:
    return mean_confidence(reading.words) or 0.0


def _characters(words: Iterable[Word | ReadWord]) -> int:
    """Letters and digits of words."""
    return sum(c.isalnum() for word in words for c in word.text)


def _beside(heads: set[int], layout: PageLayout) -> set[int]:
    """The others of paragraphs most of which, by width, are `heads`: short words at their ends."""
    found: set[int] = set()
    for paragraph in (paragraph for block in layout.blocks for paragraph in block):
        widths = {id(part): part.line.width for row in paragraph for part in row}
        if sum(width for key, width in widths.items() if key in heads) > sum(widths.values()) / 2:
            found |= widths.keys() - heads
    return found


def turned_by_half(part: LinePart) -> LinePart:
    """The line as it is on the page turned by half about its origin: what was x, y is -x, -y.

    The letters' feet are where their heads were taken to be, and are looked for anew.
    """
    line, k = part.line, part.scale
    crop = np.ascontiguousarray(part.crop[::-1, ::-1])
    height, width = crop.shape
    base = height - part.baseline_row
    row, slope = _baseline(crop, base - line.descent * k, base + line.ascent * k)
    margin = width / k - line.width - part.margin
    # How far the letters' feet are below their heads in the middle, and more so at the right end.
    drop, tilt = (row - base) / k, slope * line.width / 2
    turned = TextLine(
        left=-line.right,
        right=-line.left,
        y_left=-line.y_right + drop - tilt,
        y_right=-line.y_left + drop + tilt,
        ascent=max(1.0, line.descent + drop),
        descent=max(0.0, line.ascent - drop),
        size=line.size,
    )
    middle = (margin + line.width / 2) * k
    return LinePart(turned, _levelled(crop, slope, middle), margin, k, row)


def _baseline(crop: np.ndarray, top: float, bottom: float) -> tuple[float, float]:
    """Row in the middle, and slope, of what the letters in such rows of a crop stand on."""
    first, last = max(0, int(top)), min(len(crop), int(np.ceil(bottom)) + 1)
    ink = ink_mask(crop)[first:last]
    _, stats = components(np.where(ink, 255, 0).astype(np.uint8))
    letters = stats[stats[:, 3] > LETTER * (last - first)].astype(float)
    if not len(letters):
        return bottom, 0.0
    boxes = np.column_stack((letters[:, :2], letters[:, :2] + letters[:, 2:4]))
    line = measure(Segment(boxes, float(letters[:, 4].sum())))
    slope = (line.y_right - line.y_left) / max(line.width, 1.0)
    return first + (line.y_left + line.y_right) / 2, slope


def _levelled(crop: np.ndarray, slope: float, middle: float) -> np.ndarray:
    """A crop, uint8 (h, w), whose line has such a slope, made level; column `middle` stays."""
    if not slope:
        return crop
    matrix = np.array([[1.0, 0.0, 0.0], [slope, 1.0, -slope * middle]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (crop.shape[1], crop.shape[0])
    return cv2.warpAffine(crop, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def half_turned(layout: PageLayout, parts: Sequence[LinePart] = ()) -> PageLayout:
    """The layout of the page turned by half about its origin, with `parts` in reading order.

    The parts are `turned_by_half`.  Each paragraph is a block: upright text may stand between two.
    """
    by_line = {id(part.line): part for part in parts}
    blocks = [
        [[[by_line[id(line)] for line in row] for row in paragraph]]
        for block in reading_order([part.line for part in parts])
        for paragraph in block
    ]
    to_page = layout.to_page @ np.diag([-1.0, -1.0, 1.0])
    return PageLayout(blocks, layout.letter_size, layout.skew, to_page)
