"""What stands above and below a line, but beside it, is no part of it."""

from __future__ import annotations

import numpy as np
from test_layout import page, parts_of, put, text_of

from ocrmypdf_trocr_mlx.layout import find_layout
from ocrmypdf_trocr_mlx.layout.segments import Segment
from ocrmypdf_trocr_mlx.layout.strays import without_strays


def row(left: int, count: int, foot: int, height: int = 10) -> list[list[int]]:
    return [[left + 12 * i, foot - height, left + 12 * i + 9, foot] for i in range(count)]


def segment(chars: list[list[int]]) -> Segment:
    return Segment(np.array(chars, float), 50.0 * len(chars))


def test_a_pile_at_the_end_of_a_line_is_taken_off() -> None:
    pile = [[400, y, 409, y + 10] for y in (40, 52, 64, 120, 132)]
    own, *strays = without_strays(segment(row(100, 20, 100) + pile))
    assert (own.top, own.bottom) == (90, 100)
    assert [stray.top for stray in strays] == [40, 52, 64, 120, 132]
    assert all(len(stray.chars) == 1 for stray in strays)
    assert own.area == 50.0 * 20


def test_accents_commas_and_descenders_stay() -> None:
    marks = [[103, 84, 108, 87], [200, 98, 203, 106], [230, 91, 238, 105]]
    tall = [[150, 86, 159, 100], [151, 80, 157, 85]]  # a capital with an accent
    line = segment(row(100, 20, 100) + marks + tall)
    (whole,) = without_strays(line)
    assert whole is line


def test_a_number_up_the_margin_does_not_heighten_the_line_beside_it() -> None:
    image, draw = page(1000, 800)
    boxes = [put(draw, 80, 60 + 60 * i, text_of(i, 9), 30) for i in range(8)]
    end = max(box[2] for box in boxes)
    for i in range(9):  # from above the fourth line to below the sixth
        put(draw, end + 30, 215 + 23 * i, "8", 30)
    lines = [p for p in parts_of(find_layout(np.asarray(image))) if p.line.left < 100]
    assert len(lines) == len(boxes)
    for part, box in zip(lines, boxes, strict=True):
        assert part.line.top > box[1] - 12  # less than half a letter
        assert part.line.bottom < box[3] + 12
