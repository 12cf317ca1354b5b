"""The text layer: words lie where they were read, at the right size, whatever the line's angle."""

from __future__ import annotations

import ctypes
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import ocrmypdf
import pypdfium2
import pypdfium2.raw as pdfium
import pytest
from ocrmypdf import OcrElement
from ocrmypdf.font import MultiFontManager
from ocrmypdf.fpdf_renderer import Fpdf2PdfRenderer
from ocrmypdf.hocrtransform import HocrParser

from ocrmypdf_trocr_mlx import hocr
from ocrmypdf_trocr_mlx.printable import clean
from ocrmypdf_trocr_mlx.result import Block, Box, Character, Line, Page, Paragraph, Word

DPI = 300
WORDS = ("The", "quick", "brown", "fox")
ASCENT, DESCENT, CHAR, GAP = 30.0, 9.0, 20.0, 15.0


def make_line(
    angle: float, x0: float = 1200, y0: float = 1200, words: tuple[str, ...] = WORDS
) -> Line:
    """A line of `words` that reads in direction `angle` (degrees, counter-clockwise)."""
    u, up = axes(angle)
    start, made = 0.0, []
    for word in words:
        end = start + CHAR * len(word)
        xs = [x0 + s * u[0] + v * up[0] for s in (start, end) for v in (ASCENT, -DESCENT)]
        ys = [y0 + s * u[1] + v * up[1] for s in (start, end) for v in (ASCENT, -DESCENT)]
        made.append(Word(word, Box(min(xs), min(ys), max(xs), max(ys)), 0.9))
        start = end + GAP
    length = start - GAP
    return Line(made, ((x0, y0), (x0 + length * u[0], y0 + length * u[1])), ASCENT, DESCENT)


def axes(angle: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Unit vectors along the line and up from it, y downwards."""
    theta = math.radians(angle)
    return (math.cos(theta), -math.sin(theta)), (-math.sin(theta), -math.cos(theta))


def make_page(*lines: Line) -> Page:
    return Page(2480, 2480, [Block([Paragraph(list(lines))])])


def via_tree(page: Page, folder: Path) -> OcrElement:
    return hocr.to_element(page, DPI)


def via_hocr(page: Page, folder: Path) -> OcrElement:
    path = folder / "page.hocr"
    path.write_text(hocr.to_hocr(hocr.to_element(page, DPI, level_words=False), "test"))
    return HocrParser(path).parse()


def draw(element: OcrElement, folder: Path) -> pypdfium2.PdfPage:
    path = folder / "text.pdf"
    fonts = MultiFontManager(Path(ocrmypdf.__file__).parent / "data")
    Fpdf2PdfRenderer(element, DPI, fonts).render(path)
    return pypdfium2.PdfDocument(path)[0]


def first_letters(page: pypdfium2.PdfPage) -> dict[str, tuple[float, float, float]]:
    """Origin x, y and font size, in pixels, of the first letter of each word, by the letter."""
    text, scale, height = page.get_textpage(), DPI / 72, page.get_height()
    found, before = {}, " "
    for i in range(text.count_chars()):
        char = chr(pdfium.FPDFText_GetUnicode(text, i))
        if char.strip() and not before.strip():
            x, y, matrix = ctypes.c_double(), ctypes.c_double(), pdfium.FS_MATRIX()
            pdfium.FPDFText_GetCharOrigin(text, i, x, y)
            pdfium.FPDFText_GetMatrix(text, i, matrix)
            size = pdfium.FPDFText_GetFontSize(text, i) * math.hypot(matrix.c, matrix.d)
            found[char] = (x.value * scale, (height - y.value) * scale, size * scale)
        before = char
    return found


@pytest.mark.parametrize("via", [via_tree, via_hocr])
@pytest.mark.parametrize("angle", [0, 0.2, 1, 3, 8, -3, -8, 30, 88, 90, 92, -90, 135, 177, 180])
def test_words_lie_on_their_baseline(
    angle: float, via: Callable[[Page, Path], OcrElement], tmp_path: Path
) -> None:
    letters = first_letters(draw(via(make_page(make_line(angle)), tmp_path), tmp_path))

    u, up = axes(angle)
    skew = abs(angle - 90 * round(angle / 90))
    start = 0.0
    for word in WORDS:
        x, y, size = letters[word[0]]
        x, y = x - 1200, y - 1200
        length = CHAR * len(word)
        # A level word crosses the tilted baseline at its middle; a word box that is
        # axis-aligned starts before the word does.
        tilt = math.tan(math.radians(skew)) if skew < 45 else 1.0
        assert abs(x * u[0] + y * u[1] - start) <= 2 + ASCENT * tilt, word
        assert abs(x * up[0] + y * up[1]) <= 1.5 + tilt * (length / 2 + ASCENT), word
        assert size == pytest.approx(ASCENT, abs=1)
        start += length + GAP


@pytest.mark.parametrize("angle", [0, 0.5, 1, 3, 8, 90, -90])
def test_text_is_extracted_in_order(angle: float, tmp_path: Path) -> None:
    _, up = axes(angle)
    lines = [
        make_line(angle, 1200 - 60 * i * up[0], 1200 - 60 * i * up[1], words)
        for i, words in enumerate([WORDS, ("jumps", "over", "it")])
    ]
    page = draw(via_tree(make_page(*lines), tmp_path), tmp_path)

    assert page.get_textpage().get_text_range().split() == [*WORDS, "jumps", "over", "it"]


@pytest.mark.parametrize("angle", [0.4, 1, -2, 5, 90.6])
def test_words_of_a_tilted_line_are_level(angle: float) -> None:
    lines = list(hocr.to_element(make_page(make_line(angle)), DPI).lines)

    assert [[w.text for w in line.words] for line in lines] == [[word] for word in WORDS]
    for line in lines:
        assert line.baseline is not None and line.baseline.slope == pytest.approx(0, abs=1e-9)


def test_hocr_has_what_the_specification_asks_for() -> None:
    page = make_page(make_line(0, words=("a<b", "&", "\"c'")))
    document = hocr.to_hocr(hocr.to_element(page, 299.99, page_number=4), "TrOCR <1>")

    root = ET.fromstring(document.partition("\n")[2])  # not well-formed: raises
    found = {e.get("class"): e for e in root.iter() if e.get("class")}
    assert set(found) == {"ocr_page", "ocr_carea", "ocr_par", "ocr_line", "ocrx_word"}
    assert found["ocr_page"].get("title") == "bbox 0 0 2480 2480; ppageno 4; scan_res 300 300"
    assert found["ocr_line"].get("title") == "bbox 1200 1170 1370 1209; baseline 0.0000 -9"
    words = [e for e in root.iter() if e.get("class") == "ocrx_word"]
    assert [e.text for e in words] == ["a<b", "&", "\"c'"]
    assert words[0].get("title") == "bbox 1200 1170 1260 1209; x_wconf 90"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))


def test_characters_of_words_do_not_disturb_the_text_layer(tmp_path: Path) -> None:
    page = make_page(make_line(0))
    for word in page.words:
        word.characters = tuple(Character(c, word.box, 0.9) for c in word.text)

    for element in (via_tree(page, tmp_path), via_hocr(page, tmp_path)):
        assert [w.text for w in element.words] == list(WORDS)
        assert draw(element, tmp_path).get_textpage().get_text_range().split() == list(WORDS)


def test_boxes_outside_the_page_stay_parsable(tmp_path: Path) -> None:
    line = make_line(0, x0=-40, y0=10)
    words = via_hocr(make_page(line), tmp_path).words

    assert [w.text for w in words] == list(WORDS)
    assert all(w.bbox is not None and w.bbox.left >= 0 and w.bbox.top >= 0 for w in words)


def test_a_line_without_extent_can_be_drawn(tmp_path: Path) -> None:
    line = Line([Word(".", Box(10, 10, 10, 10), 0.5)], ((10, 10), (10, 10)), 0, 0)

    assert first_letters(draw(via_tree(make_page(line), tmp_path), tmp_path)).keys() == {"."}


def test_an_empty_page_is_valid(tmp_path: Path) -> None:
    element = via_hocr(Page(100, 50), tmp_path)

    assert element.words == []
    assert draw(element, tmp_path).get_size() == (24, 12)


def test_unprintable_characters_and_empty_words_are_dropped() -> None:
    line = make_line(0, words=("a\x00\ue000b", "\x07", "so\u00adft", "two\u2003 words", "é€ſ"))
    page = Page(
        2480, 2480, [Block([Paragraph([line]), Paragraph([make_line(0, words=("\x1f",))])])]
    )

    cleaned = clean(page)
    assert [w.text for w in line.words][1] == "\x07"  # the page itself is left alone
    assert cleaned.text == "ab soft two words é€ſ"
    assert len(cleaned.blocks[0].paragraphs) == 1
