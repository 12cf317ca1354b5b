"""Drop folders: what arrives is taken once, and not before it is whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_archive import StubPool

from ocrmypdf_trocr_mlx.archive.job import ArchiveError
from ocrmypdf_trocr_mlx.archive.run import make_rules, open_archive
from ocrmypdf_trocr_mlx.archive.watch import watch


@contextmanager
def watching(source: Path, poll: bool = False, settle: float = 0.4) -> Iterator[Watched]:
    pool = StubPool()
    rules = make_rules(source, source.parent / "out", (), restore=False)
    with open_archive(rules, (), lambda: pool, lambda *_: None) as archive:
        yield Watched(watch(archive, settle=settle, poll=poll), pool)


class Watched:
    def __init__(self, turns: Iterator[int], pool: StubPool):
        self._turns, self._pool = turns, pool

    def until(self, count: int, seconds: float = 20) -> list[str]:
        """The names taken so far, when there are so many."""
        end = time.monotonic() + seconds
        while len(self._pool.jobs) < count and time.monotonic() < end:
            next(self._turns)
        return sorted(Path(job.source).name for job in self._pool.jobs)

    def rest(self, seconds: float) -> list[str]:
        return self.until(1000, seconds)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("poll", [False, True])
def test_what_is_there_and_what_arrives_is_taken(source: Path, poll: bool) -> None:
    (source / "there.pdf").write_text("scan")
    with watching(source, poll) as watched:
        assert watched.until(1) == ["there.pdf"]
        (source / "new.pdf").write_text("scan")
        (source / "notes.txt").write_text("no scan")
        (source / ".hidden.pdf").write_text("not yet")
        (source / "folder").mkdir()
        (source / "folder" / "deep.tif").write_text("scan")
        expected = ["deep.tif", "new.pdf", "there.pdf"]
        assert watched.until(3) == expected
        (source.parent / "out" / "new.pdf").unlink()  # taken away by whoever waits for it
        assert watched.rest(1) == expected
        (source / ".hidden.pdf").rename(source / "shown.pdf")
        assert "shown.pdf" in watched.until(4)


def test_a_folder_moved_in_as_a_whole_is_taken(source: Path) -> None:
    outside = source.parent / "batch"
    outside.mkdir()
    (outside / "a.pdf").write_text("scan")
    with watching(source) as watched:
        watched.rest(0.2)
        outside.rename(source / "batch")
        assert watched.until(1) == ["a.pdf"]
    assert (source.parent / "out" / "batch" / "a.pdf").exists()


def test_a_growing_file_is_taken_when_it_is_whole(source: Path) -> None:
    def scan_slowly() -> None:
        with (source / "slow.pdf").open("w") as file:
            for _ in range(10):
                file.write("part ")
                file.flush()
                time.sleep(0.15)

    writer = threading.Thread(target=scan_slowly)
    with watching(source) as watched:
        writer.start()
        assert watched.until(1) == ["slow.pdf"]
        writer.join()
        assert watched.rest(1) == ["slow.pdf"]
    assert (source.parent / "out" / "slow.pdf").read_text() == "part " * 10


def test_a_file_that_is_taken_back_is_forgotten(source: Path) -> None:
    with watching(source, settle=2) as watched:
        watched.rest(0.1)
        (source / "a.pdf").write_text("scan")
        watched.rest(0.1)
        (source / "a.pdf").unlink()
        assert watched.rest(3) == []


def test_a_restart_takes_what_arrived_meanwhile_and_no_more(source: Path) -> None:
    (source / "a.pdf").write_text("scan")
    with watching(source) as watched:
        watched.until(1)
    (source / "b.pdf").write_text("scan")
    with watching(source) as watched:
        assert watched.until(1) == ["b.pdf"]


def test_a_folder_that_goes_away_is_named(source: Path) -> None:
    with watching(source) as watched:
        watched.rest(0.1)
        source.rmdir()
        with pytest.raises(ArchiveError, match="inbox: the folder is gone"):
            watched.rest(5)
