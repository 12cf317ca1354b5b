"""ALTO 4: the Library of Congress's format for pages of text.

https://www.loc.gov/standards/alto/
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, SubElement

from ocrmypdf_trocr_mlx.printable import printable
from ocrmypdf_trocr_mlx.result import Block, Box, Line, Paragraph

from .sheet import SOFTWARE, VERSION, Sheet, to_xml

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"


def write(sheets: Iterable[Sheet]) -> Iterator[str]:
    """One document with a Page for each sheet, its blocks in reading order, in pixels."""
    sheets = list(sheets)
    # 4.2 is the first version whose baselines have several points.
    root = Element("alto", {"xmlns": NAMESPACE, "SCHEMAVERSION": "4.2"})
    description = SubElement(root, "Description")
    SubElement(description, "MeasurementUnit").text = "pixel"
    sources = {sheet.source for sheet in sheets}
    if len(sources) == 1 and (source := printable(sources.pop())):
        image = SubElement(description, "sourceImageInformation")
        SubElement(image, "fileName").text = source
    software = SubElement(
        SubElement(description, "Processing", {"ID": "reading"}), "processingSoftware"
    )
    SubElement(software, "softwareName").text = SOFTWARE
    SubElement(software, "softwareVersion").text = VERSION
    layout = SubElement(root, "Layout")
    for i, sheet in enumerate(sheets, start=1):
        _add_page(layout, sheet, i)
    yield to_xml(root)


def _add_page(layout: Element, sheet: Sheet, index: int) -> None:
    page = sheet.page
    size = {"WIDTH": str(page.width), "HEIGHT": str(page.height)}
    names = {"ID": f"page_{index}", "PHYSICAL_IMG_NR": str(sheet.number + 1)}
    element = SubElement(layout, "Page", {**names, **size})
    space = SubElement(element, "PrintSpace", {"HPOS": "0", "VPOS": "0", **size})
    ids = itertools.count(1)
    for block in page.blocks:
        _add_block(space, block, index, ids)


def _add_block(space: Element, block: Block, page: int, ids: Iterator[int]) -> None:
    name = f"block_{page}_{next(ids)}"
    element = SubElement(space, "ComposedBlock", {"ID": name, **_place(block.box)})
    for paragraph in block.paragraphs:
        _add_paragraph(element, paragraph, page, ids)


def _add_paragraph(block: Element, paragraph: Paragraph, page: int, ids: Iterator[int]) -> None:
    name = f"text_{page}_{next(ids)}"
    element = SubElement(block, "TextBlock", {"ID": name, **_place(paragraph.box)})
    for line in paragraph.lines:
        _add_line(element, line, page, ids)


def _add_line(block: Element, line: Line, page: int, ids: Iterator[int]) -> None:
    baseline = " ".join(f"{_number(x)},{_number(y)}" for x, y in line.baseline)
    names = {"ID": f"line_{page}_{next(ids)}", "BASELINE": baseline}
    element = SubElement(block, "TextLine", {**names, **_place(line.box)})
    for i, word in enumerate(line.words):
        if i:
            SubElement(element, "SP")
        content = {"CONTENT": word.text, "WC": f"{word.confidence:.4f}"}
        names = {"ID": f"word_{page}_{next(ids)}"}
        string = SubElement(element, "String", {**names, **content, **_place(word.box)})
        for character in word.characters:
            names = {"ID": f"glyph_{page}_{next(ids)}"}
            content = {"CONTENT": character.text, "GC": f"{character.confidence:.4f}"}
            SubElement(string, "Glyph", {**names, **content, **_place(character.box)})


def _place(box: Box) -> dict[str, str]:
    return {
        "HPOS": _number(box.left),
        "VPOS": _number(box.top),
        "WIDTH": _number(box.width),
        "HEIGHT": _number(box.height),
    }


def _number(value: float) -> str:
    """Whole pixels: some readers of ALTO take nothing else."""
    return str(round(value))
