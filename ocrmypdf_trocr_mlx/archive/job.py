"""What driver, workers and journal say to each other."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

# Exit codes, those of the command line.
FAILED = 1  # some file could not be converted, or the disk is full
USAGE = 2  # folders or options are wrong
UNUSABLE = 3  # the workers cannot work: the checkpoint, the device, a program that is missing
INTERRUPTED = 130

PART_PREFIX = ".trocr-mlx-"  # files that are not whole yet, beside the file they will become


class ArchiveError(Exception):
    """Ends the run: one line that names what is wrong and what to do, and the exit code."""

    def __init__(self, message: str, exit_code: int = FAILED):
        super().__init__(message)
        self.exit_code = exit_code


class State(StrEnum):
    """What became of a file."""

    PENDING = "pending"  # to be done
    RUNNING = "running"  # handed out
    DONE = "done"  # the output is in its place
    SEARCHABLE = "searchable"  # OCRmyPDF found text in it already: nothing written
    ENCRYPTED = "encrypted"  # it opens with a password only
    SIGNED = "signed"  # OCR would break the signature
    UNREADABLE = "unreadable"  # damaged, empty, no PDF or image, or an image without resolution
    VANISHED = "vanished"  # it was there when the tree was read
    FAILED = "failed"  # anything else: the next run tries again


# What a second attempt may cure by itself; the others wait for a change or --retry-failed.
RETRIED = frozenset({State.FAILED, State.VANISHED})
GOOD = frozenset({State.DONE, State.SEARCHABLE})


@dataclass(frozen=True)
class Job:
    """One file to convert; both paths are absolute."""

    id: int
    source: str
    output: str

    @property
    def part_prefix(self) -> str:
        """Begins the name of every unfinished output of this job, and of no other job's."""
        digest = hashlib.sha256(os.fsencode(self.output)).hexdigest()
        return f"{PART_PREFIX}{digest[:16]}-"

    def remove_parts(self) -> None:
        """Remove what a killed worker may have left beside the output."""
        for part in Path(self.output).parent.glob(f"{self.part_prefix}*"):
            part.unlink(missing_ok=True)


@dataclass(frozen=True)
class Outcome:
    """What became of a job.  `size`, `mtime_ns` and `sha256` are those of the input as read."""

    state: State
    message: str = ""
    pages: int = 0
    seconds: float = 0.0
    size: int = -1
    mtime_ns: int = -1
    sha256: str = ""
    worker: str = ""
    crashed: bool = False  # the worker died of it: worth another try


def display(path: str | os.PathLike[str]) -> str:
    """A path in one line, whatever its bytes."""
    text = os.fsdecode(path).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    return " ".join(text.split())
