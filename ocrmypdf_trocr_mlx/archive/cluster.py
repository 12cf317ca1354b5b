"""Workers of many machines, by Dask distributed; all see the archive under the same paths.

A Dask worker drives a worker process as the driver itself does on one machine, so a document
that crashes it does not take the Dask worker along.  If a Dask worker dies, Dask runs its
documents again on another one.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ocrmypdf_trocr_mlx import __version__
from ocrmypdf_trocr_mlx.archive.job import (
    FAILED,
    UNUSABLE,
    USAGE,
    ArchiveError,
    Job,
    Outcome,
    State,
    display,
    one_line,
)
from ocrmypdf_trocr_mlx.archive.worker import WorkerProcess, share_processors

if TYPE_CHECKING:
    from distributed import Client, Future

    from ocrmypdf_trocr_mlx.archive.run import Result

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 15
_WAIT_SECONDS = 60


class ClusterPool:
    """The workers of a Dask scheduler; they may come and go."""

    def __init__(self, address: str, args: Sequence[str], source: Path, hours: float | None = None):
        """`hours`: the time that a document may take."""
        self._address = address
        self._task = (uuid.uuid4().hex, list(args), str(source), __version__, hours)
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._futures: dict[int, Future] = {}
        self._seen: set[str] = set()
        self._client = _connect(address)

    def capacity(self) -> int:
        """Two jobs for each thread: one at work, one waiting.  Waits for the first worker."""
        try:
            while not (threads := self._client.nthreads()):
                log.warning("%s has no workers: waiting for one", self._address)
                with contextlib.suppress(TimeoutError):
                    self._client.wait_for_workers(1, _WAIT_SECONDS)
        except OSError as e:
            raise self._lost() from e
        return 2 * sum(threads.values())

    def submit(self, job: Job) -> None:
        key = f"trocr-archive-{job.id}-{uuid.uuid4().hex}"
        future = self._client.submit(convert_on_worker, *self._task, job, key=key)
        self._futures[job.id] = future
        future.add_done_callback(lambda done: self._results.put((job, self._outcome(done))))

    def result(self) -> Result:
        job, outcome = self._results.get()
        self._futures.pop(job.id, None)  # Dask forgets it
        if isinstance(outcome, Outcome) and outcome.worker not in self._seen:
            self._seen.add(outcome.worker)
            log.info("Worker %s", outcome.worker)
        return job, outcome

    def close(self) -> None:
        if self._client.status == "running":
            self._client.cancel(list(self._futures.values()))
            self._client.run(release, self._task[0], on_error="ignore")
        self._client.close()

    def _lost(self) -> ArchiveError:
        problem = f"The Dask scheduler {self._address} was lost: start again to go on"
        return ArchiveError(problem, FAILED)

    def _outcome(self, future: Future) -> Outcome | BaseException:
        """What the task gave, or what kept it from ending."""
        from distributed import KilledWorker

        if future.status == "cancelled":
            return self._lost()
        error = future.exception()
        if error is None:
            return future.result()
        if isinstance(error, KilledWorker):
            problem = f"{error.allowed_failures + 1} Dask workers died of it or beside it"
            return Outcome(State.FAILED, problem, crashed=True)
        if isinstance(error, ArchiveError):
            return error
        return ArchiveError(f"A worker of {self._address}: {one_line(repr(error))}", UNUSABLE)


def _connect(address: str) -> Client:
    try:
        from distributed import Client
    except ImportError as e:
        problem = "--scheduler needs Dask: pip install 'ocrmypdf-trocr-mlx[cluster]'"
        raise ArchiveError(problem, USAGE) from e
    try:
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as e:  # TimeoutError is an OSError
        problem = f"--scheduler {display(address)}: no Dask scheduler answers: {one_line(str(e))}"
        raise ArchiveError(problem, USAGE) from e


# On the Dask workers: the worker process of each thread, for each run that is at work.
_processes: dict[tuple[str, int], WorkerProcess] = {}


def convert_on_worker(
    run: str, args: list[str], source: str, version: str, hours: float | None, job: Job
) -> Outcome:
    """Dask's task.  Raises ArchiveError where this machine cannot work on this archive."""
    from distributed import get_worker

    worker = get_worker()
    if version != __version__:
        problem = f"ocrmypdf-trocr-mlx is {__version__} there, but {version} here: install the same"
        raise ArchiveError(f"Worker {worker.address}: {problem}", UNUSABLE)
    if not Path(source).is_dir():
        problem = f"there is no folder {display(source)}: mount it there under the same path"
        raise ArchiveError(f"Worker {worker.address}: {problem}", UNUSABLE)
    key = (run, threading.get_ident())
    if key not in _processes:
        _processes[key] = WorkerProcess(share_processors(args, worker.state.nthreads), hours)
    return _processes[key].convert(job)


def release(run: str) -> None:
    """End the worker processes that this Dask worker drives for a run."""
    for key in [key for key in _processes if key[0] == run]:
        process = _processes.pop(key)
        process.kill()
        process.close()
