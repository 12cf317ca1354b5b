"""Work of several threads, handed out in order: pages that are read together fill batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# One page is laid out while the lines of others are read.
WORKERS = 4
# While one takes long, so many times as many may be begun, and those that are done wait for it:
# else a quarter of 16 processors had nothing to do.
_AHEAD = 2


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
            while True:
                while waiting and (waiting[0].done() or len(waiting) > _AHEAD * workers):
                    yield waiting.popleft().result()
                at_work = [call for call in waiting if not call.done()]
                if len(at_work) <= workers:
                    break
                wait(at_work, return_when=FIRST_COMPLETED)
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
