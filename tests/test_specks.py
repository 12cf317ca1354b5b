"""Specks on letters are no marks of a language that the page is not in."""

from __future__ import annotations

import pytest

from ocrmypdf_trocr_mlx.result import Box, Word
from ocrmypdf_trocr_mlx.specks import WORDS, without_specks

PLAIN = [("word", 0.98)] * WORDS


def read(*words: tuple[str, float]) -> list[str]:
    return without_specks([Word(text, Box(0, 0, 9, 9), sure) for text, sure in words])


@pytest.mark.parametrize(
    ("others", "unsure", "text"),
    [
        (PLAIN, ("trasņochada", 0.95), "trasnochada"),
        (PLAIN, ("FUYÍ", 0.83), "FUYI"),
        # The same mark on another letter.
        ([*PLAIN, ("manière", 0.98)], ("succès", 0.9), "succès"),
        ([*PLAIN, ("manière", 0.98)], ("mùrs", 0.9), "mùrs"),
        ([*PLAIN, ("manière", 0.98)], ("țété", 0.6), "tete"),
        ([*PLAIN, ("né", 0.98)], ("țété", 0.6), "tété"),
        # A name.
        (PLAIN, ("Dvořák", 0.98), "Dvořák"),
        # Letters of their own, and marks of other scripts.
        (PLAIN, ("Łøßæ", 0.6), "Łøßæ"),
        (PLAIN, ("мой", 0.6), "мой"),
        # Too little to tell; and handwriting, of which nothing is read as surely as print.
        (PLAIN[:5], ("café", 0.9), "café"),
        ([("word", 0.8)] * WORDS, ("café", 0.9), "café"),
        ([("word", 0.8)] * WORDS, ("café", 0.6), "cafe"),
    ],
)
def test_specks(others: list[tuple[str, float]], unsure: tuple[str, float], text: str) -> None:
    *rest, found = read(*others, unsure)
    assert found == text
    assert rest == [word for word, _ in others]


def test_a_page_without_words() -> None:
    assert read() == []
