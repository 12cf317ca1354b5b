"""A run: what the journal has to do goes to the workers, what became of it into the journal."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ocrmypdf_trocr_mlx.archive.job import FAILED, ArchiveError, Job, Outcome, State, display
from ocrmypdf_trocr_mlx.archive.journal import Entry, Journal, open_journal, read_journal
from ocrmypdf_trocr_mlx.archive.options import fingerprint, parse
from ocrmypdf_trocr_mlx.archive.scan import Rules, check_folders, output_of, plan, walk
from ocrmypdf_trocr_mlx.archive.worker import WorkerProcess, share_processors

log = logging.getLogger(__name__)

DEFAULT_TRIES = 3
_JOBS_A_WORKER = 2  # one at work and one waiting: a worker never idles, and little is in flight

Result = tuple[Job, Outcome | BaseException]
Listener = Callable[[Entry, State, Outcome], None]


class Pool(Protocol):
    """Workers, here or elsewhere."""

    def capacity(self) -> int:
        """How many jobs should be in flight."""

    def submit(self, job: Job) -> None: ...

    def result(self) -> Result:
        """Wait for a job to end."""

    def close(self) -> None:
        """End the workers, or what they do for us."""


class LocalPool:
    """Worker processes on this machine, each driven by a thread."""

    def __init__(self, args: Sequence[str], workers: int, hours: float | None = None):
        """`hours`: the time that a document may take."""
        self._args = share_processors(args, workers)
        self._hours = hours
        self._count = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="archive")
        self._local = threading.local()
        self._processes: list[WorkerProcess] = []
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()

    def capacity(self) -> int:
        return _JOBS_A_WORKER * self._count

    def submit(self, job: Job) -> None:
        self._threads.submit(self._work, job)

    def result(self) -> Result:
        return self._results.get()

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.close()

    def _work(self, job: Job) -> None:
        if not hasattr(self._local, "process"):
            self._local.process = WorkerProcess(self._args, self._hours)
            self._processes.append(self._local.process)
        try:
            self._results.put((job, self._local.process.convert(job)))
        except BaseException as e:
            self._results.put((job, e))


@dataclass
class Archive:
    """An archive whose journal this process holds; made by `open_archive`."""

    rules: Rules
    journal: Journal
    pool: Pool
    sidecar: bool
    listener: Listener
    finished: Counter[State] = field(default_factory=Counter)  # files of this run
    _flying: dict[int, tuple[Entry, bool]] = field(default_factory=dict)  # and: had an output

    def work(self) -> None:
        """Do all that is pending; whatever ends this early, no file stays marked as running."""
        try:
            while True:
                self._hand_out()
                if not self._flying:
                    return
                self._take_in(*self.pool.result())
        except BaseException:
            self.pool.close()
            self._give_back()
            raise

    def _hand_out(self) -> None:
        """Give the workers jobs, but no more than keep them busy."""
        free = self.pool.capacity() - len(self._flying)
        while free > 0:
            entries = self.journal.todo(free)
            for entry in entries:
                if problem := self._conflict(entry):
                    self._refuse(entry, problem)
                    continue
                self._flying[entry.id] = (entry, self._output(entry).exists())
                self.journal.start(entry.id)
                self.pool.submit(self._job(entry))
                free -= 1
            if not entries:
                return

    def _take_in(self, job: Job, result: Outcome | BaseException) -> None:
        if isinstance(result, BaseException):
            raise result
        entry, had_output = self._flying.pop(job.id)
        self._finish(entry, result, ours=had_output)

    def _refuse(self, entry: Entry, problem: str) -> None:
        """As if a worker had failed; a kill in between must not make the output ours."""
        with self.journal.transaction():
            self.journal.start(entry.id)
            self._finish(entry, Outcome(State.FAILED, problem), ours=entry.ours)

    def _finish(self, entry: Entry, outcome: Outcome, *, ours: bool) -> None:
        state = self.journal.finish(
            entry.id, outcome, self.rules.options, max_tries=self.rules.max_tries, ours=ours
        )
        assert state is not None, f"{display(entry.path)} was finished twice"
        if state is not State.PENDING:
            self.finished[state] += 1
        self.listener(entry, state, outcome)

    def _give_back(self) -> None:
        for entry, _ in self._flying.values():
            self._job(entry).remove_parts()
            self.journal.give_back(entry.id)
        self._flying.clear()

    def _output(self, entry: Entry) -> Path:
        return output_of(self.rules.destination, entry.path)

    def _job(self, entry: Entry) -> Job:
        source = self.rules.source / entry.path
        return Job(entry.id, str(source), str(self._output(entry)))

    def _conflict(self, entry: Entry) -> str:
        """Why converting this file would overwrite another one; "" if it would not."""
        source, output = self.rules.source / entry.path, self._output(entry)
        written = [output, Path(f"{output}.txt")] if self.sidecar else [output]
        folder = output.parent.resolve()
        if not folder.is_relative_to(self.rules.destination):
            return f"{display(output.parent)} is a link out of the destination: remove the link"
        if output.name != source.name and source.with_name(output.name).exists():
            return f"its output would have the name of {display(output.name)}: rename one of them"
        for path in written:
            if os.path.lexists(path) and not entry.ours:
                return f"{display(path)} exists and is not from this program: move it away"
        return ""


@contextmanager
def open_archive(
    rules: Rules,
    args: Sequence[str],
    pool: Callable[[], Pool],
    listener: Listener,
) -> Iterator[Archive]:
    """The archive of these folders, see `make_rules`, for this process alone.

    Files that a killed run had in hand are pending again, and what it left of them is removed.
    """
    with open_journal(rules.destination) as journal:
        journal.bind(rules.source)
        sidecar = parse(args, os.devnull, "out.pdf").sidecar is not None
        workers = pool()
        archive = Archive(rules, journal, workers, sidecar, listener)
        try:
            for entry in journal.recover():
                archive._job(entry).remove_parts()
            yield archive
        finally:
            workers.close()


def make_rules(
    source: Path,
    destination: Path,
    args: Sequence[str],
    *,
    tries: int = DEFAULT_TRIES,
    retry_failed: bool = False,
    restore: bool = True,
) -> Rules:
    """Check folders and options; raises ArchiveError."""
    source, destination = check_folders(source, destination)
    return Rules(source, destination, fingerprint(args), tries, retry_failed, restore)


def read_tree(journal: Journal, rules: Rules) -> int:
    """Note in the journal what is to be done and count what was found.

    Raises ArchiveError if there is nothing to convert in the source.
    """
    found = plan(journal, walk(rules.source, rules.destination), rules)
    if not found:
        raise ArchiveError(f"{display(rules.source)}: no PDFs or images here", FAILED)
    return found


@contextmanager
def planned(rules: Rules) -> Iterator[Journal]:
    """A copy of the journal as it would be when a run begins; nothing is written."""
    with read_journal(rules.destination) as journal:
        journal.bind(rules.source)
        journal.recover()
        read_tree(journal, rules)
        yield journal
