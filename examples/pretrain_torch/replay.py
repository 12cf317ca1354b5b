"""Batches for a GPU that learns faster than processors draw: some are shown more than once."""

from __future__ import annotations

import queue
import random
import threading
from collections import deque
from collections.abc import Iterator

from ocrmypdf_trocr_mlx.training.batches import Batch
from ocrmypdf_trocr_mlx.training.errors import TrainingError

# Batches that are kept to be shown again, and how many there must be first: a few shown over
# and over would be learned by heart.
_KEPT, _FIRST = 160, 24
_AHEAD = 12
_POLL_SECONDS = 0.1


class Replay:
    """Of batches without end: fresh ones as long as there are any, else earlier ones, each so many
    `times` at most.

    A context manager: inside, a thread takes from `batches`.
    """

    def __init__(self, batches: Iterator[Batch], times: int, seed: int):
        self._batches = batches
        self._times = times
        self._rng = random.Random(seed)
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(_AHEAD)
        self._kept: deque[tuple[Batch, list[int]]] = deque(maxlen=_KEPT)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._take, daemon=True)

    def __enter__(self) -> Replay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()

    def next(self) -> tuple[Batch, bool]:
        """A batch, and whether it is shown for the first time; raises what drawing them raised."""
        found: Batch | BaseException
        try:
            found = self._ready.get_nowait()
        except queue.Empty:
            if (again := self._again()) is not None:
                return again, False
            found = self._ready.get()
        if isinstance(found, BaseException):
            raise found
        self._kept.append((found, [0]))
        return found, True

    def _again(self) -> Batch | None:
        if len(self._kept) < _FIRST:
            return None
        left = [entry for entry in self._kept if entry[1][0] < self._times]
        if not left:
            return None
        batch, shown = self._rng.choice(left)
        shown[0] += 1
        return batch

    def _take(self) -> None:
        try:
            for batch in self._batches:
                self._put(batch)
                if self._stopping.is_set():
                    return
            raise TrainingError("there are no more batches")
        except BaseException as e:  # is raised where the batches are used
            self._put(e)

    def _put(self, found: Batch | BaseException) -> None:
        while not self._stopping.is_set():
            try:
                self._ready.put(found, timeout=_POLL_SECONDS)
                return
            except queue.Full:
                continue
