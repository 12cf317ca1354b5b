"""The training loop: steps, log, evaluation, saved states, and an end that loses nothing."""

from __future__ import annotations

import contextlib
import csv
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .batches import BatchSource, stream
from .errors import TrainingError
from .evaluate import Evaluation
from .trainer import Trainer, read_notes

log = logging.getLogger(__name__)

COLUMNS = ("step", "loss", "lr", "lines_per_second", "cer")
_STATE, _LOG = "state.safetensors", "log.csv"
_SAVE_SECONDS = 300.0


@dataclass(frozen=True)
class Progress:
    """Where training is; `loss` is the mean since the last report, `cer` that of this step."""

    phase: str
    step: int = 0
    steps: int = 0
    loss: float | None = None
    lr: float | None = None
    lines_per_second: float | None = None
    cer: float | None = None


Report = Callable[[Progress], None]


@dataclass
class Run:
    """A training that is kept in the folder `out`/training and can be taken up there.

    `settings` are what must be the same when it is: anything json.  `log_every` and
    `eval_every` count steps; with 0 there is no evaluation between the first and the last.
    `before`, `after`: of the untrained and the trained model, as soon as they are known.
    """

    out: Path
    trainer: Trainer
    source: BatchSource
    settings: dict[str, Any]
    evaluate: Callable[[], Evaluation]
    workers: int = 0
    log_every: int = 20
    eval_every: int = 0
    seconds: float | None = None
    before: Evaluation | None = None
    after: Evaluation | None = None

    @property
    def folder(self) -> Path:
        """Of the state, the log and the plot."""
        return self.out / "training"

    def begin(self) -> None:
        """Take up what `folder` holds, or begin it; refuses what was begun with other settings."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._state.is_file():
            notes = read_notes(self._state)
            _compare(notes["settings"], self.settings, self.out)
            self.trainer.load(self._state)
            self.before, self.after = (
                None if notes[name] is None else Evaluation.from_json(notes[name])
                for name in ("before", "after")
            )
            log.info("%s: going on from step %d", self.out, self.trainer.step)
        _truncate_log(self.folder / _LOG, self.trainer.step)

    def train(self, report: Report) -> bool:
        """Train to the last step; False where Ctrl-C or `seconds` ended it before.

        The state is saved in either case, and every few minutes.
        """
        steps, first = self.trainer.recipe.steps, self.trainer.step
        saved = time.monotonic()
        deadline = math.inf if self.seconds is None else saved + self.seconds
        with (
            interrupt_noted() as interrupted,
            stream(self.source, first, self.workers) as batches,
            _Log(self.folder / _LOG, report, steps) as entries,
        ):
            if self.before is None:
                self.before = self.evaluate()
                entries.write(0, None, self.before.cer)
            for step in range(first + 1, steps + 1):
                batch = next(batches)
                entries.add(self.trainer(batch), len(batch.pixels))
                stopping = interrupted.is_set() or time.monotonic() > deadline
                if step == steps or (self._due(step) and not stopping):
                    result = self.evaluate()
                    entries.write(step, self.trainer.lr, result.cer)
                    self.after = result if step == steps else None
                elif step % self.log_every == 0 or stopping:
                    entries.write(step, self.trainer.lr)
                if stopping or step == steps or time.monotonic() - saved > _SAVE_SECONDS:
                    self._save()
                    saved = time.monotonic()
                if stopping and step < steps:
                    return False
        return True

    def _due(self, step: int) -> bool:
        return bool(self.eval_every) and step % self.eval_every == 0

    def _save(self) -> None:
        evaluations = {"before": self.before, "after": self.after}
        notes = {name: e and e.to_json() for name, e in evaluations.items()}
        self.trainer.save(self._state, {**notes, "settings": self.settings})

    @property
    def _state(self) -> Path:
        return self.folder / _STATE


def read_log(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's log; a cell that is empty is left out."""
    with (folder / _LOG).open(encoding="utf-8", newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


class _Log:
    """Sums losses up between the rows that it writes and reports."""

    def __init__(self, path: Path, report: Report, steps: int):
        self._path, self._report, self._steps = path, report, steps
        self._losses: list[Any] = []
        self._lines = 0
        self._since = time.monotonic()

    def __enter__(self) -> _Log:
        self._file = self._path.open("a", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)
        if not self._file.tell():
            self._csv.writerow(COLUMNS)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, loss: Any, lines: int) -> None:
        self._losses.append(loss)
        self._lines += lines
        if len(self._losses) > 1:
            self._losses[-2] = self._losses[-2].item()  # not more than one step ahead of the GPU

    def write(self, step: int, lr: float | None, cer: float | None = None) -> None:
        losses = [float(v if isinstance(v, float) else v.item()) for v in self._losses]
        loss = sum(losses) / len(losses) if losses else None
        if loss is not None and not math.isfinite(loss):
            raise TrainingError(f"the loss is {loss} at step {step}: lower the learning rate")
        speed = self._lines / max(1e-9, time.monotonic() - self._since) if losses else None
        cells = (loss, lr, speed, cer)
        self._csv.writerow([step, *("" if v is None else f"{v:.5g}" for v in cells)])
        self._file.flush()
        self._report(Progress("training", step, self._steps, loss, lr, speed, cer))
        self._losses, self._lines, self._since = [], 0, time.monotonic()


def _truncate_log(path: Path, step: int) -> None:
    """Drop rows of steps that are going to be made again."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if (row["step"] or "").isdigit() and int(row["step"]) <= step]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)


def _compare(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    changed = [k for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
    if changed:
        what = "; ".join(f"{k} was {before.get(k)!r}, is {now.get(k)!r}" for k in changed)
        raise TrainingError(
            f"{out}: holds a training with other settings ({what}): use those, or another folder"
        )


@contextlib.contextmanager
def interrupt_noted() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C inside, so that a step is finished; the second one is as usual."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
