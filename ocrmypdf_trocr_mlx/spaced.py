"""Words set with spaces between their letters, as headings are: together, they can be found.

So are the dots of leaders.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ocrmypdf_trocr_mlx.recognizer import Reading
    from ocrmypdf_trocr_mlx.recognizer.reading import ReadWord

# So many letters in a row, apart by no more than this many letter heights, are spaced out; a gap
# this many times their usual one parts words.
LEAST, MOST_GAP, WORD_GAP = 4, 1.3, 1.5
# Of two letters that stand a little closer the recogniser makes one word.
PAIR = 2


def together(reading: Reading, size: float) -> Reading:
    """A reading whose letters are `size` pixels high, with spaced words as one word each."""
    words: list[ReadWord] = []
    for group in _groups(reading.words):
        words += _joined(group, size)
    return dataclasses.replace(reading, words=tuple(words))


def _groups(words: Sequence[ReadWord]) -> Iterator[list[ReadWord]]:
    """Words in a row that may be letters of one word, those of one case, or dots of a leader, and
    others singly."""
    for kind, group in itertools.groupby(words, _kind):
        if kind:
            yield list(group)
        else:
            yield from ([word] for word in group)


def _kind(word: ReadWord) -> str:
    if word.text == ".":
        return "leader"
    if len(word.text) > PAIR or not word.text.isalpha():
        return ""
    return "upper" if word.text.isupper() else "lower" if word.text.islower() else ""


def _joined(group: list[ReadWord], size: float) -> list[ReadWord]:
    gaps = [b.left - a.right for a, b in itertools.pairwise(group)]
    usual = sorted(gaps)[len(gaps) // 2] if gaps else 0.0
    letters = sum(len(word.text) == 1 for word in group)
    if letters < max(LEAST, len(group) - 1) or not 0 < usual <= MOST_GAP * size:
        return group
    words = group[:1]
    for gap, word in zip(gaps, group[1:], strict=True):
        if gap > WORD_GAP * usual:
            words.append(word)
        else:
            words[-1] = _one(words[-1], word)
    return words


def _one(a: ReadWord, b: ReadWord) -> ReadWord:
    total = len(a.text) + len(b.text)
    confidence = (a.confidence * len(a.text) + b.confidence * len(b.text)) / total
    return a.joined(b, confidence)
