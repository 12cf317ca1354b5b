"""Ink of a line, column by column: rules under words leave their gaps open."""

from __future__ import annotations

import numpy as np
import pytest

from ocrmypdf_trocr_mlx.recognizer.ink import ink_profile
from ocrmypdf_trocr_mlx.recognizer.split import split_line

HEIGHT = 40
WORDS = ((10, 100), (130, 200), (230, 330))


def line(*words: tuple[int, int], slope: float = 0.0, rule: tuple[int, int] | None) -> np.ndarray:
    """Words of upright strokes; a rule below them, three pixels thick, its edges not quite even."""
    crop = np.full((HEIGHT, 340), 255, np.uint8)
    for left, right in words:
        for x in range(left, right, 9):
            crop[8:28, x : x + 7] = 0
    if rule is not None:
        for x in range(*rule):
            y = 33 + round(slope * x) + (x % 7 == 0)
            crop[y : y + 3, x] = 0
    return crop


def wide_gaps(crop: np.ndarray) -> list[tuple[int, int]]:
    return [(a, b) for a, b in ink_profile(crop).free_runs() if a and b < 340 and b - a > 20]


@pytest.mark.parametrize("slope", [0.0, 0.01, -0.005])
@pytest.mark.parametrize("rule", [None, (0, 340), (120, 240)])
def test_gaps_between_underlined_words(rule: tuple[int, int] | None, slope: float) -> None:
    gaps = wide_gaps(line(*WORDS, rule=rule, slope=slope))

    assert [round(a, -1) for a, _ in gaps] == [100, 200]
    assert [round(b, -1) for _, b in gaps] == [130, 230]


def test_an_underlined_line_is_cut_between_its_words() -> None:
    pieces = split_line(ink_profile(line(*WORDS, rule=(0, 340), slope=0.01)), 6.0)

    assert len(pieces) == 2
    assert pieces[1].after_gap
    assert 100 <= pieces[0].right <= 130 or 200 <= pieces[0].right <= 230


def test_a_blank_to_be_filled_in_is_ink() -> None:
    profile = ink_profile(line((10, 100), rule=(110, 330)))

    assert profile.columns[120:320].all()
