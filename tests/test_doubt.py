"""Which readings are left out of a page."""

from __future__ import annotations

import pytest

from ocrmypdf_trocr_mlx.doubt import is_doubtful, without_rules
from ocrmypdf_trocr_mlx.recognizer import Reading
from ocrmypdf_trocr_mlx.recognizer.reading import ReadWord


def reading(text: str, confidence: float) -> Reading:
    return Reading(tuple(ReadWord(word, 0, 10, confidence) for word in text.split()))


@pytest.mark.parametrize(
    ("text", "confidence", "size", "doubtful"),
    [
        ("Total amount 12.50", 0.9, 20, False),
        ("Total amount 12.50", 0.4, 20, True),
        ("7", 0.95, 20, False),
        ("7", 0.6, 20, True),
        ("ski", 0.7, 20, True),
        ("CHRISTI", 0.7, 20, True),
        ("CHRISTI", 0.8, 20, False),
        ("Christi et al.", 0.7, 20, False),
        ("footnote text", 0.6, 14, False),
        ("footnote text", 0.6, 6, True),
        ("a large heading", 0.75, 50, False),
        ("a signature", 0.65, 50, True),
        ("a signature", 0.65, 40, False),
        ("- - - -", 0.99, 20, True),
        ("*****", 0.99, 20, True),
        ("-.-.-", 0.99, 20, True),
        ("++/--/**", 0.89, 20, False),
        ("-", 0.99, 20, False),
        ("(1)", 0.99, 20, False),
        ("*", 0.99, 6, True),
        (":.", 0.99, 6, True),
        ("7", 0.99, 6, False),
        ("ma ma ma ma ma", 0.99, 20, True),
        ("had had enough of that", 0.99, 20, False),
        ("CASH . . . . . . . . . . . .", 0.98, 20, False),
        ("8888888888888888", 0.9, 20, True),
        ("XXXX XXXX XXXX XXXX", 0.9, 20, True),
        ("1000000000", 0.99, 20, False),
        ("", 1.0, 20, True),
    ],
)
def test_doubt(text: str, confidence: float, size: float, doubtful: bool) -> None:
    assert is_doubtful(reading(text, confidence), size, 20, floor=0.5) is doubtful


@pytest.mark.parametrize(
    ("read", "kept"),
    [
        ("_NICOSIA __31_ paid", "NICOSIA 31 paid"),
        ("Name: ______ Date ___", "Name: Date"),
        ("file_name A_1", "file_name A_1"),
        ("Vol. ****** 200 ---- = ==", "Vol. 200 = =="),
        ("Contents ........ 12 *** --", "Contents ........ 12 *** --"),
        ("____", ""),
    ],
)
def test_rules_are_no_text(read: str, kept: str) -> None:
    assert without_rules(reading(read, 0.9)).text == kept


def test_a_word_without_its_rule_is_where_its_letters_are() -> None:
    (word,) = without_rules(Reading((ReadWord("__five_", 100, 170, 0.9),))).words
    assert (word.text, word.left, word.right, word.confidence) == ("five", 120, 160, 0.9)
