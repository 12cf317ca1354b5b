"""Work of several threads, handed out in order: pages that are read together fill batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# One page is laid out while the lines of others are read.
WORKERS = 4


def map_ahead(
    function: Callable[[T], R], items: Iterable[T], workers: int = WORKERS
) -> Iterator[R]:
    """`function` of each item, in order; as many as `workers` are at work ahead of the caller.

    `items` are taken in the caller's thread, one when its turn comes.  What a call raises is
    raised in its place.  Where the caller gives up, no further call is begun.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="page")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
