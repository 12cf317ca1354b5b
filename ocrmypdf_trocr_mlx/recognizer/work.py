"""Lines on their way through an inference thread, whoever waits for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import mlx.core as mx

from .pieces import LineImage, Transcript
from .quick import QuickFirst
from .transcribe import ReadsImages, Transcriber

log = logging.getLogger(__name__)


class Turn(NamedTuple):
    """Which lines are read first, where a page is read after the other: few ones, which are most
    often what a page still waits for, then those that came first.  Lines of a page share theirs.
    """

    many: bool
    number: int


class Line:
    """Images that are read together: what each says, and who waits for what is made of all."""

    def __init__(
        self,
        images: Sequence[LineImage],
        finish: Callable[[list[Transcript]], Any],
        future: Future,
        turn: Turn,
    ):
        self.future = future
        self.turn = turn
        self.jobs = [Job(self, i, image) for i, image in enumerate(images)]
        self._finish = finish
        self._read: list[Transcript | None] = [None] * len(images)
        self._missing = len(images)
        # They may come from several threads; who waits may be called back while it is held.
        self._lock = threading.RLock()

    def note(self, index: int, transcript: Transcript) -> None:
        """What an image says; with the last of them, all is read."""
        with self._lock:
            self._missing -= self._read[index] is None
            self._read[index] = transcript
            if not self._missing and not self.future.done():
                self.future.set_result(self._finish(cast(list[Transcript], self._read)))

    def fail(self, error: BaseException) -> None:
        with self._lock:
            if not self.future.done():
                self.future.set_exception(error)


@dataclass
class Job:
    """One image of a line."""

    line: Line
    index: int
    image: LineImage


class ClosedError(RuntimeError):
    """No lines are read any more."""


class AtWork:
    """The lines that an inference thread reads; `jobs`: those that are not done."""

    def __init__(self, transcriber: Transcriber | QuickFirst, between: Callable[[], None]):
        self._transcriber, self._between = transcriber, between
        self._forget()

    def _forget(self) -> None:
        self._reading: ReadsImages | None = None
        self._jobs: dict[int, Job] = {}
        self._count = 0

    @property
    def jobs(self) -> list[Job]:
        return list(self._jobs.values())

    @property
    def turn(self) -> Turn:
        """The first of those of its jobs, of which there must be some."""
        return min(job.line.turn for job in self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def go_on(self, jobs: Sequence[Job]) -> None:
        """Begin with jobs, and go a step on with all.

        If that fails, they are read one by one, so that only the guilty line fails.  Raises
        what `between` raises where that is a ClosedError.
        """
        self._jobs |= enumerate(jobs, self._count)
        self._count += len(jobs)
        try:
            if self._reading is None:
                self._reading = self._transcriber.begin()
            if jobs:
                self._reading.add([job.image for job in jobs], self._between)
            for number, transcript in self._reading.step(self._between):
                job = self._jobs[number]
                job.line.note(job.index, transcript)
                del self._jobs[number]
            if not self._jobs:
                self._forget()  # or the last lines would stay in memory
        except ClosedError:
            raise
        except Exception as e:
            lost = self.jobs
            self._forget()
            mx.clear_cache()
            if len(lost) == 1:
                lost[0].line.fail(e)
                return
            log.warning(
                "%d lines could not be read together, so they are read singly: %s",
                len(lost),
                str(e).partition("\n")[0] or type(e).__name__,
            )
            log.debug("Reading them together failed", exc_info=True)
            self._singly(lost)

    def _singly(self, jobs: list[Job]) -> None:
        try:
            for job in jobs:
                self.go_on([job])
                while self._jobs:
                    self.go_on([])
        except ClosedError as e:
            for job in jobs:
                job.line.fail(e)
            raise
