"""Pages with truth: an image and a JSON file of the same name beside it.

The JSON file: {"image": file name, "lines": [{"text": str, "bbox": [x0, y0, x1, y1] or null,
"words": [{"text": str, "bbox": [...]}, ...] or null}, ...]}, boxes in pixels of the image.
A page with "partial_gt": true is not transcribed in full and is left out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ocrmypdf_trocr_mlx.result import Box

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class TruthWord:
    text: str
    box: Box


@dataclass(frozen=True)
class TruthLine:
    """A line, or the piece of one that the truth keeps apart; either box may be unknown."""

    text: str
    box: Box | None
    words: tuple[TruthWord, ...]


@dataclass(frozen=True)
class TruthPage:
    name: str
    image: Path
    lines: tuple[TruthLine, ...]

    @property
    def words(self) -> list[TruthWord]:
        return [word for line in self.lines for word in line.words]

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


def read_folder(folder: Path, limit: int | None = None) -> list[TruthPage]:
    """The pages of a folder by name; of more than `limit`, as many spread evenly over it.

    Raises ValueError, one line that names the file, for what is not as described above.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder")
    pages = [page for path in sorted(folder.glob("*.json")) if (page := read_page(path))]
    if not pages:
        raise ValueError(f"{folder}: holds no page with truth (an image and its .json)")
    return spread(pages, limit)


def has_pages(folder: Path) -> bool:
    """Is this a folder of pages with truth?  Raises ValueError where one of them is bad."""
    return folder.is_dir() and any(read_page(path) for path in sorted(folder.glob("*.json")))


def is_case_blind(texts: Iterable[str]) -> bool:
    """Are all letters capitals?  Such texts were keyed so, and say nothing about case."""
    letters = "".join(texts)
    return any(map(str.isupper, letters)) and not any(map(str.islower, letters))


def named(name: str, case_blind: bool) -> str:
    """What a table calls a set that is scored so."""
    return f"{name}, case-blind" if case_blind else name


def spread(items: list[T], limit: int | None) -> list[T]:
    """At most `limit` of `items`, spread evenly over them."""
    if limit is None or limit >= len(items):
        return items
    return [items[(2 * i + 1) * len(items) // (2 * limit)] for i in range(limit)]


def read_page(path: Path) -> TruthPage | None:
    """The page of a JSON file; None, logged, where it holds no page or only a part of one."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ValueError(f"{path}: cannot be read as JSON: {e}") from e
    if not isinstance(data, dict) or "lines" not in data:
        log.info("%s: left out, it has no lines", path)
        return None
    if data.get("partial_gt"):
        log.info("%s: left out, its truth is partial", path)
        return None
    try:
        image = path.parent / data["image"]
        lines = tuple(_line(line) for line in data["lines"])
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"{path}: not the truth of a page: {type(e).__name__}: {e}") from e
    if not image.is_file():
        raise ValueError(f"{path}: there is no image {image}")
    return TruthPage(path.stem, image, lines)


def _line(data: dict[str, Any]) -> TruthLine:
    words = tuple(TruthWord(str(w["text"]), _box(w["bbox"])) for w in data.get("words") or ())
    box = data.get("bbox")
    return TruthLine(str(data["text"]), None if box is None else _box(box), words)


def _box(values: list[float]) -> Box:
    left, top, right, bottom = (float(v) for v in values)
    return Box(left, top, right, bottom)
