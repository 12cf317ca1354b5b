"""What was read where there is no text: a recogniser says something about every crop it is given.

Stains, stamps, rules and pictures come out as lone marks, rows of dashes, words over and over, or
as words it is unsure of.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the plugin's options are declared from here, without MLX
    from ocrmypdf_trocr_mlx.recognizer import Reading
    from ocrmypdf_trocr_mlx.recognizer.reading import ReadWord

# Chosen on development pages: what is read less surely is mostly not there, and handwriting read
# less surely is wrong in most of its characters.
DEFAULT_MIN_CONFIDENCE = 0.7

# Of so few characters, a word, a recogniser is easily sure; they must be this much surer: on
# development pages words read less surely were mostly wrong, or none at all.
_SHORT = 9
_STRICTER = 0.5
# A row of more marks than that is no punctuation.
_MARKS = 2
# So many of these marks in a row are a rule, or a chart's grid.
_RULE, _RULE_MARKS = 4, frozenset("-*=~–—|")
# A letter or digit over and over is a loop of the recogniser, or a form's row of X.
_LONG_LOOP = 12
# Letters lower than this share of the page's usual ones are mostly specks and stains.
_SMALL = 0.6
# Letters so many times as high are mostly signatures and scrawls; headings are read surely.
_LARGE = 2.2


def is_doubtful(reading: Reading, size: float, usual_size: float, floor: float) -> bool:
    """Is a line better left out?

    `size` is the height of its letters, `usual_size` that of most letters of the page; `floor`
    the confidence, 0 to 1, that a line needs, as a mean over its characters.
    """
    words = reading.words
    length = sum(len(word.text) for word in words)
    if not length:
        return True
    confidence = sum(word.confidence * len(word.text) for word in words) / length
    is_small = size < _SMALL * usual_size
    if is_small and not any(c.isalnum() for c in reading.text):
        return True  # a speck: read as a star or a colon, surely
    if length <= _SHORT or is_small or size > _LARGE * usual_size:
        floor += _STRICTER * (1 - floor)
    return confidence < floor or _is_ornament(reading.text) or _is_loop(reading)


def without_rules(reading: Reading) -> Reading:
    """A reading less what rules are read as: underscores at the ends of words, rows of one mark."""
    words = [word for word in map(_without_underscores, reading.words) if not _is_rule(word.text)]
    return dataclasses.replace(reading, words=tuple(words))


def _without_underscores(word: ReadWord) -> ReadWord:
    """Characters are taken to be of one width where it is not known where each ends."""
    text = word.text.strip("_")
    if text == word.text:
        return word
    start = len(word.text) - len(word.text.lstrip("_"))
    end = start + len(text)
    if text and word.characters:
        left, right = word.characters[start].left, word.characters[end - 1].right
    else:
        width = (word.right - word.left) / len(word.text)
        left, right = word.left + width * start, word.left + width * end
    return word.part(start, end, left, right)


def _is_rule(text: str) -> bool:
    """Nothing, or one mark over and over: dots are leaders, and stay."""
    return not text or (len(text) >= _RULE and len(set(text)) == 1 and text[0] in _RULE_MARKS)


def _is_ornament(text: str) -> bool:
    """Three or more marks of one or two kinds, no letter or digit: a rule, a border, dots.

    Marks of three kinds are a key to a table's signs, such as +/-/*.
    """
    marks = text.replace(" ", "")
    return len(marks) > _MARKS and len(set(marks)) < 3 and not any(c.isalnum() for c in marks)


def _is_loop(reading: Reading) -> bool:
    """Most words repeat the one before them, or all of it is one letter or digit: leaders, with or
    without spaces between their dots, are none."""
    letters = [c for c in reading.text if c.isalnum()]
    if len(letters) >= _LONG_LOOP and len(set(letters)) == 1:
        return True
    pairs = list(itertools.pairwise(w.text for w in reading.words))
    repeated = sum(a == b and any(map(str.isalnum, a)) for a, b in pairs)
    return len(pairs) >= 3 and repeated > len(pairs) / 2
