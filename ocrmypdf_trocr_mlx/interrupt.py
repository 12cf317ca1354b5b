"""Ctrl-C: OCRmyPDF waits for the pages at work, so they have to end.

In threads their recogniser is closed; worker processes, which ignore the signal, are ended.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ocrmypdf.builtin_plugins.concurrency import StandardExecutor

from ocrmypdf_trocr_mlx import engine


class InterruptibleExecutor(StandardExecutor):
    """OCRmyPDF's executor, but on Ctrl-C no page is read to its end."""

    def _execute(self, **arguments: Any) -> None:
        engine.stopped.clear()
        with _pages_end_on_interrupt():
            super()._execute(**arguments)


@contextmanager
def _pages_end_on_interrupt() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # the signal is another's to handle
        return
    others = set(multiprocessing.active_children())

    def interrupted(number: int, frame: FrameType | None) -> None:
        engine.stop()
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        before(number, frame)

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
