"""Letters of the facing page, cut by the edge of the scan."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from test_layout import page, parts_of, put, text_of

from ocrmypdf_trocr_mlx.layout import find_layout

WIDTH, SIZE, ROWS = 900, 30, 12


def lines_of(image: Image.Image) -> list[tuple[float, float]]:
    return [(p.line.left, p.line.right) for p in parts_of(find_layout(np.asarray(image)))]


@pytest.mark.parametrize("turn", [0.0, 1.0])
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_facing_page_is_left_out(side: str, turn: float) -> None:
    image, draw = page(WIDTH, 700)
    for i in range(ROWS):
        put(draw, 160, 60 + 48 * i, text_of(i, 8), SIZE)
        x, text = (-20, "men") if side == "left" else (WIDTH - 38, text_of(i + 3, 3))
        put(draw, x, 60 + 48 * i, text, SIZE)
    lines = lines_of(image.rotate(turn, fillcolor=255, resample=Image.Resampling.BICUBIC))
    assert len(lines) == ROWS
    assert all(right - left > 300 for left, right in lines)


def test_short_lines_of_a_tight_cut_out_stay() -> None:
    image, draw = page(WIDTH, 700)
    for i in range(ROWS):
        put(draw, 1, 60 + 48 * i, "men" if i % 4 == 3 else text_of(i, 8), SIZE)
    assert len(lines_of(image)) == ROWS


def test_notes_in_the_margin_stay() -> None:
    image, draw = page(WIDTH, 700)
    for i in range(ROWS):
        put(draw, 200, 60 + 48 * i, text_of(i, 8), SIZE)
        if i % 4 == 0:
            put(draw, 40, 60 + 48 * i, str(i + 5), SIZE)
    assert len(lines_of(image)) == ROWS + ROWS // 4
