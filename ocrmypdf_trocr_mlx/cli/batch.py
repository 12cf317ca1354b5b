"""`trocr-mlx batch`: a folder of images to a table of texts."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE

from . import common

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.batch import FileResult

_STOPPED = "stopped: what was read is kept, start again to go on"


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example:  trocr-mlx batch scans --pattern '*.jpg' --output-csv results.csv"
    )(batch)


def batch(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of images and PDFs.")],
    pattern: Annotated[str, typer.Option(metavar="GLOB", help="Which files of it.")] = "*",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into its folders too.")
    ] = False,
    output_csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table of a row for each file.")
    ] = None,
    output_json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the same as JSON.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Read also what an earlier run has read.")
    ] = False,
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    batch_size: common.BatchSizeOption = None,
    beams: common.BeamsOption = 1,
    min_confidence: common.ConfidenceOption = DEFAULT_MIN_CONFIDENCE,
) -> None:
    """Read all files of a folder: text, confidences, lines, seconds and errors, a row for each.

    Hidden files are left out. A run that was cut off goes on where it was; a second run reads only
    what is new, changed or failed. Exits with 1 if a file could not be read: its row says why.
    """
    outputs = [path for path in (output_csv, output_json) if path is not None]
    paths = _files(directory, pattern, recursive, outputs)
    earlier = _check_outputs(outputs)
    from ocrmypdf_trocr_mlx import batch as library

    with contextlib.closing(library.Journal(_journal_of(outputs[0]))) as journal:
        known: dict[str, FileResult] = {}
        if restart:
            journal.clear()
        else:
            known = {result.file: result for result in [*earlier, *journal.load()]}
        rows = {path: library.unchanged(path, directory, known) for path in paths}
        new = [path for path, row in rows.items() if row is None]
        if new:
            processor = common.processor(model, device, batch_size, beams, min_confidence)
            results = library.BatchProcessor(processor).process_files(new, directory)
            with (
                common.interruptible(processor, _STOPPED),
                common.progress("Files", len(new)) as advance,
            ):
                for path, result in zip(new, results, strict=True):
                    journal.add(result)
                    rows[path] = result
                    if result.error:
                        common.complain(f"{path}: {result.error}")
                    advance()
        done = [row for row in rows.values() if row is not None]
        if output_csv is not None:
            library.export_results_csv(done, output_csv)
        if output_json is not None:
            library.export_results_json(done, output_json)
        journal.remove()
    failed = sum(bool(row.error) for row in done)
    common.tell(f"{len(done)} files: {len(new)} read now, {failed} failed")
    if failed:
        raise typer.Exit(common.FAILED)


def _files(directory: Path, pattern: str, recursive: bool, outputs: list[Path]) -> list[Path]:
    """The files to read, which are none of our own."""
    from ocrmypdf_trocr_mlx.batch import find_files

    if not directory.is_dir():
        common.stop(f"{directory}: {'not a' if directory.exists() else 'no such'} folder")
    own = {p.resolve() for path in outputs for p in (path, _journal_of(path))}
    try:
        found = find_files(directory, pattern, recursive=recursive)
    except ValueError as e:
        common.stop(f"--pattern {e}")
    paths = [path for path in found if path.resolve() not in own]
    if not paths:
        common.stop(f"{directory}: no file matches {pattern}", common.FAILED)
    return paths


def _check_outputs(outputs: list[Path]) -> list[FileResult]:
    """Stops at what would end badly hours later; gives what the earlier run has written."""
    from ocrmypdf_trocr_mlx.batch import load_results

    if not outputs:
        common.stop("give --output-csv FILE or --output-json FILE, or both")
    if len({path.resolve() for path in outputs}) < len(outputs):
        common.stop(f"{outputs[0]}: give each output a file of its own")
    for path in outputs:
        if not path.parent.is_dir():
            common.stop(f"{path}: there is no folder {path.parent}")
        if path.exists() and not path.is_file():
            common.stop(f"{path}: not a file")
    earlier = [load_results(path) if path.exists() else [] for path in outputs]
    return earlier[0]


def _journal_of(output: Path) -> Path:
    return Path(f"{output}.partial")
