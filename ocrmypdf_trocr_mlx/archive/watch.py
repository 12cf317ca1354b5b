"""A scanner's drop folder: files are converted as they arrive, when they have stopped growing."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.polling import PollingObserver

from ocrmypdf_trocr_mlx.archive.job import FAILED, ArchiveError, display
from ocrmypdf_trocr_mlx.archive.scan import Found, find, plan_file, walk, wanted

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.archive.run import Archive

log = logging.getLogger(__name__)

_GROWTH_EVENTS = frozenset({"created", "modified", "moved", "closed"})


class Arrivals(FileSystemEventHandler):
    """The files that changed since they were asked for last; filled by watchdog's thread."""

    def __init__(self) -> None:
        self._paths: queue.SimpleQueue[Path] = queue.SimpleQueue()

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _GROWTH_EVENTS:
            for name in (event.src_path, event.dest_path):
                if name:
                    self._paths.put(Path(name if isinstance(name, str) else name.decode()))

    def take(self, seconds: float) -> Iterator[Path]:
        """Wait so long for the first, and give all there are."""
        try:
            yield self._paths.get(timeout=seconds)
            while True:
                yield self._paths.get_nowait()
        except queue.Empty:
            return


class Settling:
    """Files that arrived, until size and time of each have stayed what they are for a while."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self._files: dict[str, tuple[Found, float]] = {}  # and since when it is so

    def add(self, found: Found) -> None:
        known = self._files.get(found.path)
        if known is None or known[0] != found:
            self._files[found.path] = (found, time.monotonic())

    def settled(self, source: Path) -> list[Found]:
        """Take out what has not changed for long enough; what is gone is forgotten."""
        ripe = []
        for path in list(self._files):
            now = find(source, source / path)
            if now is None or not now.mtime_ns:
                del self._files[path]
                continue
            self.add(now)
            if time.monotonic() - self._files[path][1] >= self._seconds:
                del self._files[path]
                ripe.append(now)
        return ripe


def watch(archive: Archive, *, settle: float, poll: bool = False) -> Iterator[int]:
    """Convert what lies in the source and what arrives, for ever; gives how many at a time.

    `settle` is for how many seconds a file must stay as it is; `poll` looks for changes by
    listing the folder, for network shares, which send no events.
    """
    rules = archive.rules
    arrivals, settling = Arrivals(), Settling(settle)
    with _observed(rules.source, arrivals, poll):
        for found in walk(rules.source, rules.destination):
            settling.add(found)
        while True:
            ripe = settling.settled(rules.source)
            planned = sum(bool(plan_file(archive.journal, found, rules)) for found in ripe)
            if planned:
                archive.work()
            yield planned
            if not rules.source.is_dir():
                raise ArchiveError(f"{display(rules.source)}: the folder is gone", FAILED)
            for path in arrivals.take(min(1.0, settle)):
                for found in _arrived(path, archive):
                    settling.add(found)


def _arrived(path: Path, archive: Archive) -> Iterator[Found]:
    """The files behind an event, which may be a folder that was moved here as a whole."""
    source, destination = archive.rules.source, archive.rules.destination
    if not path.is_relative_to(source) or path.is_relative_to(destination):
        return
    if any(part.startswith(".") for part in path.relative_to(source).parts):
        return
    if path.is_dir() and not path.is_symlink():
        for found in walk(path, destination):
            inside = str((path / found.path).relative_to(source))
            yield Found(inside, found.size, found.mtime_ns)
    elif wanted(path.name) and (file := find(source, path)):
        yield file


@contextmanager
def _observed(folder: Path, arrivals: Arrivals, poll: bool) -> Iterator[None]:
    observer = PollingObserver() if poll else Observer()
    observer.schedule(arrivals, str(folder), recursive=True)
    try:
        observer.start()
    except OSError as e:
        problem = f"cannot be watched ({e.strerror}): try --poll"
        raise ArchiveError(f"{display(folder)}: {problem}", FAILED) from e
    try:
        yield
    finally:
        observer.stop()
        observer.join()
