"""What became of every file of an archive, as a table for programs or for people."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator
from pathlib import Path

from ocrmypdf_trocr_mlx.archive.job import USAGE, ArchiveError, State, display
from ocrmypdf_trocr_mlx.archive.journal import Entry, Journal
from ocrmypdf_trocr_mlx.files import write_whole

_COLUMNS = (
    "path", "state", "reason", "tries", "pages", "seconds", "worker", "finished", "message",
    "sha256",
)  # fmt: skip
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; }
table { border-collapse: collapse; margin-bottom: 2em; }
th, td { border: 1px solid #ccc; padding: .2em .6em; text-align: left; vertical-align: top; }
th { background: #eee; position: sticky; top: 0; }
td.number { text-align: right; }
tr.done, tr.searchable { background: #f3faf3; }
tr.pending, tr.running { background: #fffbe8; }
tr.failed, tr.unreadable, tr.vanished { background: #fdf0f0; }
""".strip()


def check_name(path: Path) -> None:
    """Raise ArchiveError, before hours of work, for a report that could not be written."""
    if path.suffix.lower() not in _WRITERS:
        raise ArchiveError(f"--report {display(path)}: name a .csv or an .html file", USAGE)
    if not path.parent.is_dir():
        raise ArchiveError(f"--report {display(path)}: there is no such folder", USAGE)


def write(journal: Journal, path: Path) -> None:
    """Write the report, a row for each file, as its suffix says; OSError where it cannot be."""
    write_whole(path, _WRITERS[path.suffix.lower()](journal))


def _csv(journal: Journal) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for entry in journal.entries():
        writer.writerow([getattr(entry, column) for column in _COLUMNS])
    return text.getvalue()


def _html(journal: Journal) -> str:
    return "\n".join(_html_lines(journal))


def _html_lines(journal: Journal) -> Iterator[str]:
    counts = journal.counts()
    pages, seconds = journal.totals()
    source = html.escape(display(journal.source()))
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield f"<title>{source}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>"
    yield f"<h1>{source}</h1>\n<p>{sum(counts.values())} files. Done: {pages} pages in "
    yield f"{seconds:.0f} seconds of the workers.</p>\n<table>"
    for state in State:
        if state in counts:
            number = f'<td class="number">{counts[state]}</td>'
            yield f'<tr class="{state}"><td>{state}</td>{number}</tr>'
    yield "</table>\n<table>\n<tr><th>file</th><th>state</th><th>pages</th><th>seconds</th>"
    yield "<th>tries</th><th>worker</th><th>finished</th><th>message</th></tr>"
    yield from map(_html_row, journal.entries())
    yield "</table>\n</body>\n</html>\n"


def _html_row(entry: Entry) -> str:
    message = entry.reason if entry.state is State.PENDING else entry.message
    numbers = (str(entry.pages), f"{entry.seconds:.1f}", str(entry.tries))
    texts = (entry.worker, entry.finished, message)
    cells = [f"<td>{html.escape(display(entry.path))}</td><td>{entry.state}</td>"]
    cells += [f'<td class="number">{number}</td>' for number in numbers]
    cells += [f"<td>{html.escape(display(text))}</td>" for text in texts]
    return f'<tr class="{entry.state}">{"".join(cells)}</tr>'


_WRITERS = {".csv": _csv, ".html": _html}
