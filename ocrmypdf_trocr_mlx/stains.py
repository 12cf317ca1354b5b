"""Stains at the ends of lines: read as a star, a dash or a quotation mark apart from the words.

A stain is paler than print; a mark as pale as one counts only if it is read surely.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ocrmypdf_trocr_mlx.levels import percentiles

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.recognizer import Reading
    from ocrmypdf_trocr_mlx.recognizer.reading import ReadWord

# A stain has at most this share of the contrast of the line's words, and stands at least so many
# heights of its letters off them.
PALE, APART = 0.7, 0.6
# The ink of a mark is at least so many hundredths of its columns.
INK = 0.5
# Colons of worn thermal print are pale, but read more surely than that.
SURE = 0.97


def without_stains(reading: Reading, crop: np.ndarray, letter: float) -> Reading:
    """A reading of a crop, uint8 (h, w), less what stains at its ends were read as.

    `letter`: height of the line's letters in pixels of the crop.
    """
    words = list(reading.words)
    if len(words) < 2 or not (_may_be(words[0]) or _may_be(words[-1])):
        return reading
    light = percentiles(crop, (90,))[0]
    pale = PALE * float(np.median([_contrast(word, crop, light) for word in words]))
    for end, beside in ((0, 1), (-1, -2)):
        if len(words) > 1 and _may_be(words[end]):
            gap = max(words[end].left, words[beside].left) - min(
                words[end].right, words[beside].right
            )
            if gap > APART * letter and _contrast(words[end], crop, light) < pale:
                del words[end]
    return dataclasses.replace(reading, words=tuple(words))


def _may_be(word: ReadWord) -> bool:
    return word.confidence < SURE and not any(map(str.isalnum, word.text))


def _contrast(word: ReadWord, crop: np.ndarray, light: float) -> float:
    """How much darker than the paper the darkest ink of a word is."""
    columns = crop[:, int(word.left) : int(np.ceil(word.right)) + 1]
    return float(light - percentiles(columns, (INK,))[0]) if columns.size else 0.0
