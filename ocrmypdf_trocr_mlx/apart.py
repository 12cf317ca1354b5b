"""Pages read in processes of their own, while one model, in this process, reads all their lines.

Beside a GPU the processors have all else to do, and Python lets one thread of a process work at a
time: with 16 processors threads read 2.2 pages a second, and processes 12.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE
from ocrmypdf_trocr_mlx.gray import to_gray
from ocrmypdf_trocr_mlx.page_process import Task
from ocrmypdf_trocr_mlx.reader import PageReader
from ocrmypdf_trocr_mlx.recognizer import Recognizer
from ocrmypdf_trocr_mlx.recognizer.pieces import LineImage, Transcript
from ocrmypdf_trocr_mlx.recognizer.sizes import on_cpu
from ocrmypdf_trocr_mlx.result import Page

log = logging.getLogger(__name__)

# With 20 processes the thread that asks the model is busy nine tenths of the time.
_MOST = 20
# For so many processors there is one process more: some always wait for their lines.
_ONE_MORE = 4
# As multiprocessing's "spawn" does it, but the program that is run need not be made for that.
_START = (
    "import sys; sys.path[:] = {!r}; from ocrmypdf_trocr_mlx import page_process as p; p.main({})"
)


def page_reader(
    recognizer: Recognizer,
    min_confidence: float = DEFAULT_MIN_CONFIDENCE,
    characters: bool = False,
) -> PageReader:
    """The reader that suits the device; a program that is frozen has no Python to start."""
    together = on_cpu() or most_processes() < 2 or getattr(sys, "frozen", False)
    return (PageReader if together else Apart)(recognizer, min_confidence, characters)


def most_processes() -> int:
    """How many read pages at a time; none where there is hardly a processor for them."""
    processors = backend.available_cpus()
    return min(_MOST, processors + processors // _ONE_MORE) if processors > 2 else 0


class Apart(PageReader):
    """Has pages read in processes, but for one that is alone: it would wait for its process.

    May be used from many threads at once.  Processes are kept for later pages, of any reader.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        characters: bool = False,
    ) -> None:
        super().__init__(recognizer, min_confidence, characters)
        self._settings = (recognizer.fitting, min_confidence, characters)
        self._transcribe = recognizer.transcribe

    @property
    def at_once(self) -> int:
        return most_processes() + 1

    def read(self, image: Image.Image | np.ndarray) -> Page:
        gray = to_gray(image)
        with _pool.process() as process:
            if process is None:
                return super().read(gray)
            try:
                return process.read(Task(gray, *self._settings), self._transcribe)
            except (EOFError, ConnectionError):
                log.warning("A process that was reading a page has died; the page is read again")
        return super().read(gray)


class _Process:
    """A `page_process`, and the socket to it."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        with its:
            command = [sys.executable, "-c", _START.format(sys.path, its.fileno())]
            # Its products are small: threads for them would only take memory.
            threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                env=os.environ | threads,
            )
        self._other = Connection(ours.detach())
        self.is_alive = True

    def read(self, task: Task, transcribe: Callable[[list[LineImage]], list[Transcript]]) -> Page:
        """Raises what reading the page raises, there or in `transcribe`, and EOFError or
        ConnectionError where the process has ended."""
        try:
            self._other.send(task)
            while isinstance(answer := self._other.recv(), list):
                self._other.send(transcribe(answer))
        except BaseException:  # it may still wait for an answer
            self.kill()
            raise
        if isinstance(answer, Exception):
            raise answer
        page: Page = answer
        return page

    def kill(self) -> None:
        self.is_alive = False
        self._other.close()
        self._child.kill()
        self._child.wait()


class _Pool:
    """The processes that there are, and which of them have nothing to do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[_Process] = []
        self._count = 0  # of processes
        self._pages = 0  # at work, in processes or not

    @contextlib.contextmanager
    def process(self) -> Iterator[_Process | None]:
        """One for a page; None where no other page is at work, and none is there yet or can be.

        Waits where all have something to do.
        """
        process = self._take()
        try:
            yield process
        finally:
            with self._changed:
                self._pages -= 1
                if process is not None and process.is_alive:
                    self._idle.append(process)
                elif process is not None:
                    self._count -= 1
                self._changed.notify()

    def _take(self) -> _Process | None:
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._count < most_processes())
            alone, self._pages = self._pages == 0, self._pages + 1
            if self._idle:
                return self._idle.pop()
            if alone:
                return None
            try:
                started = _Process()
            except OSError as e:
                log.warning("No process could be started to read pages: %s", e.strerror or e)
                return None
            self._count += 1
            return started

    def close(self) -> None:
        """End those that have nothing to do; the others end with this process."""
        with self._changed:
            while self._idle:
                self._idle.pop().kill()
                self._count -= 1


_pool = _Pool()
atexit.register(_pool.close)
