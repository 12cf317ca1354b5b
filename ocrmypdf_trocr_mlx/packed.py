"""The tree of a page in a tenth of the memory, for OCRmyPDF keeps all pages until the last is read.

A page of 400 words takes 280 kB as objects: of a book of 500 pages, 140 MB.
"""

from __future__ import annotations

import pickle
import zlib

from ocrmypdf import OcrElement

_FASTEST = 1


class PackedPage(OcrElement):
    """The element of a page; those below it are made anew whenever `children` is asked for."""

    @property
    def children(self) -> list[OcrElement]:
        """A list of one's own: what is changed in it is not changed in the page."""
        elements: list[OcrElement] = pickle.loads(zlib.decompress(self._packed))
        return elements

    @children.setter
    def children(self, elements: list[OcrElement]) -> None:
        self._packed = zlib.compress(pickle.dumps(elements, pickle.HIGHEST_PROTOCOL), _FASTEST)


def packed(page: OcrElement) -> PackedPage:
    """The same page; only its `children` may not be changed in place."""
    return PackedPage(**vars(page))
