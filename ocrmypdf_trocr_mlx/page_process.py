"""A process that reads pages but has no model: another one says what its lines say.

It is started by `apart`, and talks to it through a socket, in pickles:

    Task ->    a page to read
    <- list of LineImage    some of its lines
    Transcripts ->          what they say
    <- Page, or the exception that reading it raised
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np

from ocrmypdf_trocr_mlx.reader import PageReader
from ocrmypdf_trocr_mlx.recognizer import Reading
from ocrmypdf_trocr_mlx.recognizer.cutting import CutLine
from ocrmypdf_trocr_mlx.recognizer.pieces import Fitting, LineImage, Transcript


@dataclass(frozen=True)
class Task:
    """A page image, uint8 (H, W), and how it is to be read; see `PageReader`."""

    gray: np.ndarray
    fitting: Fitting
    min_confidence: float
    characters: bool


class Asking:
    """A recognizer for `PageReader`, which has the lines read at the other end."""

    def __init__(self, other: Connection, fitting: Fitting):
        self._other = other
        self._fitting = fitting

    def submit_all(
        self, crops: Sequence[np.ndarray], *, characters: bool = False
    ) -> list[Future[Reading]]:
        """As `Recognizer.submit_all`; they are read when it returns."""
        lines = [CutLine(crop, self._fitting, characters) for crop in crops]
        said = iter(self._ask([image for line in lines for image in line.images]))
        futures: list[Future[Reading]] = []
        for line in lines:
            future: Future[Reading] = Future()
            future.set_result(line.reading([next(said) for _ in line.images]))
            futures.append(future)
        return futures

    def _ask(self, images: list[LineImage]) -> list[Transcript]:
        if not images:
            return []
        self._other.send(images)
        transcripts: list[Transcript] = self._other.recv()
        return transcripts


def serve(other: Connection) -> None:
    """Read pages until the other end is closed."""
    while True:
        try:
            task: Task = other.recv()
        except EOFError:
            return
        try:
            asking = Asking(other, task.fitting)
            reader = PageReader(asking, task.min_confidence, task.characters)
            other.send(reader.read(task.gray))
        except (EOFError, ConnectionError):
            return
        except Exception as e:
            other.send(e)


def main(descriptor: int) -> None:
    """Serve the socket's other end."""
    # Ctrl-C is for the process that asks; this one ends with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Connection(descriptor))
