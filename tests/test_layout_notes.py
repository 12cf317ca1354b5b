"""Notes beside running text are read apart from it; what stands on its rows is not."""

from __future__ import annotations

import pytest

from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.layout.order import reading_order


def line(left: float, right: float, y: float, size: float = 20.0) -> TextLine:
    return TextLine(left, right, y, y, size, 0.3 * size, size)


TEXT = [line(500, 1500 - 40 * (i % 3), 100 + 50 * i) for i in range(8)]
HEADING = line(400, 1300, 30)


@pytest.mark.parametrize("x", [250, 1600])
def test_notes_come_after_the_text_beside_them(x: float) -> None:
    notes = [line(x, x + 150, 112 + 30 * i, 14) for i in range(5)]
    blocks = reading_order([HEADING, *notes, *TEXT])
    read = [t for block in blocks for paragraph in block for row in paragraph for t in row]
    assert read == [HEADING, *TEXT, *notes]
    assert [t for row in blocks[-1][0] for t in row] == notes


@pytest.mark.parametrize("every", [1, 2])
def test_numbers_of_lines_stay_beside_them(every: int) -> None:
    numbers = [line(420, 450, t.y_left + 1, 14) for t in TEXT[::every]]
    (block,) = reading_order([*numbers, *TEXT])
    rows = [row for paragraph in block for row in paragraph]
    assert [row[0] for row in rows[::every]] == numbers and len(rows) == len(TEXT)
