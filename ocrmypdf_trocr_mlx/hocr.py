"""A page that was read, as OCRmyPDF's tree of elements and as an hOCR file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from html import escape

from ocrmypdf import Baseline, BoundingBox, OcrClass, OcrElement

from ocrmypdf_trocr_mlx.result import Block, Box, Character, Line, Page, Word

_LEVEL = 0.005  # OCRmyPDF's renderer takes a slope below this for none
# Below, a line is drawn level anyway; beyond, level words would make no line.
_TILTED = (math.atan(_LEVEL), math.radians(15))


def to_element(
    page: Page, dpi: float, page_number: int = 0, *, level_words: bool = True
) -> OcrElement:
    """OCRmyPDF's tree: page > area > paragraph > line > word (> character), in the image's pixels.

    With `level_words`, a tilted or bent line is given as many lines of one level word each.  For
    poppler's pdftotext breaks words that are not level (half of them at 8 degrees, some at 1),
    and a line of the tree is straight: of a bent one it is the one from end to end.
    """
    return OcrElement(
        ocr_class=OcrClass.PAGE,
        bbox=BoundingBox(0, 0, page.width, page.height),
        dpi=dpi,
        page_number=page_number,
        children=[_area(block, level_words) for block in page.blocks],
    )


def _area(block: Block, level_words: bool) -> OcrElement:
    paragraphs = [
        OcrElement(
            ocr_class=OcrClass.PARAGRAPH,
            bbox=_bbox(paragraph.box),
            children=[
                _line(part)
                for line in paragraph.lines
                for part in (_level_words(line) if level_words and _is_tilted(line) else [line])
            ],
        )
        for paragraph in block.paragraphs
    ]
    return OcrElement(ocr_class=OcrClass.CAREA, bbox=_bbox(block.box), children=paragraphs)


def _quarters(line: Line) -> int:
    """Quarter turns, counter-clockwise, that come closest to the line's direction."""
    return round(line.angle / (math.pi / 2))


def _direction(quarters: int) -> tuple[int, int]:
    """Direction of reading after so many quarter turns; y runs downwards."""
    return ((1, 0), (0, -1), (-1, 0), (0, 1))[quarters % 4]


def _is_tilted(line: Line) -> bool:
    low, high = _TILTED
    tilt = abs(line.angle - _quarters(line) * math.pi / 2)
    return tilt < high and (tilt > low or len(line.baseline) > 2)


def _level_words(line: Line) -> list[Line]:
    """A line for each word, its baseline level (or plumb) where it passes under the word."""
    ux, uy = _direction(_quarters(line))
    lines = []
    for word in line.words:
        box = word.box
        cx, cy = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        (x0, y0), angle = _under(line, cx, cy)
        cos, sin = math.cos(angle), math.sin(angle)
        along = (cx - x0) * cos - (cy - y0) * sin
        x, y = x0 + along * cos, y0 - along * sin
        half = (box.width if uy == 0 else box.height) / 2
        # Under the box as it is drawn, not under the foot of the perpendicular.
        x, y = (cx, y) if uy == 0 else (x, cy)
        baseline = ((x - half * ux, y - half * uy), (x + half * ux, y + half * uy))
        lines.append(Line([word], baseline, line.ascent, line.descent))
    return lines


def _under(line: Line, x: float, y: float) -> tuple[tuple[float, float], float]:
    """A point of the baseline and its angle under what stands at (x, y)."""
    ux, uy = _direction(_quarters(line))
    points = line.baseline
    legs = list(itertools.pairwise(points))
    passed = [leg for leg in legs if (x - leg[0][0]) * ux + (y - leg[0][1]) * uy >= 0]
    (x0, y0), (x1, y1) = passed[-1] if passed else legs[0]
    return (x0, y0), math.atan2(y0 - y1, x1 - x0)


def _line(line: Line) -> OcrElement:
    """The line as OCRmyPDF's renderer needs it to find its place and its font size.

    The renderer takes the font size from the height of the box, so an axis-aligned box around
    a skewed line would blow it up: the box is given as it was before the skew, which turned it
    about the left end of the baseline.  Quarter turns are another matter: `textangle` tells of
    them, and the box is the true one.
    """
    (x0, y0), *_, (x1, y1) = line.baseline
    quarters = _quarters(line)
    ux, uy = _direction(quarters)
    slope = math.tan(quarters * math.pi / 2 - line.angle)
    length = max(1.0, math.hypot(x1 - x0, y1 - y0))
    ascent, descent = max(1.0, line.ascent), max(0.0, line.descent)
    if abs(slope) < _LEVEL:  # drawn level: through the middle, not the left end
        x0, y0 = (x0 + x1 - length * ux) / 2, (y0 + y1 - length * uy) / 2

    # The level line's corners, `x` along it and `y` down from it, turned by whole quarters.
    corners = [(x, y) for x in (0.0, length) for y in (-ascent, descent)]
    xs = [x0 + x * ux - y * uy for x, y in corners]
    ys = [y0 + x * uy + y * ux for x, y in corners]
    return OcrElement(
        ocr_class=OcrClass.LINE,
        bbox=BoundingBox(min(xs), min(ys), max(xs), max(ys)),
        baseline=Baseline(slope, intercept=-descent),
        textangle=(quarters * 90.0) % 360 or None,
        children=[_text(OcrClass.WORD, word) for word in line.words],
    )


def _text(ocr_class: str, read: Word | Character) -> OcrElement:
    """A word, with its characters if it has them, or a character."""
    characters = read.characters if isinstance(read, Word) else ()
    return OcrElement(
        ocr_class=ocr_class,
        bbox=_bbox(read.box),
        text=read.text,
        confidence=read.confidence,
        children=[_text(OcrClass.CHAR, character) for character in characters],
    )


def _bbox(box: Box) -> BoundingBox:
    return BoundingBox(box.left, box.top, box.right, box.bottom)


_HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
    "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title></title>
  <meta http-equiv="Content-Type" content="text/html;charset=utf-8"/>
  <meta name="ocr-system" content="{system}"/>
  <meta name="ocr-capabilities"
      content="ocr_page ocr_carea ocr_par ocr_line ocrx_word ocrx_cinfo ocrp_wconf"/>
 </head>
 <body>
"""
_TAGS = {
    OcrClass.PAGE: "div",
    OcrClass.CAREA: "div",
    OcrClass.PARAGRAPH: "p",
    OcrClass.LINE: "span",
    OcrClass.WORD: "span",
}


def to_hocr(element: OcrElement, system: str) -> str:
    """The tree of `to_element` as an hOCR document; `system` names the software."""
    return "".join(to_hocr_document([element], system))


def to_hocr_document(pages: Iterable[OcrElement], system: str) -> Iterator[str]:
    """Parts of one hOCR document of several pages, which may come one after another."""
    yield _HEAD.format(system=escape(system))
    counts: dict[str, int] = {}
    for page in pages:
        yield "".join(f"{line}\n" for line in _elements(page, counts, indent=2))
    yield " </body>\n</html>\n"


def _elements(element: OcrElement, counts: dict[str, int], indent: int) -> Iterator[str]:
    kind = element.ocr_class.partition("_")[2]
    counts[kind] = counts.get(kind, 0) + 1
    tag = _TAGS[element.ocr_class]
    start = (
        f'{" " * indent}<{tag} class="{element.ocr_class}" '
        f'id="{kind}_{counts[kind]}" title="{escape(_title(element))}">'
    )
    if element.ocr_class == OcrClass.WORD:
        characters = "".join(map(_character, element.children))
        yield f"{start}{characters or escape(element.text)}</{tag}>"
        return
    yield start
    for child in element.children:
        yield from _elements(child, counts, indent + 1)
    yield f"{' ' * indent}</{tag}>"


def _character(element: OcrElement) -> str:
    """As Tesseract writes it: no id, and the properties that hOCR has for several characters."""
    title = f"x_bboxes {_corners(element)}; x_conf {100 * (element.confidence or 0):.1f}"
    return f'<span class="{element.ocr_class}" title="{title}">{escape(element.text)}</span>'


def _corners(element: OcrElement) -> str:
    """hOCR's boxes are whole numbers, not below 0."""
    box = element.bbox
    assert box is not None
    corners = (box.left, box.top, box.right, box.bottom)
    return " ".join(str(max(0, round(v))) for v in corners)


def _title(element: OcrElement) -> str:
    """Properties of the element."""
    parts = [f"bbox {_corners(element)}"]
    if element.ocr_class == OcrClass.PAGE:
        dpi = round(element.dpi or 0)
        parts += [f"ppageno {element.page_number or 0}", f"scan_res {dpi} {dpi}"]
    if element.baseline is not None:
        parts.append(f"baseline {element.baseline.slope:.4f} {round(element.baseline.intercept)}")
    if element.textangle is not None:
        parts.append(f"textangle {element.textangle:g}")
    if element.confidence is not None:
        parts.append(f"x_wconf {round(100 * element.confidence)}")
    return "; ".join(parts)
