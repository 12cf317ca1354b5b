"""How well text was read: character errors with and without regard to order, words found.

All figures are counts that add up over pages; the shares are those of the sum.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist
from scipy.optimize import linear_sum_assignment

# Typographic variants that no transcription agrees on.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´", "'"),
        **dict.fromkeys("“”„‟″", '"'),
        **dict.fromkeys("‐‑‒–—―−\u00ad¬", "-"),
        "\u00a0": " ",
        "ﬀ": "ff",
        "ﬁ": "fi",
        "ﬂ": "fl",
        "ﬃ": "ffi",
        "ﬄ": "ffl",
        "…": "...",
    }
)
# Substrings that differ in more than this share of their length do not stand for one another.
_MAX_DIFFERENCE = 0.6


@dataclass
class TextScore:
    """Counts for a page, or for several added up.

    `characters`: of the truth, its lines joined by spaces.  `order_errors`: edits between the
    whole texts as they stand.  `flexible_errors`: the least edits with lines in any order and
    cut in any way (after Clausner et al. 2020, Flexible Character Accuracy).  `common`,
    `truth_words`, `read_words`: as bags of exact words.
    """

    characters: int = 0
    order_errors: int = 0
    flexible_errors: int = 0
    common: int = 0
    truth_words: int = 0
    read_words: int = 0

    def __add__(self, other: TextScore) -> TextScore:
        return TextScore(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def cer(self) -> float:
        """Character error rate where order counts."""
        return self.order_errors / max(1, self.characters)

    @property
    def fcer(self) -> float:
        """Character error rate free of order and of the cut into lines."""
        return self.flexible_errors / max(1, self.characters)

    @property
    def f1(self) -> float:
        """Harmonic mean of the words' precision and recall."""
        words = self.truth_words + self.read_words
        return 2 * self.common / words if words else 0.0


def score(truth: Sequence[str], read: Sequence[str], nocase: bool = False) -> TextScore:
    """Compare the lines of a page, in order, with what was read of it."""
    truth, read = (_normal(lines, nocase) for lines in (truth, read))
    whole, other = " ".join(truth), " ".join(read)
    in_order = Levenshtein.distance(whole, other)
    flexible = min(_flexible_errors(truth, read), _assigned_errors(truth, read), in_order)
    words, read_words = Counter(whole.split()), Counter(other.split())
    return TextScore(
        characters=len(whole),
        order_errors=in_order,
        flexible_errors=flexible,
        common=(words & read_words).total(),
        truth_words=words.total(),
        read_words=read_words.total(),
    )


def _normal(lines: Sequence[str], nocase: bool) -> list[str]:
    plain = (unicodedata.normalize("NFC", line).translate(_PLAIN) for line in lines)
    spaced = (re.sub(r"\s+", " ", line).strip() for line in plain)
    return [line.casefold() if nocase else line for line in spaced if line]


def _assigned_errors(truth: list[str], read: list[str]) -> int:
    """Edits of the best one-to-one assignment of lines; those left over are wrong as a whole."""
    n, m = len(truth), len(read)
    if not n or not m:
        return sum(map(len, truth)) + sum(map(len, read))
    cost = np.zeros((n + m, n + m))
    cost[:n, :m] = cdist(truth, read, scorer=Levenshtein.distance, dtype=np.float64)
    cost[:n, m:] = np.array([len(line) for line in truth])[:, None]
    cost[n:, :m] = np.array([len(line) for line in read])[None, :]
    return int(cost[linear_sum_assignment(cost)].sum())


def _flexible_errors(truth: list[str], read: list[str]) -> int:
    """Edits where substrings are paired, best first; what stays over is assigned as lines."""
    pairing = _Pairing(truth, read)
    errors = 0
    while (pair := pairing.pop()) is not None:
        errors += Levenshtein.distance(*pair)
    return errors + _assigned_errors(*pairing.rest)


def _lower(text: str) -> str:
    """Lower case where that keeps the length, so that positions stay."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


class _Pairing:
    """The strings of both sides not paired yet, and their best pairs of substrings."""

    def __init__(self, truth: list[str], read: list[str]) -> None:
        self._truth = dict(enumerate(truth))
        self._read = dict(enumerate(read))
        self._next = [len(truth), len(read)]
        self._pushed = 0
        self._heap: list[tuple[float, int, int, int, slice, slice]] = []
        for t in self._truth:
            for r in self._read:
                self._push(t, r)

    @property
    def rest(self) -> tuple[list[str], list[str]]:
        return list(self._truth.values()), list(self._read.values())

    def pop(self) -> tuple[str, str] | None:
        """Take the best pair of substrings out; what is left of their strings stays in."""
        while self._heap:
            _, _, t, r, t_part, r_part = heapq.heappop(self._heap)
            if t not in self._truth or r not in self._read:
                continue
            truth, read = self._truth.pop(t), self._read.pop(r)
            new_truth = self._put_back(0, truth, t_part)
            new_read = self._put_back(1, read, r_part)
            for i in new_truth:
                for j in self._read:
                    self._push(i, j)
            for j in new_read:
                for i in self._truth:
                    if i not in new_truth:
                        self._push(i, j)
            return truth[t_part].strip(), read[r_part].strip()
        return None

    def _put_back(self, side: int, text: str, taken: slice) -> list[int]:
        pool = (self._truth, self._read)[side]
        keys = []
        for rest in (text[: taken.start].strip(), text[taken.stop :].strip()):
            if rest:
                keys.append(self._next[side])
                pool[self._next[side]] = rest
                self._next[side] += 1
        return keys

    def _push(self, t: int, r: int) -> None:
        """Queue the alignment of the shorter string within the longer, if it is any good."""
        truth, read = _lower(self._truth[t]), _lower(self._read[r])
        short, long = (truth, read) if len(truth) <= len(read) else (read, truth)
        found = fuzz.partial_ratio_alignment(short, long)
        if found is None:
            return
        parts = slice(0, len(short)), slice(found.dest_start, found.dest_end)
        t_part, r_part = parts if short is truth else parts[::-1]
        length = max(t_part.stop - t_part.start, r_part.stop - r_part.start)
        errors = Levenshtein.distance(truth[t_part], read[r_part])
        if not length or errors >= _MAX_DIFFERENCE * length:
            return
        self._pushed += 1
        # The serial number decides between equals and keeps slices from being compared.
        rank = 1.5 * errors - length
        heapq.heappush(self._heap, (rank, self._pushed, t, r, t_part, r_part))
