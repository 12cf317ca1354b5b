"""Which files of the source are to be done: the tree against the journal."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocrmypdf_trocr_mlx.archive import journal as journals
from ocrmypdf_trocr_mlx.archive.job import GOOD, USAGE, ArchiveError, State, display
from ocrmypdf_trocr_mlx.archive.journal import Entry, Journal

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".pdf", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".jp2", ".bmp"})
_FILES_A_TRANSACTION = 1000
# Reasons to begin anew, whatever was tried before.
_FRESH = frozenset({"changed", "other options", "retry"})


@dataclass(frozen=True)
class Found:
    """A file of the source; size and time are 0 for a link that leads nowhere."""

    path: str  # relative to the source
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Rules:
    """What makes a file of the journal a file to be done."""

    source: Path
    destination: Path
    options: str  # see options.fingerprint
    max_tries: int
    retry_failed: bool = False
    restore: bool = True  # do again what is done if its output is gone


def check_folders(source: Path, destination: Path) -> tuple[Path, Path]:
    """Both absolute, without links; raises ArchiveError where inputs could be overwritten."""
    if not source.is_dir():
        raise ArchiveError(
            f"{display(source)}: no such folder"
            if not source.exists()
            else f"{display(source)} is not a folder: name the folder that holds the scans",
            USAGE,
        )
    source, destination = source.resolve(), destination.resolve()
    if destination == source or destination in source.parents:
        raise ArchiveError(
            f"{display(destination)}: the destination must not be the source or hold it, or "
            "inputs could be overwritten: name another folder",
            USAGE,
        )
    return source, destination


def walk(source: Path, destination: Path) -> Iterator[Found]:
    """The PDFs and images below the source.

    Left out are hidden files and folders, links to folders (so that no loop can catch us), and
    the destination of this and of any other run, known by its journal.
    """
    folders = [source]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as e:
            log.warning("%s: left out: %s", display(folder), e.strerror)
            continue
        if folder == destination or any(entry.name == journals.NAME for entry in entries):
            log.info("%s: left out, it is a destination", display(folder))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif wanted(entry.name) and (found := find(source, Path(entry.path))):
                yield found


def wanted(name: str) -> bool:
    """Whether the name is that of a PDF or image which is not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122


def find(source: Path, path: Path) -> Found | None:
    """The file as it is now; None for a folder, a pipe or the like, and for a link to one."""
    relative = str(path.relative_to(source))
    try:
        stat = path.stat()
    except OSError:
        return Found(relative, 0, 0)  # converting it will tell what is wrong
    if not path.is_file():
        return None
    return Found(relative, stat.st_size, stat.st_mtime_ns)


def output_of(destination: Path, path: str) -> Path:
    """A PDF keeps its name; an image's name gets .pdf appended, for scan.tif and scan.pdf may
    lie side by side."""
    return destination / (path if path.lower().endswith(".pdf") else f"{path}.pdf")


def plan(journal: Journal, found: Iterator[Found], rules: Rules) -> int:
    """Mark in the journal what is to be done of the files found, and count the files found."""
    total = 0
    while batch := list(itertools.islice(found, _FILES_A_TRANSACTION)):
        with journal.transaction():
            for file in batch:
                plan_file(journal, file, rules)
        total += len(batch)
    return total


def plan_file(journal: Journal, found: Found, rules: Rules) -> str:
    """Mark the file in the journal if it is to be done; gives the reason, "" if there is none."""
    entry = journal.get(found.path)
    reason = _reason(entry, found, rules)
    if reason:
        journal.plan(found.path, found.size, found.mtime_ns, reason)
        if entry and reason in _FRESH:
            journal.forget_tries(entry.id)
    elif entry and _moved(entry, found):
        journal.touch(entry.id, found.size, found.mtime_ns)
    return reason


def _reason(entry: Entry | None, found: Found, rules: Rules) -> str:
    if entry is None:
        return "new"
    if entry.state is State.PENDING:
        return entry.reason
    if _moved(entry, found) and _digest(rules.source / found.path) != entry.sha256:
        return "changed"
    if entry.options != rules.options:
        return "other options"
    if entry.state is State.DONE:
        gone = rules.restore and not output_of(rules.destination, entry.path).exists()
        return "output is gone" if gone else ""
    if rules.retry_failed and entry.state not in GOOD:
        return "retry"
    if entry.state is State.VANISHED:
        return "is back" if found.mtime_ns else ""
    return "failed before" if entry.state is State.FAILED and entry.tries < rules.max_tries else ""


def _moved(entry: Entry, found: Found) -> bool:
    return (entry.size, entry.mtime_ns) != (found.size, found.mtime_ns)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # converting it will tell what is wrong
