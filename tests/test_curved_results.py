"""Bent lines in results: word boxes, other cuts, the text layer and the formats follow them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont
from test_hocr import draw as draw_text
from test_hocr import first_letters, via_tree

from ocrmypdf_trocr_mlx import assembly, hocr, overlay, places, viewer
from ocrmypdf_trocr_mlx.bench.curved_pages import BENDS, PITCH, SIZE, CurvedPage, draw
from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout, find_layout
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.layout.stages import draw_stages
from ocrmypdf_trocr_mlx.recut import cuts
from ocrmypdf_trocr_mlx.result import Block, Box, Line, Page, Paragraph, Word

WORDS = ("The", "quick", "brown", "fox", "jumps")
STEP, HALF = 400, 120  # between words' middles, and half their width
ASCENT, DESCENT = 30.0, 9.0


@pytest.fixture(scope="module")
def truth() -> CurvedPage:
    return draw(BENDS["corner"](3.0 * PITCH * SIZE), ImageFont.load_default(SIZE))


@pytest.fixture(scope="module")
def layout(truth: CurvedPage) -> PageLayout:
    return find_layout(truth.image)


def bow(x: float) -> float:
    """The baseline of `bent_line`: an arch of 150 pixels."""
    return 1200 - 150 * (1 - ((x - 1200) / 1000) ** 2)


def bent_line() -> Line:
    words = []
    for i, text in enumerate(WORDS):
        x = 400 + STEP * i
        words.append(Word(text, Box(x - HALF, bow(x) - ASCENT, x + HALF, bow(x) + DESCENT), 0.9))
    xs = np.linspace(400 - HALF, 400 + STEP * 4 + HALF, 17)
    return Line(words, tuple((float(x), bow(float(x))) for x in xs), ASCENT, DESCENT)


@pytest.fixture
def page() -> Page:
    return Page(2480, 2480, [Block([Paragraph([bent_line()])])])


def overlap(a: Box, b: Box) -> float:
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(0.0, width) * max(0.0, height)
    return both / (a.width * a.height + b.width * b.height - both)


def test_boxes_of_words_hold_their_ink(truth: CurvedPage, layout: PageLayout) -> None:
    found = []
    for part, words in zip(layout.parts, truth.words, strict=True):
        start = part.line.left - part.margin
        for _, corners in words:
            box = Box(*corners)
            left, right = ((x - start) * part.scale for x in (box.left, box.right))
            found.append(
                overlap(box, places.word_box(part, left, right, layout, places.LEAST_WORD))
            )
    assert np.mean(found) > 0.85
    assert np.quantile(found, 0.02) > 0.6


def test_a_line_tells_all_points_of_its_baseline(layout: PageLayout) -> None:
    word = [Word("a", Box(0, 0, 1, 1), 1.0)]
    bent = layout.parts[-1].line
    line = assembly.line_of([bent], word, layout)
    assert np.allclose(line.baseline, bent.ends) and len(line.baseline) > 2
    straight = TextLine(1700.0, 1800.0, 50.0, 60.0, 20.0, 5.0, 14.0)
    both = assembly.line_of([bent, straight], word, layout)
    assert np.allclose(both.baseline, (*bent.ends, (1700, 50), (1800, 60)))
    assert assembly.line_of([straight, straight], word, layout).baseline == ((1700, 50), (1800, 60))


def test_pieces_of_a_bent_line_are_bent() -> None:
    crop = np.full((40, 400), 255, np.uint8)
    crop[10:30, 10:100] = crop[10:30, 300:390] = 0
    line = TextLine(0.0, 400.0, 0.0, 0.0, 20.0, 0.0, 20.0)
    x = np.linspace(0, 400, 9)
    bent = line.along(x, x**2 / 1000)
    _, columns = cuts(LinePart(bent, crop, 0.0, 1.0, 30.0))
    assert [(p.line.left, p.line.right) for p in columns] == [(10, 100), (300, 390)]
    for piece in columns:
        inside = np.linspace(piece.line.left, piece.line.right, 5)
        assert np.allclose(piece.line.base(inside), bent.base(inside))


def test_words_of_the_text_layer_lie_on_the_bend(page: Page, tmp_path: Path) -> None:
    letters = first_letters(draw_text(via_tree(page, tmp_path), tmp_path))
    for i, word in enumerate(WORDS):
        x, y, size = letters[word[0]]
        middle = 400 + STEP * i
        assert x == pytest.approx(middle - HALF, abs=4)
        assert y == pytest.approx(bow(middle), abs=4)
        assert size == pytest.approx(ASCENT, abs=1)


def test_hocr_has_the_line_from_end_to_end(page: Page) -> None:
    document = hocr.to_hocr(hocr.to_element(page, 300, level_words=False), "test")
    root = ET.fromstring(document.partition("\n")[2])
    [line] = [e for e in root.iter() if e.get("class") == "ocr_line"]
    assert "baseline 0.0000 -9" in str(line.get("title"))


def test_alto_and_page_xml_have_all_points(page: Page) -> None:
    [line] = page.lines
    points = " ".join(f"{round(x)},{round(y)}" for x, y in line.baseline)
    alto, xml = (ET.fromstring(text.encode()) for text in (page.to_alto(), page.to_page_xml()))
    assert [e.get("BASELINE") for e in alto.iter() if e.tag.endswith("}TextLine")] == [points]
    assert [e.get("points") for e in xml.iter() if e.tag.endswith("}Baseline")] == [points]
    [outline] = [
        e.get("points")
        for parent in xml.iter()
        if parent.tag.endswith("}TextLine")
        for e in parent
        if e.tag.endswith("}Coords")
    ]
    corners = [tuple(map(int, point.split(","))) for point in str(outline).split()]
    assert len(corners) == 2 * len(line.baseline)
    assert min(y for _, y in corners) == round(bow(1200) - ASCENT)
    for (x0, top), (x1, bottom) in zip(corners, corners[::-1], strict=True):
        assert (x0, abs(bottom - top)) == (x1, 39)


def test_pictures_show_the_bend(page: Page, truth: CurvedPage) -> None:
    blank = Image.new("L", (2480, 2480), 255)
    picture = np.asarray(overlay.draw(blank, page))
    rows = np.flatnonzero((picture == (255, 0, 255)).all(axis=2).any(axis=1))
    assert rows.min() == pytest.approx(bow(1200), abs=2) and np.ptp(rows) > 100
    content = viewer.html(blank, page, "bent", {})
    assert content.count("<polyline") == 1
    base = (draw_stages(truth.image)["lines"] == (255, 0, 255)).all(axis=2)
    x, y = truth.baselines[-1][30] * (base.shape[1] / truth.image.shape[1])
    assert base[int(y) - 3 : int(y) + 4, int(x)].any()
