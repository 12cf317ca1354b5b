"""`trocr-mlx archive`: a tree of scans to the same tree of searchable PDFs."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from . import common

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.archive.job import Outcome, State
    from ocrmypdf_trocr_mlx.archive.journal import Entry, Journal
    from ocrmypdf_trocr_mlx.archive.run import Pool
    from ocrmypdf_trocr_mlx.archive.scan import Rules

log = logging.getLogger(__name__)

SourceArgument = Annotated[
    Path, typer.Argument(metavar="SRC", help="Folder of PDFs and images, however deep.")
]
DestinationArgument = Annotated[
    Path, typer.Argument(metavar="DST", help="Folder for the searchable PDFs; made if need be.")
]
OptionsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="-- [OCRMYPDF OPTIONS]", help="Options that OCRmyPDF gets.", show_default=False
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(min=1, max=256, help="Worker processes; each holds a model and does a document."),
]
TriesOption = Annotated[
    int, typer.Option(min=1, help="Give a file up when it failed, or killed its worker, so often.")
]

HoursOption = Annotated[
    float,
    typer.Option(
        "--hours", metavar="N", min=0.001, help="Give a file up that takes longer than that."
    ),
]
# More than a thousand pages on a slow processor; what takes longer hangs.
DEFAULT_HOURS = 12.0


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  trocr-mlx archive scans searchable -- --skip-text --deskew")(
        archive
    )


def archive(
    source: SourceArgument,
    destination: DestinationArgument,
    options: OptionsArgument = None,
    workers: WorkersOption = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Use the workers of this Dask scheduler instead."),
    ] = None,
    tries: TriesOption = 3,
    hours: HoursOption = DEFAULT_HOURS,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try also again what was given up or refused.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be done, and why.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what became of every file, .csv or .html."),
    ] = None,
    as_json: common.JsonOption = False,
) -> None:
    """Make an archive searchable: what is new, changed or failed since the last run.

    The destination gets the same folders and names; an image's name gets .pdf appended. Sources
    are only read; hidden files and folders, and links to folders, are left out. A run may be
    stopped or killed at any moment: the next one goes on.

    Exits with 1 if a file of this run was not converted; the report says which and why.
    """
    with archive_errors():
        from ocrmypdf_trocr_mlx.archive import report as reports
        from ocrmypdf_trocr_mlx.archive.run import make_rules

        if report is not None:
            reports.check_name(report)
        args = options or []
        rules = make_rules(source, destination, args, tries=tries, retry_failed=retry_failed)
        if dry_run:
            _list(rules, report, as_json)
            return
        pool = make_pool(rules, args, workers, hours, scheduler)
        summary = _run(rules, args, pool, report)
        if as_json:
            common.emit(json.dumps(summary, indent=2) + "\n")
        common.tell(
            ", ".join(f"{n} {state}" for state, n in summary["run"].items()) or "up to date"
        )
        if not {"done", "searchable"}.issuperset(summary["run"]):
            raise typer.Exit(common.FAILED)


def _list(rules: Rules, report: Path | None, as_json: bool) -> None:
    from ocrmypdf_trocr_mlx.archive import report as reports
    from ocrmypdf_trocr_mlx.archive.job import State, display
    from ocrmypdf_trocr_mlx.archive.run import planned

    with planned(rules) as journal:
        rows = [(entry.reason, entry.path) for entry in journal.entries(State.PENDING)]
        if report is not None:
            reports.write(journal, report)
    if as_json:
        made = [{"reason": reason, "path": path} for reason, path in rows]
        common.emit(json.dumps(made, indent=2) + "\n")
        return
    for reason, path in rows:
        common.emit(f"{reason}\t{display(path)}\n")
    common.tell(f"{len(rows)} files to do")


def _run(
    rules: Rules, args: list[str], pool: Callable[[], Pool], report: Path | None
) -> dict[str, Any]:
    from ocrmypdf_trocr_mlx.archive import report as reports
    from ocrmypdf_trocr_mlx.archive.job import State
    from ocrmypdf_trocr_mlx.archive.run import open_archive, read_tree

    with open_archive(rules, args, pool, tell_outcome) as archive:
        try:
            read_tree(archive.journal, rules)
            pending = archive.journal.counts().get(State.PENDING, 0)
            with common.progress("Files", pending) as advance:
                archive.listener = also(advance, tell_outcome)
                archive.work()
        finally:
            if report is not None:
                reports.write(archive.journal, report)
        return {"run": dict(archive.finished), **_totals(archive.journal)}


def _totals(journal: Journal) -> dict[str, Any]:
    pages, seconds = journal.totals()
    return {"files": journal.counts(), "pages": pages, "seconds": round(seconds, 1)}


def make_pool(
    rules: Rules, args: list[str], workers: int, hours: float, scheduler: str | None
) -> Callable[[], Pool]:
    """Makes the workers, once the journal is ours."""
    if scheduler is None:
        from ocrmypdf_trocr_mlx.archive.run import LocalPool

        return lambda: LocalPool(args, workers, hours)
    from ocrmypdf_trocr_mlx.archive.cluster import ClusterPool

    return lambda: ClusterPool(scheduler, args, rules.source, hours)


def tell_outcome(entry: Entry, state: State, outcome: Outcome) -> None:
    """A line for a file that is not simply done."""
    from ocrmypdf_trocr_mlx.archive.job import display

    line = f"{display(entry.path)}: {state}"
    if outcome.message:
        common.complain(f"{line}: {outcome.message}")
    else:
        log.info("%s, %d pages, %.1f s, %s", line, outcome.pages, outcome.seconds, outcome.worker)


def also(
    advance: Callable[[], None], listener: Callable[[Entry, State, Outcome], None]
) -> Callable[[Entry, State, Outcome], None]:
    """Move the bar on for each file that needs no other try."""

    def listen(entry: Entry, state: State, outcome: Outcome) -> None:
        listener(entry, state, outcome)
        if state != "pending":
            advance()

    return listen


@contextlib.contextmanager
def archive_errors() -> Iterator[None]:
    """One line and the exit code for what ends a run; SIGTERM stops it as Ctrl-C does."""
    from ocrmypdf_trocr_mlx.archive.job import INTERRUPTED, ArchiveError

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except ArchiveError as e:
        common.stop(str(e), e.exit_code)
    except KeyboardInterrupt:
        common.stop("stopped: what is done stays done, start again to go on", INTERRUPTED)
