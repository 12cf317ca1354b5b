"""The bundled model through OCRmyPDF: a page drawn here, its words found where they were drawn."""

from __future__ import annotations

import difflib
from pathlib import Path

import ocrmypdf
import pypdfium2
from PIL import Image, ImageDraw, ImageFont

DPI = 200
LINES = (
    "The committee met in London on 14 March,",
    "and its members were asked to give",
    "their opinion of the new harbour.",
    "Nobody objected; the work will begin",
    "before the end of next summer.",
)


def draw_page() -> tuple[Image.Image, list[tuple[str, float, float, float]]]:
    """A page, and of each word the text, left end, right end and baseline in pixels."""
    page, font = Image.new("L", (1300, 800), "white"), ImageFont.load_default(40)
    pen, words = ImageDraw.Draw(page), []
    for i, line in enumerate(LINES):
        x, baseline = 160.0, 200.0 + 70 * i
        for word in line.split():
            pen.text((x, baseline), word, font=font, anchor="ls")
            width = pen.textlength(word, font=font)
            words.append((word, x, x + width, baseline))
            x += width + pen.textlength(" ", font=font)
    return page, words


def words_in(pdf: Path) -> list[tuple[str, float, float, float, float]]:
    """Of each word the text and the box of its characters, in pixels, y downwards."""
    page = pypdfium2.PdfDocument(pdf)[0]
    text, height, found = page.get_textpage(), page.get_height(), []
    word, boxes = "", []
    for i in range(text.count_chars() + 1):
        char = text.get_text_range(i, 1) if i < text.count_chars() else " "
        if char.strip():
            word += char
            boxes.append(text.get_charbox(i, loose=True))
        elif word:
            left, bottom, right, top = zip(*boxes, strict=True)
            box = (min(left), height - max(top), max(right), height - min(bottom))
            found.append((word, *(v * DPI / 72 for v in box)))
            word, boxes = "", []
    return found


def test_text_and_places(tmp_path: Path) -> None:
    page, truth = draw_page()
    page.save(tmp_path / "in.pdf", resolution=DPI)
    out, sidecar = tmp_path / "out.pdf", tmp_path / "out.txt"
    ocrmypdf.ocr(
        tmp_path / "in.pdf",
        out,
        plugins=["ocrmypdf_trocr_mlx"],
        sidecar=sidecar,
        progress_bar=False,
    )

    read = sidecar.read_text().splitlines()
    assert len(read) == len(LINES)
    assert difflib.SequenceMatcher(None, "\n".join(read), "\n".join(LINES)).ratio() > 0.96

    found = words_in(out)
    texts = {text for text, *_ in found}
    read_right = [drawn for drawn in truth if drawn[0] in texts]
    assert len(read_right) > len(truth) / 2
    assert [drawn for drawn in read_right if not lies_at(drawn, found)] == []


def lies_at(
    drawn: tuple[str, float, float, float], found: list[tuple[str, float, float, float, float]]
) -> bool:
    """Whether the word is in the PDF, at its place."""
    word, x0, x1, baseline = drawn
    return any(
        text == word
        and max(abs(left - x0), abs(right - x1)) < 8
        and top < baseline - 15
        and baseline - 5 < bottom < baseline + 20
        for text, left, top, right, bottom in found
    )
