"""Dark boxes beside lines: initials cut in wood, white on black."""

from __future__ import annotations

import random

import numpy as np
from PIL import ImageDraw, ImageFont
from test_layout import page, parts_of, put, text_of

from ocrmypdf_trocr_mlx.layout import find_layout

BOX = (80, 150, 290, 360)


def woodcut(draw: ImageDraw.ImageDraw) -> None:
    """A white letter on black, with leaves about it."""
    chance = random.Random("woodcut")
    x0, y0, x1, y1 = BOX
    draw.rectangle(BOX, fill=0)
    for _ in range(90):
        x, y = chance.uniform(x0 + 10, x1 - 25), chance.uniform(y0 + 10, y1 - 25)
        draw.ellipse((x, y, x + chance.uniform(5, 14), y + chance.uniform(5, 14)), fill=255)
    draw.text((x0 + 30, y0 - 25), "T", font=ImageFont.load_default(220), fill=255)


def test_lines_beside_a_woodcut_begin_beside_it() -> None:
    image, draw = page(1200, 900)
    woodcut(draw)
    beside = [put(draw, 300, 165 + 48 * i, text_of(i, 8), 30) for i in range(4)]
    below = [put(draw, 80, 375 + 48 * i, text_of(i, 10), 30) for i in range(8)]
    lines = [p.line for p in parts_of(find_layout(np.asarray(image)))]
    words = [line for line in lines if line.right > BOX[2] + 20]
    assert len(words) == len(beside) + len(below)
    for line, box in zip(sorted(words, key=lambda w: w.top), beside + below, strict=True):
        assert abs(line.left - box[0]) < 6
        assert abs(line.right - box[2]) < 6


def test_a_dark_row_is_one_line() -> None:
    image, draw = page(1200, 700)
    draw.rectangle((80, 90, 1100, 150), fill=0)
    heading = put(draw, 100, 100, "Heading of a table", 30, ink=255)
    for i in range(8):
        put(draw, 100, 180 + 50 * i, text_of(i, 8), 30)
    first = parts_of(find_layout(np.asarray(image)))[0]
    assert abs(first.line.left - heading[0]) < 6
    assert abs(first.line.right - heading[2]) < 6
    assert np.median(first.crop) > 200  # dark on light
