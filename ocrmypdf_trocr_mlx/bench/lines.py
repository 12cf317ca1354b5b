"""Character errors on single lines, source by source."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from ocrmypdf_trocr_mlx.recognizer import Recognizer
from ocrmypdf_trocr_mlx.training.data import Line, Problem

from .report import percent

HEADERS = ("source", "lines", "characters", "CER %", "exact %", "unreadable")


@dataclass
class Source:
    """Lines of one source: how many, how many read without error, and the errors in characters."""

    lines: int = 0
    exact: int = 0
    characters: int = 0
    errors: int = 0
    unreadable: int = 0

    @property
    def cer(self) -> float | None:
        return self.errors / self.characters if self.characters else None

    def add(self, truth: str, read: str) -> None:
        errors = Levenshtein.distance(truth, read)
        self.lines += 1
        self.exact += not errors
        self.characters += len(truth)
        self.errors += errors


def score_lines(
    found: Iterable[Line | Problem], recognizer: Recognizer, limit: int | None, nocase: bool
) -> dict[str, Source]:
    """Read lines, of each source the first `limit`, and count what differs from their labels."""
    sources: dict[str, Source] = collections.defaultdict(Source)
    taken: collections.Counter[str] = collections.Counter()
    waiting = []
    for line in found:
        if isinstance(line, Problem):
            sources[line.source].unreadable += 1
            continue
        if limit is not None and taken[line.source] >= limit:
            continue
        taken[line.source] += 1
        waiting.append((line.source, line.text, recognizer.submit(line.pixels)))
    for source, text, reading in waiting:
        read = reading.result().text
        if nocase:
            text, read = text.casefold(), read.casefold()
        sources[source].add(text, read)
    return dict(sorted(sources.items()))


def rows(sources: dict[str, Source]) -> list[list[str]]:
    """A row for each source, under HEADERS."""
    return [
        [
            name or "-",
            str(s.lines),
            str(s.characters),
            percent(s.cer),
            percent(s.exact / s.lines if s.lines else None),
            str(s.unreadable),
        ]
        for name, s in sources.items()
    ]
