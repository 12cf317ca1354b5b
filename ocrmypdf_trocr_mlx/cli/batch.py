"""`trocr-mlx batch`: a folder of images to a table of texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE

from . import common

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.batch import FileResult


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
    batch_size: common.BatchSizeOption = 32,
    beams: common.BeamsOption = 1,
    min_confidence: common.ConfidenceOption = DEFAULT_MIN_CONFIDENCE,
) -> None:
    """Read all files of a folder: text, confidences, lines, seconds and errors, a row for each.

    A run that was cut off goes on where it was; a second run reads only what is new, changed or
    failed. Exits with 1 if a file could not be read: its row says why.
    """
    outputs = [path for path in (output_csv, output_json) if path is not None]
    paths = _check(directory, pattern, recursive, outputs)
    from ocrmypdf_trocr_mlx import batch as library

    journal = library.Journal(Path(f"{outputs[0]}.partial"))
    known: dict[str, FileResult] = {}
    if not restart:
        earlier = library.load_results(outputs[0]) if outputs[0].exists() else []
        known = {result.file: result for result in [*earlier, *journal.load()]}
    else:
        journal.remove()
    rows = {path: library.unchanged(path, directory, known) for path in paths}
    new = [path for path, row in rows.items() if row is None]
    if new:
        processor = common.processor(model, device, batch_size, beams, min_confidence)
        results = library.BatchProcessor(processor).process_files(new, directory)
        with common.progress("Files", len(new)) as advance:
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


def _check(directory: Path, pattern: str, recursive: bool, outputs: list[Path]) -> list[Path]:
    """The files to read; stops at what would end badly hours later."""
    from ocrmypdf_trocr_mlx.batch import find_files

    if not outputs:
        common.stop("give --output-csv FILE or --output-json FILE, or both")
    for path in outputs:
        if not path.parent.is_dir():
            common.stop(f"{path}: there is no folder {path.parent}")
    own = {p.resolve() for path in outputs for p in (path, Path(f"{path}.partial"))}
    found = find_files(directory, pattern, recursive=recursive)
    paths = [path for path in found if path.resolve() not in own]
    if not paths:
        common.stop(f"{directory}: no file matches {pattern}", common.FAILED)
    return paths
