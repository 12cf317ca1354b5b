"""Stains at the ends of lines are no marks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx.recognizer import Reading
from ocrmypdf_trocr_mlx.recognizer.reading import ReadWord
from ocrmypdf_trocr_mlx.stains import without_stains

FONT = ImageFont.load_default(24)
PAPER, PRINT, LETTER = 200, 40, 17.0


def line(
    *words: tuple[str, float], gap: int = 30, pale: tuple[int, ...] = ()
) -> tuple[Reading, np.ndarray]:
    """A line of words with their confidences, some `pale`, and its picture."""
    image = Image.new("L", (600, 40), PAPER)
    draw = ImageDraw.Draw(image)
    x, read = 20, []
    for k, (text, confidence) in enumerate(words):
        draw.text((x, 6), text, font=FONT, fill=120 if k in pale else PRINT)
        right = draw.textbbox((x, 6), text, font=FONT)[2]
        read.append(ReadWord(text, x, right, confidence))
        x = int(right) + gap
    return Reading(tuple(read)), np.asarray(image)


@pytest.mark.parametrize(
    ("words", "pale", "kept"),
    [
        ((("*", 0.9), ("of", 0.98), ("words", 0.98)), (0,), "of words"),
        ((("of", 0.98), ("words", 0.98), ("»", 0.5)), (2,), "of words"),
        ((("-", 0.9), ("of", 0.98), ("words", 0.98), ("*", 0.5)), (0, 3), "of words"),
        # As dark as the words: a dash or a footnote's star.
        ((("-", 0.9), ("of", 0.98), ("words", 0.98), ("*", 0.9)), (), "- of words *"),
        # Read surely, or no mark.
        ((("Total", 0.98), (":", 0.99)), (1,), "Total :"),
        ((("I", 0.9), ("am", 0.98), ("here", 0.98)), (0,), "I am here"),
        # In the middle.
        ((("one", 0.98), ("-", 0.9), ("two", 0.98)), (1,), "one - two"),
        # All of the line is pale.
        ((("-", 0.9), ("one", 0.98), ("two", 0.98)), (0, 1, 2), "- one two"),
        ((("*", 0.5),), (0,), "*"),
        ((), (), ""),
    ],
)
def test_pale_marks_apart_from_a_line_are_stains(
    words: tuple[tuple[str, float], ...], pale: tuple[int, ...], kept: str
) -> None:
    reading, crop = line(*words, pale=pale)
    assert without_stains(reading, crop, LETTER).text == kept


def test_a_mark_by_its_word_is_none() -> None:
    reading, crop = line(("words", 0.98), ("more", 0.98), ("»", 0.5), gap=8, pale=(2,))
    assert without_stains(reading, crop, LETTER) == reading
