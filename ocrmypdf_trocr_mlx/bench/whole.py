"""The whole table of layout and reading, section by section, each by the benchmark of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import columns, curved, layout_time, pages, turned
from .engines import READERS, Settings, open_engines

_COLUMN_PAGES = 9
_CURVED_PAGES = 9
_TURNS = 5


@dataclass(frozen=True)
class Section:
    """A part of the table, and its single figures; `key` names it in the JSON file."""

    key: str
    title: str
    headers: Sequence[str]
    rows: list[list[str]]
    records: list[dict[str, Any]]


def sections(
    folders: list[Path], names: list[str], settings: Settings, limit: int | None
) -> Iterator[Section]:
    """Each section when it is done: pages, two columns, bent pages, turned ones, layout's time.

    `limit` holds for every section.  Engines that cannot tell how a page lies, and layouts that
    are not this package's, are left out of the last two.
    """
    readers = open_engines(READERS, names, settings)
    headers = [*pages.READING, *pages.FINDING]
    read = pages.run(folders, readers, limit)
    yield Section("pages", "Pages, found and read", headers, read.reading_rows(), read.to_json())
    read = columns.run(readers, min(limit or _COLUMN_PAGES, _COLUMN_PAGES))
    title = "Rendered pages in two columns: CER tells whether the order is right"
    yield Section("columns", title, headers, read.reading_rows(), read.to_json())
    bent = curved.run(readers, min(limit or _CURVED_PAGES, _CURVED_PAGES))
    title = "Rendered pages whose lines are bent, by what they rise or fall; baselines in x-heights"
    yield Section("curved", title, curved.HEADERS, curved.rows(bent), curved.to_json(bent))
    if able := [name for name in readers if name in turned.TURNERS]:
        turners = open_engines(turned.TURNERS, able, settings)
        found = turned.run(folders, turners, limit, _TURNS)
        title = "Turned pages: errors of the skew, and which way up"
        records = turned.to_json(found)
        yield Section("turned", title, turned.HEADERS, turned.rows(found), records)
    if "trocr" in readers:
        times = layout_time.run(folders, limit)
        title = "Layout alone, on one core, pages as large as A4 at 300 dpi"
        records = layout_time.to_json(times)
        yield Section("layout", title, layout_time.HEADERS, layout_time.rows(times), records)
