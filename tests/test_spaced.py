"""Letters set apart are words; words of one letter are not."""

from __future__ import annotations

import pytest

from ocrmypdf_trocr_mlx.recognizer import Reading
from ocrmypdf_trocr_mlx.recognizer.reading import ReadWord
from ocrmypdf_trocr_mlx.spaced import together


def reading(text: str, pitch: float = 20.0, width: float = 10.0) -> Reading:
    """Words as a typewriter with this pitch would place them, letters `width` wide."""
    words, x = [], 0.0
    for word in text.split(" "):
        if word:
            words.append(ReadWord(word, x, x + (len(word) - 1) * pitch / 2 + width, 0.9))
        x += (len(word) + 1) * pitch / 2
    return Reading(tuple(words))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("R E S T R I C T E D", "RESTRICTED"),
        ("RE S T R I C T E D", "RESTRICTED"),
        ("P R E S S   Q U E R Y", "PRESS QUERY"),
        ("no. 5 c o n t e n t s", "no. 5 contents"),
        ("J. R. R. T.", "J. R. R. T."),
        ("I saw a b in it", "I saw a b in it"),
        ("1 2 3 4 5", "1 2 3 4 5"),
        ("A B C", "A B C"),
        ("Cash . . . . . 5.00", "Cash ..... 5.00"),
        ("wait . . . then", "wait . . . then"),
        ("it is so as we do", "it is so as we do"),
        ("", ""),
    ],
)
def test_letters_apart_are_words(text: str, expected: str) -> None:
    assert together(reading(text), 12.0).text == expected


def test_a_joined_word_covers_its_letters() -> None:
    (word,) = together(reading("Q U E R Y"), 12.0).words
    assert (word.left, word.right) == (0.0, 90.0)
    assert word.confidence == pytest.approx(0.9)


def test_letters_at_the_heads_of_columns_stay_apart() -> None:
    assert together(reading("A B C D E", pitch=60.0), 12.0).text == "A B C D E"
