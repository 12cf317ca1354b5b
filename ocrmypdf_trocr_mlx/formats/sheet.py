"""A page on its way into a file."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree

from ocrmypdf_trocr_mlx import __version__
from ocrmypdf_trocr_mlx.result import Page

SOFTWARE = "ocrmypdf-trocr-mlx"
VERSION = __version__


@dataclass(frozen=True)
class Sheet:
    """What was read of page `number`, from 0, of the file `source`; its text is printable."""

    page: Page
    source: str = ""
    number: int = 0
    dpi: float = 300.0


def to_xml(root: ElementTree.Element) -> str:
    """A whole XML document, indented."""
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'
