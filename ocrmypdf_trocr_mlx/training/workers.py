"""The same done to many things by worker processes."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import multiprocessing
import pickle
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2

# What is sent to a worker at a time.
_PART = 64
# So many are done here first: fewer are done before a worker has begun.
_FEW = 1500

T = TypeVar("T")
R = TypeVar("R")

_function: Callable[[Any], Any] | None = None


def mapped(function: Callable[[T], R], things: Iterable[T], workers: int) -> Iterator[R]:
    """What `function`, which is pickled, makes of each; here alone with no worker."""
    things = iter(things)
    yield from map(function, things if workers <= 0 else itertools.islice(things, _FEW))
    part = list(itertools.islice(things, _PART))
    if not part:
        return
    waiting: collections.deque[Future[list[R]]] = collections.deque()
    with pool_for(functools.partial(_of_each, function), workers) as submit:
        while part:
            waiting.append(submit(part))
            if len(waiting) > 3 * workers:
                yield from waiting.popleft().result()
            part = list(itertools.islice(things, _PART))
        while waiting:
            yield from waiting.popleft().result()


@contextlib.contextmanager
def pool_for(function: Callable[[T], R], workers: int) -> Iterator[Callable[[T], Future[R]]]:
    """Worker processes, each with a copy of `function`: what has one of them do it to a thing."""
    # Not forked: a child forked from a process that uses MLX hangs.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        # Through a pipe each worker would have to begin before the next can be started.
        path = Path(folder) / "function"
        with path.open("wb") as file:
            pickle.dump(function, file, pickle.HIGHEST_PROTOCOL)
        pool = ProcessPoolExecutor(workers, context, _begin, (path,))
        try:
            yield lambda thing: pool.submit(_call, thing)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin(path: Path) -> None:
    global _function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's business
    cv2.setNumThreads(1)
    with path.open("rb") as file:
        _function = pickle.load(file)


def _call(thing: Any) -> Any:
    assert _function is not None
    return _function(thing)


def _of_each(function: Callable[[T], R], things: Sequence[T]) -> list[R]:
    return [function(thing) for thing in things]
