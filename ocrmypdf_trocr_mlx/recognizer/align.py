"""Word boxes and confidences, from the decoder's cross-attention and the line's ink.

Where the decoder looked when it wrote a character tells about where the character stands
(the method of Whisper's word times); the gaps in the ink then tell where words begin and end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .characters import place_characters
from .ink import InkProfile, runs
from .reading import ReadWord

# Ink parted from a word's characters by a wider gap, in line heights, is not the word's.
_MAX_INNER_GAP = 0.25
# Columns either side of the path's that the place of a token is averaged over.
_NEIGHBOURS = 2


@dataclass
class _Word:
    """A word's text and the token that each of its characters came from."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)


def place_words(
    texts: Sequence[str],
    logprobs: Sequence[float],
    attention: np.ndarray,
    column_width: float,
    ink: InkProfile,
    fine: InkProfile | None = None,
) -> list[ReadWord]:
    """The words of a line that was read as `texts`, one string for each token.

    `attention` (T, columns): where each token was seen, over columns of the image that are
    `column_width` columns of the ink profile wide.  Left and right of the words are in
    columns of the profile.  With `fine`, a profile of the same ink by finer columns, the words
    have their characters.
    """
    words = _words(texts)
    if not words:
        return []
    centres = token_centres(attention) * column_width
    firsts = [centres[word.tokens[0]] for word in words]
    lasts = [centres[word.tokens[-1]] for word in words]
    bounds = [0.0]
    for end, start in zip(lasts, firsts[1:], strict=False):
        bounds.append(_boundary(ink, end, start))
    bounds.append(float(len(ink.columns)))
    placed = []
    for i, word in enumerate(words):
        left, right = _ink_extent(ink, bounds[i], firsts[i], lasts[i], bounds[i + 1])
        confidence = _confidence([logprobs[t] for t in dict.fromkeys(word.tokens)])
        placed.append(ReadWord(word.text, left, right, confidence))
    if fine is None:
        return placed
    k = len(fine.columns) / max(1, len(ink.columns))
    return [
        place_characters(read, word.tokens, logprobs, centres, fine, k)
        for read, word in zip(placed, words, strict=True)
    ]


def _words(texts: Sequence[str]) -> list[_Word]:
    """Runs of characters between white space, each with the tokens it came from."""
    words = [_Word()]
    for token, text in enumerate(texts):
        for character in text:
            if character.isspace():
                words.append(_Word())
                continue
            words[-1].text += character
            words[-1].tokens.append(token)
    return [word for word in words if word.text]


def _confidence(logprobs: Sequence[float]) -> float:
    """The geometric mean of the tokens' probabilities."""
    return math.exp(min(0.0, sum(logprobs) / len(logprobs)))


def columns_of(
    attention: np.ndarray, prefix: int, grid: tuple[int, int], columns: int
) -> np.ndarray:
    """Attention (T, S) over `prefix` tokens and a grid of patches -> (T, columns).

    Only the first `columns` of the grid hold the line, the others its padding.
    """
    rows, cols = grid
    by_patch = attention[:, prefix:].astype(np.float32).reshape(len(attention), rows, cols)
    return by_patch.sum(axis=1)[:, : max(1, columns)]


def token_centres(attention: np.ndarray) -> np.ndarray:
    """Place of each token in columns, never decreasing: (T, columns) -> (T,).

    The likeliest monotonic path, each point then averaged over the columns around it.
    """
    # Squared: the peak counts, not the haze around it.
    weights = attention.astype(np.float64) ** 2
    weights /= weights.sum(axis=1, keepdims=True) + 1e-12
    path = _monotonic_path(np.log(weights + 1e-6))
    columns = np.arange(weights.shape[1])
    near = np.abs(columns[None] - path[:, None]) <= _NEIGHBOURS
    weights = weights * near + 1e-9 * near
    centres = (weights * (columns + 0.5)).sum(axis=1) / weights.sum(axis=1)
    return np.maximum.accumulate(centres)


def _monotonic_path(scores: np.ndarray) -> np.ndarray:
    """argmax over non-decreasing paths of the summed scores (T, C): a column for each row."""
    length, columns = scores.shape
    highest = scores.argmax(axis=1)
    if (np.diff(highest) >= 0).all():
        return highest  # no path is better, and most lines are read straight on
    best = np.zeros(columns)
    came_from = np.zeros((length, columns), int)
    index = np.arange(columns)
    for t in range(length):
        so_far = np.maximum.accumulate(best)
        came_from[t] = np.maximum.accumulate(np.where(best >= so_far, index, 0))
        best = so_far + scores[t]
    path = np.zeros(length, int)
    column = int(best.argmax())
    for t in range(length - 1, -1, -1):
        path[t] = column
        column = int(came_from[t, column])
    return path


def _boundary(ink: InkProfile, end: float, start: float) -> float:
    """Where the next word begins: the middle of the widest gap between two characters.

    Without a gap, where there is the least ink.
    """
    a, b = int(end), max(int(end) + 1, math.ceil(start))
    between = ink.columns[a:b]
    if not len(between):
        return (end + start) / 2
    gaps = runs(between == between.min())
    left, right = max(gaps, key=lambda gap: gap[1] - gap[0])
    return a + (left + right) / 2


def _ink_extent(
    ink: InkProfile, low: float, first: float, last: float, high: float
) -> tuple[float, float]:
    """Extent of the ink between two boundaries that belongs to characters seen first..last."""
    a, b = math.ceil(low), math.floor(high)
    first, last = min(max(first, a), b), min(max(last, a), b)
    inked = np.flatnonzero(ink.columns[a:b]) + a
    if not len(inked):
        half = ink.height / 4
        return max(low, first - half), min(high, last + half)
    reach = _MAX_INNER_GAP * ink.height
    parts = np.split(inked, np.flatnonzero(np.diff(inked) > reach) + 1)
    own = [p for p in parts if p[0] - reach <= last and p[-1] + reach >= first]
    if not own:
        own = [min(parts, key=lambda p: min(abs(p[0] - last), abs(p[-1] - first)))]
    return float(own[0][0]), float(own[-1][-1] + 1)
