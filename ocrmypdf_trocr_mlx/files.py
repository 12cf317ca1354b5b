"""Files that are there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def encode(text: str) -> bytes:
    """UTF-8; names of files that are none keep their bytes."""
    return text.encode("utf-8", "surrogateescape")


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file under another name and give it its own when it is on the disk.

    Raises OSError, which names the file.
    """
    content = encode(data) if isinstance(data, str) else data
    # Not made from the target's name, which may already be as long as a name can be.
    temporary = path.parent / f".trocr-{secrets.token_hex(6)}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as e:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(e, OSError):
            raise OSError(e.errno, e.strerror, str(path)) from e
        raise
