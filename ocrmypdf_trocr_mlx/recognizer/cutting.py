"""A line on its way to the model and back: cut into pieces, and put together from what they say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .align import place_words
from .characters import FINE
from .ink import ink_profile
from .pieces import Fitting, LineImage, Transcript
from .reading import ReadCharacter, Reading, ReadWord
from .split import Piece, split_line

Read = TypeVar("Read", ReadWord, ReadCharacter)

# A text of which less was drafted, too, may be made up: the less, the less its words are sure.
_AGREED = 0.5


class CutLine:
    """A line, uint8 (h, w); `images`: its pieces as the model takes them, none if it is blank."""

    def __init__(self, crop: np.ndarray, fitting: Fitting, characters: bool = False):
        """With `characters` the words of the reading have theirs.  Raises ValueError."""
        if crop.ndim != 2 or crop.dtype != np.uint8:
            raise ValueError(f"a line must be uint8 (h, w), not {crop.dtype} {crop.shape}")
        self._ink = ink = ink_profile(crop)
        self._pieces = [] if ink.is_blank else split_line(ink, fitting.max_aspect)
        self._fine = ink_profile(crop, FINE) if characters else None
        self.images: list[LineImage] = []
        for piece in self._pieces:
            left, right = (round(x * ink.scale) for x in (piece.left, piece.right))
            self.images.append(fitting(crop[:, left : max(right, left + 1)]))

    def reading(self, transcripts: Sequence[Transcript]) -> Reading:
        """What the line says, as its pieces say this."""
        words: list[ReadWord] = []
        for piece, read in zip(self._pieces, transcripts, strict=True):
            _append(words, self._place(piece, read), piece.after_gap)
        return Reading(tuple(words))

    def _place(self, piece: Piece, read: Transcript) -> list[ReadWord]:
        """Its words, in pixels of the crop; less sure where they were drafted otherwise."""
        ink, fine = self._ink, self._fine
        part = ink[piece.left : piece.right]
        if fine is not None:
            k = ink.scale / fine.scale
            fine = fine[round(piece.left * k) : round(piece.right * k)]
        trust = min(1.0, read.agreement / _AGREED)
        column_width = read.column_share * len(part.columns)
        words = place_words(read.texts, read.logprobs, read.attention, column_width, part, fine)
        return [_on_line(word, piece.left, ink.scale, trust) for word in words]


def _on_line(word: ReadWord, left: int, scale: float, trust: float) -> ReadWord:
    """A word of a piece that begins at column `left`, in pixels of the crop."""

    def moved(read: Read) -> Read:
        return dataclasses.replace(
            read,
            left=(left + read.left) * scale,
            right=(left + read.right) * scale,
            confidence=trust * read.confidence,
        )

    return dataclasses.replace(moved(word), characters=tuple(map(moved, word.characters)))


def _append(words: list[ReadWord], more: list[ReadWord], after_gap: bool) -> None:
    """Add a piece's words; a cut through a word is mended."""
    if words and more and not after_gap:
        a, b = words.pop(), more.pop(0)
        words.append(a.joined(b, min(a.confidence, b.confidence)))
    words.extend(more)
