"""Pages that OCRmyPDF keeps until the last is read are small, and say what they said."""

from __future__ import annotations

import dataclasses
import pickle
import tracemalloc
from collections.abc import Callable

from ocrmypdf import BoundingBox, OcrClass, OcrElement

from ocrmypdf_trocr_mlx.packed import packed


def make_page(words: int = 400) -> OcrElement:
    def element(ocr_class: str, children: list[OcrElement]) -> OcrElement:
        return OcrElement(ocr_class, BoundingBox(0, 0, 2480, 3508), children=children)

    written = [
        OcrElement(
            OcrClass.WORD,
            BoundingBox(7.25 * i, 11.5 * i, 7.25 * i + 61.3, 11.5 * i + 30.7),
            text=f"word{i}",
            confidence=1 / (1 + i),
        )
        for i in range(words)
    ]
    lines = [element(OcrClass.LINE, written[i : i + 10]) for i in range(0, words, 10)]
    page = element(OcrClass.PAGE, [element(OcrClass.PARAGRAPH, lines)])
    page.dpi, page.page_number = 300.0, 3
    return page


def test_a_packed_page_says_what_it_said() -> None:
    page = make_page()
    for found in (packed(page), pickle.loads(pickle.dumps(packed(page)))):
        assert isinstance(found, OcrElement)
        assert dataclasses.asdict(found) == dataclasses.asdict(page)
        assert found.words == page.words and found.paragraphs == page.paragraphs


def test_its_children_are_ones_own() -> None:
    page = packed(make_page(20))
    page.children[0].text = "changed"
    assert page.children == make_page(20).children
    page.children = []
    assert page.words == []


def test_packed_pages_are_small() -> None:
    def size(keep: Callable[[OcrElement], OcrElement]) -> int:
        tracemalloc.start()
        kept = [keep(make_page()) for _ in range(10)]
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return held // len(kept)

    assert size(packed) < 0.1 * size(lambda page: page)
