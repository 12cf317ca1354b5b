"""The journal: an SQLite file in the destination that knows every file of an archive.

Only the driver of a run writes it, one transaction for each change, so that a kill at any
moment leaves it whole.  A lock file beside it keeps a second run away.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ocrmypdf_trocr_mlx.archive.job import (
    FAILED,
    RETRIED,
    USAGE,
    ArchiveError,
    Outcome,
    State,
    display,
)

log = logging.getLogger(__name__)

NAME = ".trocr-mlx.db"
_VERSION = 1
# Paths are bytes, relative to the source: not every name is valid UTF-8.
_SCHEMA = """
CREATE TABLE archive (source BLOB NOT NULL);
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    sha256 TEXT NOT NULL DEFAULT '',
    options TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL,
    ours INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    pages INTEGER NOT NULL DEFAULT 0,
    seconds REAL NOT NULL DEFAULT 0,
    worker TEXT NOT NULL DEFAULT '',
    finished TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX file_todo ON file (state, tries, path);
"""
_COLUMNS = (
    "id, path, size, mtime_ns, sha256, options, state, ours, reason, tries, message, pages, "
    "seconds, worker, finished"
)


@dataclass(frozen=True)
class Entry:
    """A row: one file of the source."""

    id: int
    path: str  # relative to the source, as os.fsdecode gives it
    size: int
    mtime_ns: int
    sha256: str
    options: str
    state: State
    ours: bool  # the output, if there is one, was written by us
    reason: str  # why it is pending
    tries: int  # how often it failed or its worker died
    message: str
    pages: int
    seconds: float
    worker: str
    finished: str  # UTC, ISO 8601


class Journal:
    """Made by `open_journal`; belongs to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection):
        self._db = connection

    def bind(self, source: Path) -> None:
        """Note the archive's source; raises ArchiveError if the journal is another one's.

        A journal without files is nobody's: a folder without scans was named by mistake.
        """
        if not self._db.execute("SELECT EXISTS (SELECT * FROM file)").fetchone()[0]:
            self._db.execute("DELETE FROM archive")
        row = self._db.execute("SELECT source FROM archive").fetchone()
        if row is None:
            with self._db:
                self._db.execute("INSERT INTO archive VALUES (?)", (os.fsencode(source),))
        elif row[0] != os.fsencode(source):
            raise ArchiveError(
                f"The destination holds the conversion of {display(os.fsdecode(row[0]))}, not "
                f"of {display(source)}: choose another destination for this source",
                USAGE,
            )

    def source(self) -> str:
        row = self._db.execute("SELECT source FROM archive").fetchone()
        return os.fsdecode(row[0]) if row else ""

    def get(self, path: str) -> Entry | None:
        rows = self._select("WHERE path = ?", os.fsencode(path))
        return next(rows, None)

    def entries(self, *states: State) -> Iterator[Entry]:
        """All files, or those in one of the states, by path."""
        marks = ", ".join("?" * len(states))
        return self._select(
            f"WHERE state IN ({marks}) ORDER BY path" if states else "ORDER BY path", *states
        )

    def todo(self, limit: int) -> list[Entry]:
        """The next pending files; those that were tried before come last."""
        return list(
            self._select("WHERE state = ? ORDER BY tries, path LIMIT ?", State.PENDING, limit)
        )

    def counts(self) -> dict[State, int]:
        rows = self._db.execute("SELECT state, count(*) FROM file GROUP BY state")
        return {State(state): count for state, count in rows}

    def totals(self) -> tuple[int, float]:
        """Pages and seconds of all that is done."""
        query = (
            "SELECT coalesce(sum(pages), 0), coalesce(sum(seconds), 0) FROM file WHERE state = ?"
        )
        pages, seconds = self._db.execute(query, (State.DONE,)).fetchone()
        return pages, seconds

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Many `plan` calls at once: all are kept, or none."""
        self._db.execute("BEGIN")
        with self._db:
            yield

    def plan(self, path: str, size: int, mtime_ns: int, reason: str) -> None:
        """Have a file done, because of `reason`; a new row or a known one."""
        self._db.execute(
            "INSERT INTO file (path, size, mtime_ns, state, reason) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (path) DO UPDATE SET size = excluded.size, mtime_ns = excluded.mtime_ns, "
            "state = excluded.state, reason = excluded.reason",
            (os.fsencode(path), size, mtime_ns, State.PENDING, reason),
        )

    def forget_tries(self, entry_id: int) -> None:
        self._db.execute("UPDATE file SET tries = 0 WHERE id = ?", (entry_id,))

    def touch(self, entry_id: int, size: int, mtime_ns: int) -> None:
        """The file has another time, its content is what it was."""
        self._db.execute(
            "UPDATE file SET size = ?, mtime_ns = ? WHERE id = ?", (size, mtime_ns, entry_id)
        )

    def recover(self) -> list[Entry]:
        """Files that were handed out when a run was killed; they are pending now."""
        interrupted = list(self.entries(State.RUNNING))
        self._db.execute(
            "UPDATE file SET state = ?, reason = 'interrupted' WHERE state = ?",
            (State.PENDING, State.RUNNING),
        )
        return interrupted

    def start(self, entry_id: int) -> None:
        """The file is handed out; from now on its output is taken for ours."""
        self._db.execute(
            "UPDATE file SET state = ?, ours = 1 WHERE id = ?", (State.RUNNING, entry_id)
        )

    def give_back(self, entry_id: int) -> None:
        """A file that was handed out was not done, through no fault of its own."""
        self._db.execute(
            "UPDATE file SET state = ? WHERE id = ? AND state = ?",
            (State.PENDING, entry_id, State.RUNNING),
        )

    def finish(
        self, entry_id: int, outcome: Outcome, options: str, *, max_tries: int, ours: bool
    ) -> State | None:
        """Note what became of a running file; `ours` tells whether its output may be ours.

        Gives the state it is in now: pending again if its worker died and tries are left.  Gives
        None, and changes nothing, if the file was not running.
        """
        row = self._db.execute(
            "SELECT tries FROM file WHERE id = ? AND state = ?", (entry_id, State.RUNNING)
        ).fetchone()
        if row is None:
            return None
        tries = row[0] + (outcome.state in RETRIED)
        again = outcome.crashed and tries < max_tries
        state = State.PENDING if again else outcome.state
        values = {
            "state": state,
            "reason": "its worker died" if again else "",
            "tries": tries,
            "ours": ours or outcome.state is State.DONE or outcome.crashed,
            "message": outcome.message,
            "pages": outcome.pages,
            "seconds": outcome.seconds,
            "worker": outcome.worker,
            "options": options,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if outcome.sha256:
            values |= {name: getattr(outcome, name) for name in ("size", "mtime_ns", "sha256")}
        columns = ", ".join(f"{name} = ?" for name in values)
        self._db.execute(f"UPDATE file SET {columns} WHERE id = ?", (*values.values(), entry_id))
        return state

    def _select(self, where: str, *values: object) -> Iterator[Entry]:
        for row in self._db.execute(f"SELECT {_COLUMNS} FROM file {where}", values):
            id_, path, size, mtime_ns, sha256, options, state, ours, *rest = row
            known = (id_, os.fsdecode(path), size, mtime_ns, sha256, options)
            yield Entry(*known, State(state), bool(ours), *rest)


@contextmanager
def open_journal(destination: Path) -> Iterator[Journal]:
    """The destination's journal, made if there is none, for this run alone.

    Raises ArchiveError if another run has it, and where it cannot be read or written.
    """
    try:
        destination.mkdir(parents=True, exist_ok=True)
        lock = os.open(destination / f"{NAME}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as e:
        raise ArchiveError(
            f"{display(destination)}: cannot write here: {e.strerror}", FAILED
        ) from e
    try:
        _take(lock, destination)
        with _connection(destination / NAME, new=True) as db:
            yield Journal(db)
    finally:
        os.close(lock)


@contextmanager
def read_journal(destination: Path) -> Iterator[Journal]:
    """A copy of the destination's journal in memory, empty if there is none.

    It may be changed freely and while a run goes on: nothing is written.
    """
    copy = _prepare(sqlite3.connect(":memory:", isolation_level=None), new=True)
    path = destination / NAME
    if path.exists():
        with _connection(path) as db:
            copy.close()
            copy = sqlite3.connect(":memory:", isolation_level=None)
            db.backup(copy)
    try:
        yield Journal(copy)
    finally:
        copy.close()


def _take(lock: int, destination: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
        raise ArchiveError(
            f"{display(destination)}: another run is at work here: wait until it ends",
            FAILED,
        ) from e
    except OSError as e:
        raise ArchiveError(
            f"{display(destination)}: the file system has no locks ({e.strerror}): choose a "
            "destination on another one",
            FAILED,
        ) from e


@contextmanager
def _connection(path: Path, *, new: bool = False) -> Iterator[sqlite3.Connection]:
    """SQLite's errors come out as ArchiveError, whoever causes them."""
    try:
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if new else 'rw'}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=60)
        try:
            yield _prepare(db, new=new)
        finally:
            db.close()
    except sqlite3.Error as e:
        raise ArchiveError(f"{display(path)}: the journal cannot be used: {e}", FAILED) from e


def _prepare(db: sqlite3.Connection, *, new: bool) -> sqlite3.Connection:
    """Make the tables where there are none, and check that they are ours."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == 0 and new:
        db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version != _VERSION:
        raise sqlite3.DatabaseError(f"version {version} is not known to this program")
    return db
