"""Boxes of words hold their ink, and nothing of the rules under them."""

from __future__ import annotations

import numpy as np
import pytest

from ocrmypdf_trocr_mlx import places
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.layout.page import LinePart

BASE = 40  # row of the crop


def part(*inked: tuple[int, int, int, int]) -> LinePart:
    """A line of 200 x 64 pixels with ink in (left, top, right, bottom)."""
    crop = np.full((64, 200), 255, np.uint8)
    for left, top, right, bottom in inked:
        crop[top:bottom, left:right] = 0
    line = TextLine(0.0, 200.0, float(BASE), float(BASE), ascent=30.0, descent=14.0, size=20.0)
    return LinePart(line, crop, margin=0.0, scale=1.0, baseline_row=float(BASE))


LETTERS = ((20, 15, 24, 40), (30, 22, 34, 40), (44, 20, 48, 40))
TAIL = (30, 40, 34, 48)
RULE = (0, 50, 200, 53)


@pytest.mark.parametrize(
    ("inked", "expected"),
    [
        (LETTERS, (25, 0)),
        ((*LETTERS, TAIL), (25, 8)),
        ((*LETTERS, RULE), (25, 0)),
        ((*LETTERS, TAIL, RULE), (25, 8)),
        ((RULE,), (30, 14)),  # so thin that the line's own extent is taken
        (((20, 24, 48, 27), (20, 32, 48, 35)), (16, -5)),  # =
    ],
    ids=["letters", "tail", "rule", "tail and rule", "underscores", "equals sign"],
)
def test_ink_of_a_word(
    inked: tuple[tuple[int, int, int, int], ...], expected: tuple[int, int]
) -> None:
    above, below = places.ink_rows(part(*inked), 18, 50)

    assert (above, below) == pytest.approx(expected, abs=1)
