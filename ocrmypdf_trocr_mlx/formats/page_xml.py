"""PAGE XML (2019-07-15): what Transkribus, eScriptorium and OCR-D exchange.

https://github.com/PRImA-Research-Lab/PAGE-XML
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, SubElement

from ocrmypdf_trocr_mlx.printable import printable
from ocrmypdf_trocr_mlx.result import Box, Line, Page, Paragraph, mean_confidence

from .sheet import SOFTWARE, VERSION, Sheet, to_xml

NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"

Point = tuple[float, float]


def write(sheets: Iterable[Sheet]) -> Iterator[str]:
    """A document; PAGE XML has one for every page, so there must be one sheet."""
    (sheet,) = sheets
    page = sheet.page
    root = Element("PcGts", {"xmlns": NAMESPACE})
    metadata = SubElement(root, "Metadata")
    SubElement(metadata, "Creator").text = f"{SOFTWARE} {VERSION}"
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name in ("Created", "LastChange"):
        SubElement(metadata, name).text = now
    size = {"imageWidth": str(page.width), "imageHeight": str(page.height)}
    names = {"imageFilename": printable(sheet.source)}
    element = SubElement(root, "Page", {**names, **size})
    paragraphs = [p for block in page.blocks for p in block.paragraphs]
    if paragraphs:
        order = SubElement(SubElement(element, "ReadingOrder"), "OrderedGroup", {"id": "order"})
        for i in range(len(paragraphs)):
            reference = {"index": str(i), "regionRef": f"region_{i + 1}"}
            SubElement(order, "RegionRefIndexed", reference)
    for i, paragraph in enumerate(paragraphs, start=1):
        _add_region(element, paragraph, i, page)
    yield to_xml(root)


def _add_region(parent: Element, paragraph: Paragraph, index: int, page: Page) -> None:
    names = {"id": f"region_{index}", "type": "paragraph"}
    element = SubElement(parent, "TextRegion", names)
    _add_points(element, "Coords", _corners(paragraph.box), page)
    for i, line in enumerate(paragraph.lines, start=1):
        _add_line(element, line, f"{index}_{i}", page)
    words = [word for line in paragraph.lines for word in line.words]
    text = "\n".join(line.text for line in paragraph.lines)
    _add_text(element, text, mean_confidence(words))


def _add_line(parent: Element, line: Line, name: str, page: Page) -> None:
    element = SubElement(parent, "TextLine", {"id": f"line_{name}"})
    _add_points(element, "Coords", _outline(line), page)
    _add_points(element, "Baseline", line.baseline, page)
    for i, word in enumerate(line.words, start=1):
        child = SubElement(element, "Word", {"id": f"word_{name}_{i}"})
        _add_points(child, "Coords", _corners(word.box), page)
        for k, character in enumerate(word.characters, start=1):
            glyph = SubElement(child, "Glyph", {"id": f"glyph_{name}_{i}_{k}"})
            _add_points(glyph, "Coords", _corners(character.box), page)
            _add_text(glyph, character.text, character.confidence)
        _add_text(child, word.text, word.confidence)
    _add_text(element, line.text, mean_confidence(line.words))


def _add_text(parent: Element, text: str, confidence: float | None) -> None:
    element = SubElement(parent, "TextEquiv", {"conf": f"{confidence or 0:.4f}"})
    SubElement(element, "Unicode").text = text


def _add_points(parent: Element, name: str, points: Iterable[Point], page: Page) -> None:
    """The format's points are whole pixels inside the page."""
    inside = (
        (min(max(round(x), 0), page.width), min(max(round(y), 0), page.height)) for x, y in points
    )
    SubElement(parent, name, {"points": " ".join(f"{x},{y}" for x, y in inside)})


def _corners(box: Box) -> tuple[Point, ...]:
    return (
        (box.left, box.top),
        (box.right, box.top),
        (box.right, box.bottom),
        (box.left, box.bottom),
    )


def _outline(line: Line) -> tuple[Point, ...]:
    """The strip along the baseline, from the top to the bottom of the letters."""
    up_x, up_y = -math.sin(line.angle), -math.cos(line.angle)
    a, d = line.ascent, line.descent
    above = [(x + a * up_x, y + a * up_y) for x, y in line.baseline]
    below = [(x - d * up_x, y - d * up_y) for x, y in reversed(line.baseline)]
    return (*above, *below)
