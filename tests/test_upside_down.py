"""Lines that stand on their heads on an upright page, drawn here: found, in order, in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import ocrmypdf
import pypdfium2
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout, find_layout
from ocrmypdf_trocr_mlx.reader import PageReader
from ocrmypdf_trocr_mlx.recognizer import Reading, ReadWord, shared
from ocrmypdf_trocr_mlx.result import Box, Line, Page, Word
from ocrmypdf_trocr_mlx.upside_down import MOST, find_upside_down, half_turned, turned_by_half

DPI = 200
FONT = ImageFont.load_default(36)
UPRIGHT = (
    "The committee met in London on 14 March,",
    "and its members were asked to give",
    "their opinion of the new harbour.",
)
PARAGRAPH = (
    "Upside down stands this small",
    "paragraph, printed head to head",
    "with the one above, and it has an",
    "end.",
)
LABEL = "Received 1987"
ALIKE = ("SOS XOX NOON", "8008 6119 1961", "- - - - -", "oo xx oo")

Truth = list[tuple[str, Box]]


def draw(page: Image.Image, lines: Sequence[str], x: int, y: int, turned: bool) -> Truth:
    """Draw lines, the first standing at y or, if turned by half, as its last; the words' boxes."""
    sheet = Image.new("L", page.size, "white")
    pen, boxes = ImageDraw.Draw(sheet), []
    for i, line in enumerate(lines):
        left = float(x)
        for word in line.split():
            ink = Image.new("L", page.size)
            ImageDraw.Draw(ink).text((left, y + 60.0 * i), word, "white", FONT, anchor="ls")
            sheet.paste("black", mask=ink)
            ys, xs = np.nonzero(np.asarray(ink) > 127)
            boxes.append((word, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)))
            left += pen.textlength(f"{word} ", font=FONT)
    width, height = page.size
    if turned:
        sheet = sheet.rotate(180)
        boxes = [
            (word, (width - x1, height - y1, width - x0, height - y0))
            for word, (x0, y0, x1, y1) in boxes
        ]
    page.paste(Image.fromarray(np.minimum(np.asarray(page), np.asarray(sheet))))
    return [(word, Box(*box)) for word, box in boxes]


def make_page() -> tuple[Image.Image, Truth, Truth]:
    """The page, the words that stand upright, and those that do not."""
    page = Image.new("L", (1200, 1000), "white")
    upright = draw(page, UPRIGHT, 120, 140, turned=False)
    on_head = draw(page, (LABEL,), 700, 100, turned=True)
    on_head += draw(page, PARAGRAPH, 140, 280, turned=True)
    return page, upright, on_head


def angle_of(line: Line) -> int:
    return round(abs(math.degrees(line.angle)))


def assert_at(words: Sequence[Word], truth: Truth, tolerance: float) -> None:
    assert [word.text for word in words] == [text for text, _ in truth]
    for found, (text, box) in zip(words, truth, strict=True):
        off = np.subtract(list(vars(found.box).values()), list(vars(box).values()))
        assert np.abs(off).max() <= tolerance, (text, off)


@pytest.fixture(scope="module")
def reader() -> PageReader:
    return PageReader(shared(device="cpu"))


@pytest.fixture(scope="module")
def read(reader: PageReader) -> Page:
    return reader.read(make_page()[0])


def test_they_are_read_in_their_own_order_each_paragraph_a_block(read: Page) -> None:
    assert [[line.text for p in b.paragraphs for line in p.lines] for b in read.blocks] == [
        list(UPRIGHT),
        [LABEL],
        list(PARAGRAPH),
    ]
    assert [[angle_of(line) for p in b.paragraphs for line in p.lines] for b in read.blocks] == [
        [0] * len(UPRIGHT),
        [180],
        [180] * len(PARAGRAPH),
    ]


def test_words_and_baselines_lie_where_they_were_drawn(read: Page) -> None:
    _, upright, on_head = make_page()
    assert_at([w for line in read.lines for w in line.words], upright + on_head, 4)
    ends = [(*line.baseline[0], *line.baseline[1]) for line in list(read.lines)[-5:]]
    width, height = 1200, 1000
    for (x0, y0, x1, y1), y in zip(ends, (100, 280, 340, 400, 460), strict=True):
        assert y0 == pytest.approx(height - y, abs=2) and y1 == pytest.approx(height - y, abs=2)
        assert x0 > x1
    assert ends[0][0] == pytest.approx(width - 700, abs=6)
    for line in list(read.lines)[-5:-1]:
        assert line.ascent == pytest.approx(FONT.getbbox("d", anchor="ls")[1] * -1, abs=3)


def test_on_a_page_that_is_not_level(reader: PageReader) -> None:
    page, upright, on_head = make_page()
    skewed = page.rotate(2, fillcolor="white", resample=Image.Resampling.BICUBIC)
    lines = list(reader.read(skewed).lines)
    assert [line.text for line in lines] == [*UPRIGHT, LABEL, *PARAGRAPH]
    assert math.degrees(lines[-2].angle) % 360 == pytest.approx(182, abs=0.3)
    cos, sin = math.cos(math.radians(2)), math.sin(math.radians(2))
    for word, (_, box) in zip(
        [w for line in lines for w in line.words], upright + on_head, strict=True
    ):
        x, y = (box.left + box.right) / 2 - 600, (box.top + box.bottom) / 2 - 500
        found = ((word.box.left + word.box.right) / 2, (word.box.top + word.box.bottom) / 2)
        assert found == pytest.approx((600 + x * cos + y * sin, 500 - x * sin + y * cos), abs=4)


def test_what_looks_alike_either_way_stays_upright(reader: PageReader) -> None:
    page = Image.new("L", (1200, 900), "white")
    draw(page, UPRIGHT + ALIKE, 120, 140, turned=False)
    draw(page, ALIKE, 120, 100, turned=True)
    read = reader.read(page)
    assert {angle_of(line) for line in read.lines} == {0}
    assert {"SOS", "XOX", "8008"} <= {word.text for word in read.words}


def test_in_the_text_layer(tmp_path: Path) -> None:
    page, upright, on_head = make_page()
    page.save(tmp_path / "in.pdf", resolution=DPI)
    ocrmypdf.ocr(
        tmp_path / "in.pdf",
        tmp_path / "out.pdf",
        plugins=["ocrmypdf_trocr_mlx"],
        sidecar=tmp_path / "out.txt",
        progress_bar=False,
    )
    assert (tmp_path / "out.txt").read_text().split() == [w for w, _ in upright + on_head]
    found = characters_in(tmp_path / "out.pdf")
    for word, box in on_head:
        inside = [
            (x, char)
            for char, x, y in found
            if box.left - 4 < x < box.right + 4 and box.top - 8 < y < box.bottom + 8
        ]
        assert "".join(char for _, char in sorted(inside, reverse=True)) == word, word


def characters_in(pdf: Path) -> list[tuple[str, float, float]]:
    """Of each character the middle of its box, in pixels, y downwards."""
    page = pypdfium2.PdfDocument(pdf)[0]
    text, height, found = page.get_textpage(), page.get_height(), []
    for i in range(text.count_chars()):
        char = text.get_text_range(i, 1)
        if char.strip():
            left, bottom, right, top = text.get_charbox(i)
            x, y = (left + right) / 2, height - (bottom + top) / 2
            found.append((char, x * DPI / 72, y * DPI / 72))
    return found


def test_the_turned_line_stands_on_its_feet() -> None:
    """No recogniser: what the layout makes of such lines, and what is made of that."""
    page, _, on_head = make_page()
    layout = find_layout(np.asarray(page))
    back = half_turned(layout).to_page
    turned = [turned_by_half(part) for part in layout.parts]
    for y, left in ((100, on_head[0][1].right), (340, on_head[7][1].right)):
        [part] = [part for part in turned if abs(part.line.y_left + 1000 - y) < 20]
        ends = [(part.line.left, part.line.y_left, 1), (part.line.right, part.line.y_right, 1)]
        (x0, y0), (x1, y1) = (back @ end for end in ends)
        assert (x0, y0, y1) == pytest.approx((left, 1000 - y, 1000 - y), abs=2)
        assert x1 < x0 - 200
        # The crop tells the same place, and stands on its baseline from end to end.
        ink = part.crop < 128
        first = part.line.left - part.margin + np.flatnonzero(ink.any(axis=0))[0] / part.scale
        assert first == pytest.approx(part.line.left, abs=4)
        for third in np.array_split(ink, 3, axis=1):
            rows = third.sum(axis=1)
            feet = part.baseline_row - np.flatnonzero(rows > 0.5 * rows.max())[-1]
            assert abs(feet) <= 2.5 * part.scale + 1


@pytest.mark.parametrize(
    ("upright", "turned", "text", "heads"),
    [
        (0.75, 0.97, "words enough", True),
        (0.4, 0.97, "words enough", True),  # left out, upright
        (0.75, 0.89, "words enough", False),  # not sure
        (0.89, 0.93, "words enough", False),  # not much surer
        (0.91, 0.99, "words enough", False),  # sure enough as it is
        (0.75, 0.97, "ab.--=", False),
    ],
)
def test_what_is_believed(upright: float, turned: float, text: str, heads: bool) -> None:
    layout = layout_of(UPRIGHT)
    readings = {id(part): told("words enough", 0.97) for part in layout.parts}
    readings[id(layout.parts[1])] = told(text, upright)
    found = find_upside_down(layout, readings, lambda ps, _: [word(text, turned) for _ in ps])
    assert list(found) == ([id(layout.parts[1])] if heads else [])


def layout_of(lines: Sequence[str]) -> PageLayout:
    page = Image.new("L", (1200, 200 + 60 * len(lines)), "white")
    draw(page, lines, 120, 140, turned=False)
    layout = find_layout(np.asarray(page))
    assert len(layout.parts) == len(lines)
    return layout


def told(text: str, confidence: float) -> Reading:
    return Reading((ReadWord(text, 0.0, 1.0, confidence),))


def word(text: str, confidence: float) -> list[Word]:
    return [Word(text, Box(0, 0, 1, 1), confidence)]


@pytest.mark.parametrize(("sure", "tried"), [(0.95, 0), (0.87, 0), (0.7, MOST)])
def test_ordinary_pages_cost_little(sure: float, tried: int) -> None:
    layout = layout_of(UPRIGHT[:1] * (MOST + 4))
    asked: list[LinePart] = []

    def read(parts: Sequence[LinePart], turned: PageLayout) -> list[list[Word]]:
        asked.extend(parts)
        return [word("no better", sure) for _ in parts]

    readings = {id(part): told("words enough", sure) for part in layout.parts}
    assert find_upside_down(layout, readings, read) == {}
    assert len(asked) == tried


@pytest.mark.parametrize(("others", "heads"), [(0.7, 4), (0.95, 0)])
def test_a_short_word_goes_with_its_paragraph(others: float, heads: int) -> None:
    """It is too short to tell by itself."""
    layout = layout_of([*UPRIGHT, "on"])
    widest = min(part.line.width for part in layout.parts) + 1

    def read(parts: Sequence[LinePart], turned: PageLayout) -> list[list[Word]]:
        return [
            word("on", 0.95) if part.line.width < widest else word("their heads", 0.97)
            for part in parts
        ]

    readings = {
        id(part): told("uo", 0.9) if part.line.width < widest else told("words enough", others)
        for part in layout.parts
    }
    assert len(find_upside_down(layout, readings, read)) == heads
