"""Pages that were read, written as text, JSON, CSV, hOCR, ALTO and PAGE XML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from . import alto, page_xml, plain
from .sheet import Sheet

__all__ = ["WRITERS", "Sheet", "Writer"]


@dataclass(frozen=True)
class Writer:
    """A file format: `write` gives the parts of one document of several pages, as they come."""

    suffix: str
    write: Callable[[Iterable[Sheet]], Iterator[str]]
    many_pages: bool = True


def _hocr(sheets: Iterable[Sheet]) -> Iterator[str]:
    from ocrmypdf_trocr_mlx import hocr  # the only one that imports OCRmyPDF, for its elements

    from .sheet import SOFTWARE, VERSION

    elements = (
        hocr.to_element(sheet.page, sheet.dpi, sheet.number, level_words=False) for sheet in sheets
    )
    return hocr.to_hocr_document(elements, f"{SOFTWARE} {VERSION}")


WRITERS = {
    "text": Writer(".txt", plain.write_text),
    "json": Writer(".json", plain.write_json),
    "hocr": Writer(".hocr", _hocr),
    "alto": Writer(".alto.xml", alto.write),
    "page": Writer(".page.xml", page_xml.write, many_pages=False),
    "csv": Writer(".csv", plain.write_csv),
}
