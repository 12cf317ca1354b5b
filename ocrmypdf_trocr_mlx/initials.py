"""Large initials and the words that they begin, read apart: one word."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from ocrmypdf_trocr_mlx.result import Box, Word

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.layout import LinePart

    Piece = tuple[LinePart, list[Word]]

# With a quotation mark or an inverted mark before the letter.
MOST = 2


def with_initials(row: list[Piece]) -> list[Piece]:
    """The parts of a row with their words; an initial is the first letter of the part after it.

    What was read of an initial but is no letter, as a chapter's number, stays as it is.
    """
    pieces = list(row)
    for k, ((first, letters), (part, words)) in enumerate(itertools.pairwise(row)):
        if first.is_initial and words and len(letters) == 1 and _is_letter(letters[0].text):
            pieces[k] = (first, [])
            pieces[k + 1] = (part, [_begun(letters[0], words[0]), *words[1:]])
    return pieces


def _is_letter(text: str) -> bool:
    return len(text) <= MOST and text[-1].isalpha() and sum(map(str.isalpha, text)) == 1


def _begun(letter: Word, word: Word) -> Word:
    """The word with its first letter: as high as the word, so that it lies on no other line.

    After a capital alone, such as A, another word may begin as well; mostly it goes on.
    """
    low, rest = word.box, word.characters
    own = tuple(
        dataclasses.replace(c, box=Box(c.box.left, low.top, c.box.right, low.bottom))
        for c in letter.characters
    )
    box = Box(min(letter.box.left, low.left), low.top, low.right, low.bottom)
    return dataclasses.replace(word, text=letter.text + word.text, box=box, characters=own + rest)
