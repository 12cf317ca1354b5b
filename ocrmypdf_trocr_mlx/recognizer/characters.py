"""Where in a word each of its characters stands: between the gaps in its ink.

Cross-attention tells about where a character was seen, its shape about how wide it is; letters
that touch are parted where there is the least ink.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import unicodedata
from collections.abc import Sequence

import numpy as np

from .ink import InkProfile, runs
from .reading import ReadCharacter, ReadWord

# Widths of characters in common proportional type, as shares of the widest; others are USUAL.
_WIDTHS = {
    **dict.fromkeys("ijl|'!.,:;`’‘", 0.28),
    **dict.fromkeys('ftrI()[]{}-/\\"1', 0.38),
    **dict.fromkeys("“”„s", 0.44),
    **dict.fromkeys("mMwW%@—…œæ", 0.86),
}
_USUAL, _CAPITAL = 0.52, 0.68
# Costs of a cut through ink, and more for much of it; of a gap left inside a character.
_INK, _MUCH_INK, _GAP = 0.5, 6.0, 0.6
# Of a character that is not where it was seen, by line heights, or not as wide as it should be.
_PLACE, _WIDTH = 12.0, 0.8
# Marks of two strokes have a gap inside.
_PARTED = frozenset('"“”„«»…')
# Cuts are looked for at least so closely, in line heights.
_STEP = 0.04
# Ink is looked at in lines at most so high: letters stand apart that touch in smaller ones.
FINE = 96


def place_characters(
    word: ReadWord,
    tokens: Sequence[int],
    logprobs: Sequence[float],
    centres: np.ndarray,
    fine: InkProfile,
    scale: float,
) -> ReadWord:
    """The word with its characters, in the same columns, `scale` of the fine profile's each.

    `tokens`: of each character the token it came from; `logprobs` and `centres` (T,) are of all
    the line's tokens.
    """
    seen = _centres(word, tokens, centres)
    extents = split_word(word.text, scale * seen, fine, scale * word.left, scale * word.right)
    characters = (
        ReadCharacter(text, left / scale, right / scale, math.exp(min(0.0, logprobs[token])))
        for text, token, (left, right) in zip(word.text, tokens, extents, strict=True)
    )
    return dataclasses.replace(word, characters=tuple(characters))


def _centres(word: ReadWord, tokens: Sequence[int], centres: np.ndarray) -> np.ndarray:
    """About where each character is: a token's characters share what is nearest to it."""
    own = list(dict.fromkeys(tokens))
    seen = np.clip(centres[own], word.left, word.right)
    bounds = np.concatenate(([word.left], (seen[:-1] + seen[1:]) / 2, [word.right]))
    places: list[float] = []
    for i, token in enumerate(own):
        count = tokens.count(token)
        if count == 1:
            places.append(float(seen[i]))
        else:
            step = (bounds[i + 1] - bounds[i]) / count
            places += [float(bounds[i] + (j + 0.5) * step) for j in range(count)]
    return np.array(places)


def split_word(
    text: str, centres: np.ndarray, ink: InkProfile, left: float, right: float
) -> list[tuple[float, float]]:
    """Extents [start, end) of the characters of a word in columns [left, right) of a profile.

    `centres` (N,): about where each was seen.  The extents hold the word's ink, grow from left to
    right and do not overlap.
    """
    first, last = int(left), max(int(left) + 1, int(np.ceil(right)))
    columns = ink.columns[first:last]
    cuts = _possible_cuts(columns, ink.height)
    if len(text) == 1 or len(cuts) <= len(text):
        bounds = np.linspace(0, len(columns), len(text) + 1)
    else:
        seen = np.clip(centres - first, 0, len(columns))
        ways = [
            _cheapest(text, widths, seen, columns, ink.height, cuts) for widths in _pitches(text)
        ]
        _, bounds = min(ways, key=lambda way: way[0])
    return [(first + start, first + end) for start, end in _trimmed(columns, bounds)]


def _pitches(text: str) -> list[np.ndarray]:
    """Relative widths of the characters in proportional and in monospaced type."""
    return [np.array([_width(c) for c in text]), np.ones(len(text))]


def _width(character: str) -> float:
    base = unicodedata.normalize("NFD", character)[0]
    return _WIDTHS.get(base, _CAPITAL if base.isupper() else _USUAL)


def _possible_cuts(columns: np.ndarray, height: int) -> np.ndarray:
    """Both ends, the middles of the gaps, the columns of least ink nearby, and a grid, in order."""
    width = len(columns)
    step = max(1, round(_STEP * height))
    gaps = [(a + b) / 2 for a, b in runs(columns == 0) if a > 0 and b < width]
    inner = np.arange(1, width)
    before, at = columns[:-1], columns[1:]
    after = np.append(columns[2:], np.inf)
    low = inner[(at > 0) & (at <= before) & (at < after)]
    grid = np.arange(step, width, step)
    inked = np.append(low, grid[columns[grid] > 0])
    return np.unique(np.concatenate(([0.0], gaps, inked, [float(width)])))


def _cheapest(
    text: str,
    widths: np.ndarray,
    seen: np.ndarray,
    columns: np.ndarray,
    height: int,
    cuts: np.ndarray,
) -> tuple[float, np.ndarray]:
    """The least cost of a word's characters between `cuts`, and the ends of all of them."""
    inner = np.minimum(cuts.astype(int), len(columns) - 1)
    through = np.where(columns[inner] > 0, _INK + _MUCH_INK * columns[inner], 0.0)
    through[[0, -1]] = 0.0
    middle = (cuts[:, None] + cuts) / 2
    extent = cuts - cuts[:, None]
    forward = extent > 0
    log_extent = np.log(np.where(forward, extent, 1.0))
    parted = _GAP * _gaps_inside(columns, cuts)
    expected = np.log(widths * (len(columns) / widths.sum()))
    best = np.where(np.arange(len(cuts)) == 0, 0.0, np.inf)
    came_from = np.zeros((len(text), len(cuts)), int)
    for i, character in enumerate(text):
        cost = _PLACE * ((middle - seen[i]) / height) ** 2
        cost += _WIDTH * (log_extent - expected[i]) ** 2
        if character not in _PARTED:
            cost = cost + parted
        total = np.where(forward, best[:, None] + cost, np.inf)
        came_from[i] = total.argmin(axis=0)
        best = total.min(axis=0) + through
    path = [len(cuts) - 1]
    for i in range(len(text) - 1, -1, -1):
        path.append(int(came_from[i, path[-1]]))
    return float(best[-1]), cuts[path[::-1]]


def _gaps_inside(columns: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """(N, N): how many gaps have ink on either side between cut a and cut b."""
    gaps = [(a, b) for a, b in runs(columns == 0) if a > 0 and b < len(columns)]
    count = np.zeros((len(cuts), len(cuts)))
    for a, b in gaps:
        count += (cuts < a)[:, None] & (cuts > b)
    return count


def _trimmed(columns: np.ndarray, bounds: np.ndarray) -> list[tuple[float, float]]:
    """The extents between bounds, each as far as it has ink; whole where it has none."""
    extents = []
    for start, end in itertools.pairwise(bounds.tolist()):
        a, b = int(np.ceil(start)), int(np.ceil(end))
        inked = np.flatnonzero(columns[a:b])
        extents.append(
            (float(a + inked[0]), float(a + inked[-1] + 1)) if len(inked) else (start, end)
        )
    return extents
