"""A folder of images to a table: a row for each file, whether it could be read or not.

batch = BatchProcessor()
results = batch.process_directory("scans", "*.jpg")
export_results_csv(results, "results.csv")
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ocrmypdf_trocr_mlx.files import encode, write_whole
from ocrmypdf_trocr_mlx.formats.plain import csv_row
from ocrmypdf_trocr_mlx.pipeline import map_ahead
from ocrmypdf_trocr_mlx.result import Word, mean_confidence

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.processor import Processor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileResult:
    """What was read of a file, or `error`, one line, and nothing read.

    `file` is relative to the folder where there is one.  `text` has a form feed between pages,
    `mean_confidence` weighs words by their length, `min_confidence` is the least sure word's;
    both are None where there is no text.  `seconds` run from its opening to its end, while
    other files are read too.  `size` and `modified` (ns) tell the next run whether it changed.
    """

    file: str
    text: str = ""
    mean_confidence: float | None = None
    min_confidence: float | None = None
    pages: int = 0
    lines: int = 0
    seconds: float = 0.0
    error: str = ""
    size: int = 0
    modified: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FileResult:
        """From a row of CSV or JSON; raises ValueError, KeyError or TypeError for another's."""
        numbers: dict[str, Any] = {
            name: None if values[name] in (None, "") else round(float(values[name]), 6)
            for name in ("mean_confidence", "min_confidence")
        }
        counts = {name: int(values[name]) for name in ("pages", "lines", "size", "modified")}
        texts = {name: str(values[name]) for name in ("file", "text", "error")}
        return cls(**{**texts, **numbers, **counts, "seconds": float(values["seconds"])})


COLUMNS = tuple(field.name for field in fields(FileResult))


class BatchProcessor:
    """Reads many files with one model, several at a time, so that their lines share batches."""

    def __init__(self, processor: Processor | None = None) -> None:
        """With no processor, one for the bundled checkpoint."""
        if processor is None:
            from ocrmypdf_trocr_mlx.processor import load_processor

            processor = load_processor()
        self._processor = processor

    def process_directory(
        self,
        directory: str | Path,
        pattern: str = "*",
        *,
        recursive: bool = False,
        known: Iterable[FileResult] = (),
    ) -> list[FileResult]:
        """Read the files of a folder that match; those unchanged since `known` keep their row.

        Raises OSError where the folder cannot be listed; files that cannot be read are rows.
        """
        directory = Path(directory)
        done = {result.file: result for result in known}
        paths = find_files(directory, pattern, recursive=recursive)
        rows = {path: unchanged(path, directory, done) for path in paths}
        new = [path for path, row in rows.items() if row is None]
        rows |= dict(zip(new, self.process_files(new, directory), strict=True))
        return [row for row in rows.values() if row is not None]

    def process_files(
        self, paths: Iterable[Path], directory: Path | None = None
    ) -> Iterator[FileResult]:
        """A result for each file, in order, as they come."""
        at_once = self._processor.at_once
        return map_ahead(lambda path: self._process(path, directory), paths, at_once)

    def _process(self, path: Path, directory: Path | None) -> FileResult:
        start = time.perf_counter()
        name = _name(path, directory)
        size = modified = 0
        texts: list[str] = []
        words: list[Word] = []
        lines = 0
        try:
            size, modified = _fingerprint(path)
            for page in self._processor.read_document(path):
                texts.append(page.text)
                words += page.words
                lines += sum(1 for _ in page.lines)
        except Exception as e:  # whatever is wrong with one file, the others are read
            log.debug("%s could not be read", path, exc_info=True)
            error = _describe(e, path)
            seconds = round(time.perf_counter() - start, 3)
            return FileResult(name, seconds=seconds, error=error, size=size, modified=modified)
        mean = mean_confidence(words)
        return FileResult(
            name,
            "\f".join(texts),
            None if mean is None else round(mean, 6),
            round(min(word.confidence for word in words), 6) if words else None,
            len(texts),
            lines,
            round(time.perf_counter() - start, 3),
            size=size,
            modified=modified,
        )


def _describe(error: Exception, path: Path) -> str:
    """One line, which need not name the file: its row does."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).removeprefix(f"{path}: ") or type(error).__name__


def find_files(directory: Path, pattern: str = "*", *, recursive: bool = False) -> list[Path]:
    """Files of a folder whose names match, sorted.

    Left out are hidden files and folders, and links to folders.  Raises OSError where the folder
    cannot be listed, ValueError for a pattern that is none or leads out of it.
    """
    next(directory.iterdir(), None)  # glob is silent about a folder that cannot be read
    if not pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"{pattern or 'an empty pattern'}: not a pattern of names in a folder")
    found = directory.rglob(pattern) if recursive else directory.glob(pattern)
    return sorted(path for path in found if not _hidden(path, directory) and path.is_file())


def _hidden(path: Path, directory: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(directory).parts)


def unchanged(path: Path, directory: Path, known: Mapping[str, FileResult]) -> FileResult | None:
    """The row of a file that was read before and has not changed since."""
    row = known.get(_name(path, directory))
    if row is None or row.error:
        return None
    try:
        return row if (row.size, row.modified) == _fingerprint(path) else None
    except OSError:
        return None


def _fingerprint(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _name(path: Path, directory: Path | None) -> str:
    return str(path if directory is None else path.relative_to(directory))


def export_results_csv(results: Iterable[FileResult], path: str | Path) -> None:
    """Write a table with a row for each file and the columns of FileResult; OSError."""
    rows = (csv_row("" if v is None else v for v in asdict(r).values()) for r in results)
    write_whole(Path(path), csv_row(COLUMNS) + "".join(rows))


def export_results_json(results: Iterable[FileResult], path: str | Path) -> None:
    """Write a list with an object for each file; OSError."""
    rows = ",\n".join(json.dumps(asdict(result), ensure_ascii=False) for result in results)
    write_whole(Path(path), f"[\n{rows}\n]\n" if rows else "[]\n")


def load_results(path: str | Path) -> list[FileResult]:
    """Read what one of the exports wrote; raises ValueError, one line, for any other file."""
    path = Path(path)
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    try:
        if text.startswith("["):
            return [FileResult.from_dict(row) for row in json.loads(text)]
        csv.field_size_limit(1 << 30)
        table = csv.DictReader(io.StringIO(text))
        if text and table.fieldnames != list(COLUMNS):
            raise ValueError(f"its columns are {table.fieldnames}")
        return [FileResult.from_dict(row) for row in table]
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as e:
        raise ValueError(
            f"{path}: not the result of an earlier run: give another name, or remove it"
        ) from e


class Journal:
    """Results of a run at work, one a line, so that a run that was cut off can go on.

    The file is locked: ValueError where another run has it.  A line that was not written to its
    end is passed over.  To be closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _locked(path)

    def load(self) -> list[FileResult]:
        results = []
        for line in self._path.read_bytes().split(b"\n"):
            try:
                values = json.loads(line.decode("utf-8", "surrogateescape"))
                results.append(FileResult.from_dict(values))
            except (ValueError, KeyError, TypeError):
                continue
        return results

    def add(self, result: FileResult) -> None:
        """OSError where the disk is full; nothing of this row is written then."""
        # The first line feed ends what a killed run may have left unfinished.
        line = encode("\n" + json.dumps(asdict(result), ensure_ascii=False) + "\n")
        size = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as e:
            self._file.truncate(size)
            raise OSError(e.errno, e.strerror, str(self._path)) from e

    def clear(self) -> None:
        """Forget what the earlier run has read."""
        self._file.truncate(0)

    def remove(self) -> None:
        """When the results stand in files of their own."""
        self._path.unlink(missing_ok=True)
        self._file.close()

    def close(self) -> None:
        """Leave the file to the next run, if there is anything in it."""
        if not self._file.closed and not self._path.read_bytes().strip():
            self._path.unlink()
        self._file.close()


def _locked(path: Path) -> IO[bytes]:
    while True:
        file = path.open("ab", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, file):
                return file
        except BlockingIOError as e:
            file.close()
            raise ValueError(f"{path}: another run is at work: wait until it ends") from e
        file.close()  # its run has just ended and removed it


def _is_at(path: Path, file: IO[bytes]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
