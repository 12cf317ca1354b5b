"""Ctrl-C: OCRmyPDF waits for the pages at work, so they have to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ocrmypdf.builtin_plugins.concurrency import StandardExecutor

from ocrmypdf_trocr_mlx import engine


class InterruptibleExecutor(StandardExecutor):
    """OCRmyPDF's executor, but on Ctrl-C no page is read to its end.

    A child process that does the recognition gets the signal itself; our thread does not.
    """

    def _execute(self, **arguments: Any) -> None:
        with _recognizers_end_on_interrupt():
            super()._execute(**arguments)


@contextmanager
def _recognizers_end_on_interrupt() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # the signal is another's to handle
        return

    def interrupted(number: int, frame: FrameType | None) -> None:
        engine.stop()
        before(number, frame)

    engine.stopped.clear()
    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
