"""One model reads the lines of all pages, whatever thread they come from."""

from __future__ import annotations

import atexit
import dataclasses
import itertools
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

from .cutting import CutLine
from .pieces import Fitting, LineImage, Transcript
from .quick import QuickFirst, load_quick
from .reading import Reading
from .sizes import on_cpu, suitable_batch, suitable_lanes
from .transcribe import Transcriber
from .work import AtWork, ClosedError, Job, Line, Turn

log = logging.getLogger(__name__)

# So many batches may wait, and lines: enough to sort by width, few enough to hold in memory.
_WAITING_BATCHES, _WAITING_LINES = 16, 4096
# Fewer lines together are read more slowly, line by line.
_LEAST_BATCH = 8
# Others join the lines that are being read when so much of a batch is free.
_JOIN_SHARE = 0.25
# A step on a processor ends within a second or so; nobody waits longer for it.
_CLOSE_SECONDS = 30.0


class Recognizer:
    """Reads crops of text lines, uint8 (h, w), with one model.

    On a GPU one thread computes, on processors a few, a batch each: their products are too small
    to gain by being shared among threads.

    May be used from many threads at once, but not by a forked child of the process that made
    it.  To submit waits when too many lines are waiting.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str = "auto",
        batch_size: int | None = None,
        beams: int = 1,
        lanes: int | None = None,
        quick: Checkpoint | None = None,
    ):
        """`lanes`: threads that compute, `batch_size`: lines each of them reads at once; None for
        as many as suit the device.  `quick`: a smaller model to ask first, not with `beams`."""
        self._transcriber: Transcriber | QuickFirst = (
            Transcriber(checkpoint, beams) if quick is None else QuickFirst(checkpoint, quick)
        )
        # A smaller model leaves what it is unsure of until it has seen the rest: were that of all
        # pages, they would all be done at the same time.
        self._by_page = quick is not None
        self._device = device
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._batches: deque[list[Job]] = deque()
        self._turn = Turn(False, 0)  # of these batches
        self._numbers = itertools.count(1)
        self._closed = False
        backend.prepare(device)
        self._batch_size = batch_size or suitable_batch(checkpoint.config)
        # A processor begins with the first line; a GPU reads many in the time of a few.
        self._at_once = 1 if on_cpu() else self._batch_size
        self._lanes = lanes or suitable_lanes()
        backend.share_threads(self._lanes)
        self._running = self._lanes
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=_serve, args=([self],), name=f"trocr-{i}", daemon=True)
            for i in range(self._lanes)
        ]
        for thread in self._threads:
            thread.start()
        _open.add(self)

    def submit(self, crop: np.ndarray, *, characters: bool = False) -> Future[Reading]:
        """Queue a line; the future gives its Reading, with no words if it is blank.

        With `characters` the words have theirs.
        """
        (future,) = self.submit_all([crop], characters=characters)
        return future

    def submit_all(
        self, crops: Sequence[np.ndarray], *, characters: bool = False
    ) -> list[Future[Reading]]:
        """Queue lines, as `submit` does one: on a GPU they are read together, and so sooner."""
        return self._submit(crops, self.fitting, characters)

    def _submit(
        self, crops: Sequence[np.ndarray], fitting: Fitting, characters: bool
    ) -> list[Future[Reading]]:
        self._check_process()
        turn = self._next_turn(len(crops))
        futures: list[Future[Reading]] = []
        jobs: list[Job] = []
        for crop in crops:
            cut = CutLine(crop, fitting, characters)
            line = Line(cut.images, cut.reading, Future(), turn)
            if not cut.images:  # blank
                line.future.set_result(Reading())
            futures.append(line.future)
            jobs += line.jobs
            if len(jobs) >= self._at_once:
                self._queue(jobs)
                jobs = []
        self._queue(jobs)
        return futures

    def transcribe(self, images: Sequence[LineImage]) -> list[Transcript]:
        """What images say that `fitting` made elsewhere."""
        if not images:
            return []
        self._check_process()
        line = Line(images, list, Future(), self._next_turn(len(images)))
        self._queue(line.jobs)
        return line.future.result()

    def _next_turn(self, lines: int) -> Turn:
        return Turn(lines > _LEAST_BATCH, next(self._numbers))

    @property
    def fitting(self) -> Fitting:
        """How the model takes lines."""
        return self._transcriber.fitting

    def _queue(self, jobs: list[Job]) -> None:
        """Wait for room, and have them read."""
        if not jobs:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._has_room())
            if self._closed:
                raise ClosedError("the recognizer is closed")
            self._waiting.extend(jobs)
            self._changed.notify_all()

    def read(self, crops: Sequence[np.ndarray], *, characters: bool = False) -> list[Reading]:
        """Read lines that come from anywhere; raises what the first failing one raised.

        A smaller model, which knows lines as pages are cut into them, has no part in it.
        """
        fitting = dataclasses.replace(self.fitting, unusual=True)
        futures = self._submit(crops, fitting, characters)
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Stop at once; lines that wait or are being read fail.  Idempotent."""
        if self._pid != os.getpid():
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() not in self._threads:
            self._ended.wait(_CLOSE_SECONDS)

    def _has_room(self) -> bool:
        batches = max(2, min(_WAITING_BATCHES, _WAITING_LINES // self._batch_size))
        return len(self._waiting) < batches * self._batch_size

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the recognizer was closed")

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError(
                "MLX cannot be used in a forked process: use threads, which is OCRmyPDF's "
                "default, or start processes by 'spawn'"
            )

    def _run(self) -> None:
        """An inference thread: a step after the other, until the recognizer is closed."""
        error: BaseException = ClosedError("the recognizer was closed")
        at_work = AtWork(self._transcriber, self._check_open)
        try:
            backend.prepare(self._device)
            if not on_cpu():
                self._warm_up()
            while (jobs := self._take(at_work)) is not None:
                at_work.go_on(jobs)
        except BaseException as e:
            if not isinstance(e, ClosedError):
                log.debug("An inference thread ended", exc_info=True)
            error = e
        finally:
            with self._changed:
                self._closed = True
                rest = [*itertools.chain(*self._batches), *self._waiting]
                self._batches.clear()
                self._waiting = []
                self._running -= 1
                last = not self._running
                self._changed.notify_all()
            for job in (*at_work.jobs, *rest):
                job.line.fail(error)
            if last:
                self._ended.set()

    def _warm_up(self) -> None:
        try:
            self._transcriber.warm_up()
        except Exception:  # whoever has a line read will be told
            log.debug("The model could not be warmed up", exc_info=True)

    def _take(self, at_work: AtWork) -> list[Job] | None:
        """Lines to read with those at work, perhaps none; None when closed.

        Waits where none is at work.  Lines nobody waits for are left out.
        """
        room = self._batch_size - len(at_work)
        with self._changed:
            while True:
                self._changed.wait_for(
                    lambda: at_work or self._batches or self._waiting or self._closed
                )
                if self._closed:
                    return None
                if at_work and room < _JOIN_SHARE * self._batch_size:
                    return []
                self._make_batches()
                if not self._batches or not self._may_join(at_work):
                    return []
                batch = self._batches.popleft()
                if rest := batch[room:]:
                    self._batches.appendleft(rest)
                if jobs := [job for job in batch[:room] if _begin(job.line.future)]:
                    return jobs

    def _may_join(self, at_work: AtWork) -> bool:
        """By page only lines whose turn comes no later than that of those at work."""
        return not (at_work and self._by_page) or self._turn <= at_work.turn

    def _make_batches(self) -> None:
        """Of all that wait, or of one turn, when the last of the batches before is taken."""
        if self._batches and not (self._by_page and self._overtaken()):
            return
        jobs = [*itertools.chain(*self._batches), *self._waiting]
        if not jobs:
            return
        self._waiting = []
        if self._by_page:
            jobs.sort(key=lambda job: job.line.turn)
            self._turn = jobs[0].line.turn
            # Where these are few, others are read with them.
            count = sum(job.line.turn == self._turn for job in jobs)
            count = max(count, _LEAST_BATCH * self._lanes)
            jobs, self._waiting = jobs[:count], jobs[count:]
        share = -(-len(jobs) // self._lanes)
        size = min(self._batch_size, max(_LEAST_BATCH, share))
        self._batches = deque(_batches(jobs, size, self._transcriber.mixes, self._lanes))
        self._changed.notify_all()

    def _overtaken(self) -> bool:
        """Whether lines wait that are to be read before those of the batches."""
        return any(job.line.turn < self._turn for job in self._waiting)


def _serve(recognizers: list[Recognizer]) -> None:
    """The thread's whole life; the list is emptied so as not to keep a closed one in memory."""
    recognizers.pop()._run()
    # Never return: the thread's caches in MLX hold Python objects, and if they were dropped
    # while the interpreter shuts down, the process would abort.
    threading.Event().wait()


_open: weakref.WeakSet[Recognizer] = weakref.WeakSet()
_shared: dict[tuple[str, str, int | None, int], Recognizer] = {}
_shared_lock = threading.Lock()


def shared(
    name: str | None = None, device: str = "auto", batch_size: int | None = None, beams: int = 1
) -> Recognizer:
    """The process's recognizer for a checkpoint: "bundled" or None, a folder, or a model id.

    Made at the first call and kept.  Nothing is downloaded.  Raises ValueError, one line, for
    a checkpoint or device that cannot be used.
    """
    for inherited in _shared.values():
        inherited._check_process()
    folder = resolve(name)
    key = (str(folder.resolve()), device, batch_size, beams)
    with _shared_lock:
        recognizer = _shared.get(key)
        if recognizer is None or recognizer._closed:
            backend.prepare(device)
            on_gpu = mx.default_device().type == mx.gpu
            dtype = mx.float16 if on_gpu else mx.float32
            checkpoint = load(folder, dtype, keep_quantized=backend.keeps_quantized())
            quick = load_quick(folder, beams)
            recognizer = Recognizer(
                checkpoint, device=device, batch_size=batch_size, beams=beams, quick=quick
            )
            _shared[key] = recognizer
        return recognizer


@atexit.register
def _close_all() -> None:
    """A thread inside MLX must not outlive the interpreter."""
    for recognizer in list(_open):
        recognizer.close()


def _batches(jobs: list[Job], size: int, mixed: bool, lanes: int) -> Iterator[list[Job]]:
    """At most `size` jobs together: of one padded width, or `mixed`, and about one length.

    Mixed ones are dealt out to several lanes, for them to have as much to do each.
    """
    jobs.sort(key=lambda job: job.image.width, reverse=True)
    if mixed and lanes > 1:
        count = -(-len(jobs) // size)
        yield from (jobs[i::count] for i in range(count))
        return
    groups = itertools.groupby(jobs, key=lambda job: mixed or job.image.pixels.shape[1])
    for _, alike in groups:
        while batch := list(itertools.islice(alike, size)):
            yield batch


def _begin(future: Future[Reading]) -> bool:
    """From here on the future cannot be cancelled; False if it was."""
    return future.running() or (not future.cancelled() and future.set_running_or_notify_cancel())
