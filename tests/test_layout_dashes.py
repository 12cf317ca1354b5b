"""Dashes alone in a column."""

from __future__ import annotations

import numpy as np
from test_layout import page, parts_of, put, text_of

from ocrmypdf_trocr_mlx.layout import find_layout

ROWS, LEFT, NUMBER, PRICE = 8, 100, 800, 980


def test_a_dash_for_a_price_is_a_word_of_its_row() -> None:
    image, draw = page(1200, 700)
    rows = []
    for i in range(ROWS):
        put(draw, LEFT, 80 + 60 * i, text_of(i, 5), 32)
        rows.append(put(draw, NUMBER, 80 + 60 * i, f"({237 + i})", 32))
        if i % 3 == 1:
            draw.rectangle((PRICE + 10, rows[-1][3] - 17, PRICE + 52, rows[-1][3] - 15), fill=0)
        else:
            put(draw, PRICE, 80 + 60 * i, f"{100 * i + 450}", 32)
    lines = [p.line for p in parts_of(find_layout(np.asarray(image)))]
    dashes = [line for line in lines if line.left > PRICE + 5 and line.width < 50]
    assert len(dashes) == len(range(1, ROWS, 3))
    for line, row in zip(sorted(dashes, key=lambda d: d.top), rows[1::3], strict=True):
        assert abs(line.left - (PRICE + 10)) < 4
        assert abs(line.width - 42) < 6
        assert abs(line.y_left - row[3]) < 8  # stands where the row's letters do
    others = [line for line in lines if line.left > NUMBER - 20 and line not in dashes]
    assert len(others) == 2 * ROWS - len(dashes)


def test_rules_to_write_on_are_none() -> None:
    image, draw = page(1200, 700)
    for i in range(ROWS):
        box = put(draw, LEFT, 80 + 60 * i, text_of(i, 5), 32)
        draw.rectangle((box[2] + 60, box[3] - 8, box[2] + 110, box[3] - 6), fill=0)
    lines = [p.line for p in parts_of(find_layout(np.asarray(image)))]
    assert len(lines) == ROWS
