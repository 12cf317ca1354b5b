"""How well a model reads lines it has not learned from: read as the plugin does, compared."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint
from ocrmypdf_trocr_mlx.recognizer import Recognizer

from .data import clean_text
from .dataset import Sample


@dataclass(frozen=True)
class Score:
    """`errors`: characters inserted, deleted and replaced; `characters`: those of the truth."""

    errors: int = 0
    characters: int = 0

    @property
    def cer(self) -> float:
        """Character error rate; above 1 where more is invented than there is."""
        return self.errors / max(1, self.characters)

    def __add__(self, other: Score) -> Score:
        return Score(self.errors + other.errors, self.characters + other.characters)


@dataclass(frozen=True)
class Evaluation:
    """Over all lines, and for each source that manifests name."""

    total: Score
    by_source: dict[str, Score] = field(default_factory=dict)

    @property
    def cer(self) -> float:
        return self.total.cer

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Evaluation:
        sources = {name: Score(**score) for name, score in values["by_source"].items()}
        return cls(Score(**values["total"]), sources)


class Evaluator:
    """Reads the same lines again and again, with whatever weights the model then has."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        samples: Sequence[Sample],
        device: str = "auto",
        batch_size: int = 32,
    ):
        self._samples = samples
        # One for all evaluations: its thread lives as long as the process.
        # Only one thread: the processors are left to training, which needs them undivided.
        self._recognizer = Recognizer(checkpoint, device=device, batch_size=batch_size, lanes=1)

    def __call__(self) -> Evaluation:
        readings = self._recognizer.read([sample.pixels for sample in self._samples])
        total = Score()
        by_source: dict[str, Score] = collections.defaultdict(Score)
        for sample, reading in zip(self._samples, readings, strict=True):
            truth = clean_text(sample.text)
            score = Score(edit_distance(clean_text(reading.text), truth), len(truth))
            total += score
            if sample.source:
                by_source[sample.source] += score
        return Evaluation(total, dict(sorted(by_source.items())))

    def close(self) -> None:
        self._recognizer.close()


def edit_distance(a: str, b: str) -> int:
    """Fewest insertions, deletions and replacements of a character (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
