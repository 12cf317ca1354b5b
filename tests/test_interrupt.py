"""Ctrl-C ends the pages that are being read, and only a running job answers to it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FakeRecognizer, fake_shared, make_options, save
from PIL import Image

from ocrmypdf_trocr_mlx import _plugin, engine
from ocrmypdf_trocr_mlx.engine import TrOcrEngine
from ocrmypdf_trocr_mlx.options import TrOcrOptions


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, as on a terminal; a shell's background jobs are started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_does_not_wait_for_pages(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    made = FakeRecognizer()
    fake_shared(monkeypatch, lambda *args: made)
    began = threading.Event()

    class Reader:
        def read(self, image: Image.Image) -> None:
            engine.recognizer(TrOcrOptions())
            began.set()
            made.closed.wait(60)
            raise RuntimeError("the recognizer was closed")

    monkeypatch.setattr(engine, "page_reader", lambda options: Reader())
    path = save(tmp_path, Image.new("L", (40, 20)))

    main = threading.get_ident()

    def press_ctrl_c() -> None:
        began.wait()
        signal.pthread_kill(main, signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    threading.Thread(target=press_ctrl_c, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        _plugin.get_executor(None)(
            use_threads=True,
            max_workers=1,
            progress_kwargs={},
            task=lambda: TrOcrEngine.generate_ocr(path, make_options()),
            task_arguments=[()],
        )

    assert made.closed.is_set()
    assert "could not be read" not in caplog.text  # it is no fault of the page
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_a_job_starts_leaves_no_thread() -> None:
    before = set(threading.enumerate())

    def tasks() -> Iterator[tuple]:
        yield ()
        signal.raise_signal(signal.SIGINT)
        yield ()

    with pytest.raises(KeyboardInterrupt):
        _plugin.get_executor(None)(
            use_threads=True,
            max_workers=1,
            progress_kwargs={},
            task=lambda: None,
            task_arguments=tasks(),
        )
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), thread


@pytest.mark.usefixtures("ctrl_c")
def test_only_a_running_job_changes_ctrl_c() -> None:
    engine.stopped.set()  # by an earlier job
    seen = []
    _plugin.get_executor(None)(
        use_threads=True,
        max_workers=1,
        progress_kwargs={},
        task=lambda: seen.append(signal.getsignal(signal.SIGINT)),
        task_arguments=[()],
    )
    assert not engine.stopped.is_set()
    assert seen[0] is not signal.getsignal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
