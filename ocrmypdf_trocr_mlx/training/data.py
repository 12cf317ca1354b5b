"""Readers of training data: lines of text as images with what they say.

A source is a folder (images with .txt or .gt.txt beside them, ALTO or PAGE XML with their page
images, or a manifest), a manifest (.csv, .tsv, .jsonl), a tar with a manifest.jsonl in it, or
one ALTO or PAGE file.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import tarfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import TrainingError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
_MANIFESTS = ("manifest.jsonl", "metadata.jsonl", "manifest.csv", "metadata.csv")
_IMAGE_KEYS = ("image", "file_name", "filename", "file", "path")
_TEXT_KEYS = ("text", "label", "transcription", "sentence")
# What Pillow raises for files that are no image, cut short, or larger than any page.
UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Line:
    """A line of text: grey image, uint8 (h, w), and what it says, normalised.

    `page` names the page it comes from, or is empty; `source` is the manifest's, or empty.
    `capitals`: the text is all in capitals whatever the image shows (see case.py).
    """

    name: str
    text: str
    pixels: np.ndarray
    page: str = ""
    source: str = ""
    capitals: bool = False


@dataclass(frozen=True)
class Problem:
    """A line that cannot be used: where it is, and why; `source` as a Line's."""

    name: str
    reason: str
    source: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Unread:
    """A Line whose image file is not decoded yet."""

    name: str
    text: str
    data: bytes
    page: str = ""
    source: str = ""
    capitals: bool = False

    def line(self) -> Line | Problem:
        try:
            pixels = decode_gray(self.data)
        except UNREADABLE as e:
            reason = f"the image cannot be read: {_first_line(e)}"
            return Problem(self.name, reason, self.source)
        return Line(self.name, self.text, pixels, self.page, self.source, self.capitals)


@dataclass(frozen=True)
class _Entry:
    """A line of a manifest."""

    image: str
    text: str
    page: str
    source: str
    capitals: bool


Found = Iterator[Line | Problem]
FoundUnread = Iterator[Line | Unread | Problem]


def read_lines(source: Path) -> Found:
    """All lines of a source; raises TrainingError where it is no source at all.

    Labels that a manifest says are all in capitals whatever the image shows would teach the
    wrong case: such lines are Problems.
    """
    return map(_decoded, read_undecoded(source))


def read_undecoded(source: Path) -> FoundUnread:
    """As `read_lines`, but with the images still to be decoded where they are files."""
    for found in _read(source):
        if not isinstance(found, Problem) and found.capitals:
            reason = "its label is in capitals whatever the image shows"
            found = Problem(found.name, reason, found.source)
        yield found


def read_labels(source: Path) -> Found:
    """As `read_lines`, but with the lines whose labels are in capitals."""
    return map(_decoded, _read(source))


def _decoded(found: Line | Unread | Problem) -> Line | Problem:
    return found.line() if isinstance(found, Unread) else found


def _read(source: Path) -> FoundUnread:
    source = Path(source)
    if source.is_dir():
        return _read_folder(source)
    if not source.is_file():
        raise TrainingError(f"{source}: no such file or folder")
    suffix = source.suffix.lower()
    if suffix == ".xml":
        return _read_xml(source, required=True)
    if suffix == ".tar" or source.name.endswith((".tar.gz", ".tar.xz", ".tgz")):
        return _read_tar(source)
    if suffix in (".csv", ".tsv", ".jsonl"):
        return _read_manifest_file(source)
    raise TrainingError(
        f"{source}: not a source of lines: give a folder, a .tar, .csv, .tsv or .jsonl, or an "
        "ALTO or PAGE .xml"
    )


def clean_text(text: str) -> str:
    """Composed characters (NFC), and every run of blanks one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def decode_gray(data: bytes) -> np.ndarray:
    """uint8 (h, w) of an image file's content; raises one of UNREADABLE."""
    from ocrmypdf_trocr_mlx.gray import to_gray

    with Image.open(io.BytesIO(data)) as image:
        gray = to_gray(image)
    if min(gray.shape) < 2:
        raise ValueError(f"it has {gray.shape[1]}x{gray.shape[0]} pixels")
    return gray


def _unread(
    name: str,
    text: str,
    read: Callable[[], bytes],
    page: str = "",
    source: str = "",
    capitals: bool = False,
) -> Unread | Problem:
    if "\n" in text.strip():
        return Problem(name, "its text has several lines", source)
    label = clean_text(text)
    if not label:
        return Problem(name, "its text is empty", source)
    try:
        return Unread(name, label, read(), page, source, capitals)
    except FileNotFoundError:
        return Problem(name, "there is no such image", source)
    except UNREADABLE as e:
        return Problem(name, f"the image cannot be read: {_first_line(e)}", source)


def _read_folder(folder: Path) -> FoundUnread:
    for name in _MANIFESTS:
        if (folder / name).is_file():
            return _read_manifest_file(folder / name)
    return _walk(folder)


def _walk(folder: Path) -> FoundUnread:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    transcribed = {p.stem for p in files if p.suffix.lower() == ".xml"}
    for path in files:
        suffix = path.suffix.lower()
        if suffix == ".xml":
            yield from _read_xml(path, required=False)
        elif suffix in IMAGE_SUFFIXES and path.stem not in transcribed:
            text = _text_beside(path)
            if text is None:
                continue
            try:
                label = text.read_text(encoding="utf-8-sig")
            except (OSError, UnicodeDecodeError) as e:
                yield Problem(str(text), f"not a text in UTF-8: {_first_line(e)}")
            else:
                yield _unread(str(path), label, path.read_bytes, str(path.parent))


def _text_beside(image: Path) -> Path | None:
    """a.gt.txt or a.txt of a.png; kraken's a.gt.txt also of a.bin.png."""
    names = [image.stem + ".gt.txt", image.stem + ".txt", image.name.split(".")[0] + ".gt.txt"]
    return next((p for p in map(image.with_name, names) if p.is_file()), None)


def _read_xml(path: Path, required: bool) -> Found:
    from .transcripts import read_transcript

    return read_transcript(path, required=required)


def _read_manifest_file(path: Path) -> FoundUnread:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise TrainingError(f"{path}: not a text in UTF-8: {_first_line(e)}") from e
    parse = _parse_jsonl if path.suffix.lower() == ".jsonl" else _parse_csv
    entries = list(parse(content, str(path)))
    for entry in entries:
        image = path.parent / entry.image
        yield _entered(str(image), entry, image.read_bytes)


def _read_tar(path: Path) -> FoundUnread:
    """The manifest and the images of a tar; nothing is unpacked to disk."""
    try:
        with tarfile.open(path) as archive:
            members = {m.name.removeprefix("./"): m for m in archive if m.isfile()}
            manifest = members.get("manifest.jsonl")
            if manifest is None:
                raise TrainingError(f"{path}: there is no manifest.jsonl in it")

            def content(name: str) -> bytes:
                file = archive.extractfile(members[name]) if name in members else None
                if file is None:
                    raise FileNotFoundError(name)
                return file.read()

            text = content("manifest.jsonl").decode("utf-8-sig")
            for entry in _parse_jsonl(text, f"{path}:manifest.jsonl"):
                read = functools.partial(content, entry.image)
                yield _entered(f"{path}:{entry.image}", entry, read)
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as e:
        raise TrainingError(f"{path}: not a tar that can be read: {_first_line(e)}") from e


def _entered(name: str, entry: _Entry, read: Callable[[], bytes]) -> Unread | Problem:
    return _unread(name, entry.text, read, entry.page, entry.source, entry.capitals)


def _parse_jsonl(content: str, name: str) -> Iterator[_Entry]:
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as e:
            raise TrainingError(f"{name}, line {number}: not JSON: {e}") from e
        if not isinstance(record, Mapping):
            raise TrainingError(f"{name}, line {number}: not a JSON object")
        yield _entry(record, f"{name}, line {number}")


def _parse_csv(content: str, name: str) -> Iterator[_Entry]:
    """With a header that names the columns, or two columns: image and text."""
    if not content.strip():
        return
    for delimiter in "\t,;":
        rows = list(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter))
        header = [cell.strip().lower() for cell in rows[0]]
        if _has_any(header, _IMAGE_KEYS) and _has_any(header, _TEXT_KEYS):
            break
        if len(header) == 2 and header[0].endswith(IMAGE_SUFFIXES):
            header, rows = ["image", "text"], [[], *rows]
            break
    else:
        raise TrainingError(
            f"{name}: its first line must name the columns 'image' and 'text', or hold the "
            "first image and its text"
        )
    for number, row in enumerate(rows[1:], 2):
        if row:
            yield _entry(dict(zip(header, row, strict=False)), f"{name}, line {number}")


def _entry(record: Mapping[str, object], where: str) -> _Entry:
    """What a manifest holds under various names."""

    def find(keys: Iterable[str]) -> str:
        for key in keys:
            if isinstance(value := record.get(key), str):
                return value
        raise TrainingError(f"{where}: it has no '{next(iter(keys))}'")

    return _Entry(
        find(_IMAGE_KEYS),
        find(_TEXT_KEYS),
        str(record.get("page") or ""),
        str(record.get("source") or ""),
        capitals=record.get("upper_case_labels") is True,
    )


def _has_any(header: list[str], keys: Iterable[str]) -> bool:
    return any(key in header for key in keys)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
