"""Temporary folders of worker processes.

A worker and its driver hold a lock on a folder.  Where both were killed, nobody is left to remove
it: the next worker that starts on the machine does, once nobody holds the lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "trocr-mlx-"
_LOCK = "in-use"


@dataclass(frozen=True)
class Scratch:
    """A folder of our own; who inherits `lock`, a file descriptor, keeps the folder alive."""

    folder: Path
    lock: int

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)


def make_scratch() -> Scratch:
    """A new folder, after those that killed processes left are removed; OSError."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # It gets its name when it is locked: others must not find it free meanwhile.
    new = folder / f"{_LOCK}.new"
    lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(folder / _LOCK)
    return Scratch(folder, lock)


def _remove_abandoned(temporary: Path) -> None:
    for folder in temporary.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # not ours, in use, or gone by now
            if folder.lstat().st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
