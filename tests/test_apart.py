"""Pages read in processes of their own, and their lines by the model of this one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx import apart
from ocrmypdf_trocr_mlx.page_process import Task
from ocrmypdf_trocr_mlx.pipeline import map_ahead
from ocrmypdf_trocr_mlx.reader import PageReader
from ocrmypdf_trocr_mlx.recognizer import Recognizer, shared

LINES = ("The quarterly report was sent", "to all members of the board,", "who met on Monday.")


def page(number: int) -> np.ndarray:
    font = ImageFont.load_default(40)
    image = Image.new("L", (1000, 800), 255)
    draw = ImageDraw.Draw(image)
    for i, text in enumerate((*LINES, f"Page {number}")):
        draw.text((80, 90 + 100 * i), text, font=font, fill=0)
    return np.asarray(image)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return shared(device="cpu")


@pytest.fixture
def pool(monkeypatch) -> Iterator[apart._Pool]:
    """Two processes at most, whatever the machine, and none from before."""
    made = apart._Pool()
    monkeypatch.setattr(apart, "_pool", made)
    monkeypatch.setattr(apart, "most_processes", lambda: 2)
    yield made
    made.close()


def test_pages_are_read_as_without_processes(recognizer, pool) -> None:
    pages = [page(i) for i in range(6)]
    alone, reader = PageReader(recognizer), apart.Apart(recognizer)
    found = list(map_ahead(reader.read, pages, reader.at_once))
    expected = [alone.read(image) for image in pages]
    assert [each.text for each in found] == [each.text for each in expected]
    for mine, its in zip(found, expected, strict=True):
        for a, b in zip(mine.words, its.words, strict=True):
            assert a.box == b.box and a.confidence == pytest.approx(b.confidence, abs=1e-4)
    assert [line.text for line in found[3].lines] == [*LINES, "Page 3"]
    assert len(pool._idle) == pool._count == 2 and pool._pages == 0


def test_characters_and_the_least_confidence_are_the_readers_own(recognizer, pool) -> None:
    pages = [page(i) for i in range(3)]
    detailed = apart.Apart(recognizer, characters=True)
    found = list(map_ahead(detailed.read, pages, 3))
    assert all(word.characters for each in found for word in each.words)
    strict = apart.Apart(recognizer, min_confidence=1.0)
    assert [list(each.words) for each in map_ahead(strict.read, pages, 3)] == [[], [], []]


def test_a_page_that_is_alone_costs_no_process(recognizer, pool) -> None:
    reader = apart.Apart(recognizer)
    for i in range(2):
        assert f"Page {i}" in reader.read(page(i)).text
    assert pool._count == 0


def test_processes_have_no_mlx() -> None:
    """It would cost each of them memory, and a GPU's, too."""
    asked = "import sys, ocrmypdf_trocr_mlx.page_process; print('mlx.core' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_page_whose_process_dies_is_read_all_the_same(recognizer, pool, caplog) -> None:
    reader = apart.Apart(recognizer)
    process = apart._Process()
    pool._idle.append(process)
    pool._count = 1
    process._child.kill()
    process._child.wait()
    assert "Page 7" in reader.read(page(7)).text
    assert "A process that was reading a page has died" in caplog.text
    assert (pool._count, pool._idle, pool._pages) == (0, [], 0)


def test_pages_are_read_where_no_process_can_be_started(
    recognizer, pool, caplog, monkeypatch
) -> None:
    def fail() -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(apart, "_Process", fail)
    pool._pages = 1  # as if another page was at work
    assert "Page 4" in apart.Apart(recognizer).read(page(4)).text
    assert "to read pages: Resource temporarily unavailable" in caplog.text
    assert (pool._count, pool._pages) == (0, 1)


def test_what_reading_a_page_raises_is_raised_here(recognizer, pool) -> None:
    task = Task(np.zeros((9, 9, 9), np.uint8), recognizer.fitting, 0.7, False)
    process = apart._Process()
    try:
        for _ in range(2):  # it lives on
            with pytest.raises(ValueError):
                process.read(task, list)
        assert process.is_alive
    finally:
        process.kill()


def test_a_process_is_not_kept_where_its_lines_are_not_read(recognizer, pool) -> None:
    def fail(images: list) -> list:
        raise RuntimeError("the recognizer was closed")

    reader = apart.Apart(recognizer)
    reader._transcribe = fail  # type: ignore[method-assign]
    pool._pages = 1  # as if another page was at work
    with pytest.raises(RuntimeError, match="closed"):
        reader.read(page(1))
    assert (pool._count, pool._idle) == (0, [])


def test_pages_wait_where_all_processes_are_at_work(pool) -> None:
    pool._pages, pool._count = 2, 2
    got = threading.Event()

    def take() -> None:
        with pool.process() as process:
            assert process is waiting
            got.set()

    waiting = apart._Process()
    thread = threading.Thread(target=take)
    thread.start()
    assert not got.wait(0.2)
    with pool._changed:
        pool._idle.append(waiting)
        pool._changed.notify()
    thread.join(10)
    assert got.is_set()


def test_only_a_gpu_is_worth_processes(recognizer, monkeypatch) -> None:
    assert type(apart.page_reader(recognizer)) is PageReader
    monkeypatch.setattr(apart, "on_cpu", lambda: False)
    for cpus, kind, at_once in ((2, PageReader, 4), (8, apart.Apart, 11), (64, apart.Apart, 21)):
        monkeypatch.setattr("ocrmypdf_trocr_mlx.backend.available_cpus", lambda cpus=cpus: cpus)
        reader = apart.page_reader(recognizer)
        assert (type(reader), reader.at_once) == (kind, at_once)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert type(apart.page_reader(recognizer)) is PageReader


def test_processes_end_with_this_one() -> None:
    code = (
        "import os; from ocrmypdf_trocr_mlx import apart;"
        "print(apart._Process()._child.pid, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wait_for_end([int(done.stdout)])


def ocrmypdf(*args: object) -> list[str]:
    plugin = Path(__file__).with_name("apart_plugin.py")
    plugins = "--plugin", plugin, "--plugin", "ocrmypdf_trocr_mlx"
    return [sys.executable, "-m", "ocrmypdf", *map(str, (*plugins, *args))]


def test_a_document_is_read_in_processes(scan, tmp_path) -> None:
    texts = [f"Page {i} of a report" for i in range(6)]
    command = ocrmypdf("--jobs", 3, scan(*texts), tmp_path / "out.pdf")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(told(done.stderr)) == 2
    document = pypdfium2.PdfDocument(tmp_path / "out.pdf")
    assert [page.get_textpage().get_text_range().strip() for page in document] == texts


def test_interrupting_a_document_ends_its_processes(scan, tmp_path) -> None:
    """Ctrl-C, which all processes of a terminal's group are told."""
    out = tmp_path / "out.pdf"
    pdf = scan(*(f"Page {i} of a long report" for i in range(60)))
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ocrmypdf("--jobs", 3, pdf, out), stderr=pipe, text=True, start_new_session=True
    ) as run:
        assert run.stderr is not None
        children: list[int] = []
        while len(children) < 2:
            line = run.stderr.readline()
            assert line, "it ended before it was interrupted"
            children += told(line)
        os.killpg(run.pid, signal.SIGINT)
        started = time.monotonic()
        run.communicate(timeout=60)
    assert run.returncode == 130
    assert time.monotonic() - started < 15
    assert not out.exists()
    wait_for_end(children)


def told(errors: str) -> list[int]:
    """The processes that the plugin tells of."""
    return [int(pid) for pid in re.findall(r"^process (\d+)$", errors, re.MULTILINE)]


def wait_for_end(pids: list[int]) -> None:
    """Of processes that are nobody's children any more."""
    deadline = time.monotonic() + 10
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, f"processes {left} are still there"
        time.sleep(0.1)


def is_running(pid: int) -> bool:
    """Not one that has ended and waits for somebody to ask how, which in a container nobody may."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
