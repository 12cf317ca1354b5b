"""Ctrl-C: OCRmyPDF waits for the pages at work, so they have to end.

In threads their recogniser is closed; worker processes, which ignore the signal, are ended.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ocrmypdf.builtin_plugins.concurrency import StandardExecutor

from ocrmypdf_trocr_mlx import engine


class InterruptibleExecutor(StandardExecutor):
    """OCRmyPDF's executor, but on Ctrl-C no page is read to its end."""

    def _execute(self, *, task_arguments: Iterable[Any], **arguments: Any) -> None:
        engine.stopped.clear()
        with _pages_end_on_interrupt() as noted:
            super()._execute(task_arguments=noted(task_arguments), **arguments)


@contextmanager
def _pages_end_on_interrupt() -> Iterator[Callable[[Iterable[Any]], Iterable[Any]]]:
    """Gives a function for the executor's tasks to go through, one by one."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda tasks: tasks  # the signal is another's to handle
        return
    others = set(multiprocessing.active_children())
    all_begun = postponed = False

    def interrupted(number: int, frame: FrameType | None) -> None:
        nonlocal postponed
        engine.stop()
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        # Before, the executor would leave its log's thread behind, and the process would hang.
        if all_begun:
            before(number, frame)
        else:
            postponed = True

    def noted(tasks: Iterable[Any]) -> Iterator[Any]:
        nonlocal all_begun
        yield from tasks
        all_begun = True

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
        if postponed:
            before(signal.SIGINT, None)
