"""Specks above and below letters, read as marks that the page's language has not.

A mark of a language stands on many letters of a page, and most are read surely; a speck of dust
under an n is a cedilla once.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocrmypdf_trocr_mlx.result import Word

# So surely print is read; where most words are read less surely, they are the measure.
SURE = 0.97
# Of fewer words one cannot say what marks they lack.
WORDS = 30


def remove_specks(words: Sequence[Word]) -> None:
    """Take marks that no word of the page has surely off its words, and off their characters."""
    for word, text in zip(words, without_specks(words), strict=True):
        word.text = text
        for character, c in zip(word.characters, text, strict=False):
            character.text = c


def without_specks(words: Sequence[Word]) -> list[str]:
    """The texts of a page's words, less marks that no word of the page has surely."""
    texts = [word.text for word in words]
    if len(words) < WORDS or all(map(str.isascii, texts)):
        return texts
    usual = float(np.median([word.confidence for word in words]))
    sure = [word.confidence >= min(SURE, usual) for word in words]
    known = {mark for text, k in zip(texts, sure, strict=True) if k for mark in _marks(text)}
    return [
        text if k or _marks(text) <= known else "".join(_plain(c, known) for c in text)
        for text, k in zip(texts, sure, strict=True)
    ]


def _marks(text: str) -> set[str]:
    """The marks on Latin letters of a text."""
    if text.isascii():
        return set()
    return {mark for c in text if _is_latin(c) for mark in unicodedata.normalize("NFD", c)[1:]}


def _plain(c: str, known: set[str]) -> str:
    """A letter, without marks if one of them is not `known`."""
    return c if _marks(c) <= known else unicodedata.normalize("NFD", c)[0]


def _is_latin(c: str) -> bool:
    return c.isalpha() and unicodedata.name(c, "").startswith("LATIN")
