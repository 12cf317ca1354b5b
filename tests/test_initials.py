"""Large initials: found beside their lines, and read as the first letters of words."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps
from test_layout import page, parts_of, put, text_of

from ocrmypdf_trocr_mlx.initials import with_initials
from ocrmypdf_trocr_mlx.layout import LinePart, find_layout
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.result import Box, Word

SIZE, PITCH, LEFT, TOP = 30, 44, 100, 120
LINES = 9


def initial(image: Image.Image, letter: str, lines: int) -> tuple[int, ...]:
    """Draw a letter as high as some lines on a blank page; returns the box of its ink."""
    small = ImageFont.load_default(SIZE)
    _, head, _, foot = small.getbbox("H")
    font = ImageFont.load_default(SIZE * (PITCH * (lines - 1) + foot - head) / (foot - head))
    x, y, _, _ = font.getbbox(letter)
    place = LEFT - x, TOP + head - y
    ImageDraw.Draw(image).text(place, letter, font=font, fill=0)
    box = ImageOps.invert(image).getbbox()
    assert box is not None
    return box


@pytest.mark.parametrize(("letter", "lines"), [("T", 2), ("T", 3), ("A", 3), ("L", 4)])
def test_an_initial_begins_the_first_line_beside_it(letter: str, lines: int) -> None:
    image, draw = page(1100, 700)
    box = initial(image, letter, lines)
    texts = [
        put(draw, box[2] + 8 if i < lines else LEFT, TOP + PITCH * i, text_of(i, 8), SIZE)
        for i in range(LINES)
    ]
    first, *others = parts_of(find_layout(np.asarray(image)))
    assert first.is_initial
    found = (first.line.left, first.line.top, first.line.right, first.line.bottom)
    assert np.abs(np.subtract(found, box)).max() < 5
    assert [part.is_initial for part in others] == [False] * LINES
    for part, text in zip(others, texts, strict=True):
        assert abs(part.line.left - text[0]) < 6
        assert abs(part.line.right - text[2]) < 6


def test_a_large_letter_on_no_baseline_is_a_line() -> None:
    image, draw = page(1100, 700)
    draw.text((60, 300), "K", font=ImageFont.load_default(170), fill=0)
    texts = [put(draw, 400, 80 + PITCH * i, text_of(i, 6), SIZE) for i in range(LINES)]
    parts = parts_of(find_layout(np.asarray(image)))
    assert not any(part.is_initial for part in parts)
    assert len(parts) == len(texts) + 1


def piece(words: list[str], left: float, *, is_initial: bool = False) -> tuple[LinePart, list]:
    boxes = [Box(left + 50 * k, 10, left + 50 * k + 40, 30) for k in range(len(words))]
    line = TextLine(left, left + 50 * len(words), 30, 30, 20, 0, 20)
    part = LinePart(line, np.zeros((4, 4), np.uint8), 0, 1, 3, is_initial)
    return part, [Word(text, box, 0.9) for text, box in zip(words, boxes, strict=True)]


@pytest.mark.parametrize(
    ("letter", "words", "read"),
    [
        ("T", ["his", "one"], ["This", "one"]),
        ("¡A", ["y", "de", "mí"], ["¡Ay", "de", "mí"]),
        ("3", ["Of", "bees"], ["3", "Of", "bees"]),
        ("IX", ["Of", "bees"], ["IX", "Of", "bees"]),
        ("T", [], ["T"]),
        ("", ["his", "one"], ["his", "one"]),
    ],
)
def test_an_initial_is_read_with_its_word(letter: str, words: list[str], read: list[str]) -> None:
    row = [piece([letter] if letter else [], 10, is_initial=True), piece(words, 60)]
    found = [word for _, words in with_initials(row) for word in words]
    assert [word.text for word in found] == read
    if found[0].text == "This":
        assert vars(found[0].box) == {"left": 10, "top": 10, "right": 100, "bottom": 30}
