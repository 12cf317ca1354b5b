"""`trocr-mlx verify`: is a checkpoint read as transformers reads it, and what do bits cost."""

from __future__ import annotations

import dataclasses
import itertools
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.bench.parity import Agreement
    from ocrmypdf_trocr_mlx.bench.precision import Cost
    from ocrmypdf_trocr_mlx.training.data import Line


class Precision(StrEnum):
    """As `bench.precision` has them; typer takes no lists of literals."""

    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    EIGHT = "8-bit"
    FOUR = "4-bit"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  trocr-mlx verify my-model lines.tar --limit 300")(verify)


def verify(
    model: Annotated[
        str, typer.Argument(metavar="NAME", help="Folder, Hugging Face name, or bundled.")
    ],
    source: Annotated[
        Path,
        typer.Argument(metavar="LINES", help="Lines with their text, in any form finetune takes."),
    ],
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The first N lines.")] = 100,
    beams: Annotated[
        list[int] | None,
        typer.Option(min=1, max=16, help="Beams of a search, may be repeated; else 1 and 4."),
    ] = None,
    torch: Annotated[
        bool, typer.Option(help="Compare tokens with PyTorch and transformers, on the processor.")
    ] = True,
    precisions: Annotated[
        list[Precision] | None,
        typer.Option("--precision", help="Read in this one and in float32, may be repeated."),
    ] = None,
    device: Annotated[
        common.Device, typer.Option(help="Where to read in other precisions; auto takes a GPU.")
    ] = "auto",
    as_json: common.JsonOption = False,
) -> None:
    """Read lines here and in PyTorch, token for token, and count errors in other precisions.

    Exits with 1 where PyTorch reads a line otherwise for no reason: rounding may decide only
    between ways to go on that PyTorch itself finds equally good.
    """
    from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

    folder = resolve(model, download=True)
    lines = _lines(source, limit)
    agreements = _compare(folder, lines, beams or [1, 4]) if torch else []
    readings = _read(folder, lines, precisions, device) if precisions else []
    if as_json:
        found = {
            "lines": len(lines),
            "searches": [_record(agreement) for agreement in agreements],
            "precisions": [{**dataclasses.asdict(r), "cer": r.cer} for r in readings],
        }
        common.emit(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    else:
        _show(source, lines, agreements, readings)
    if any(agreement.faults for agreement in agreements):
        common.stop(f"{model}: not every line is read as PyTorch reads it", common.FAILED)


def _lines(source: Path, limit: int) -> list[Line]:
    from ocrmypdf_trocr_mlx.training.data import Line, read_lines

    lines = (line for line in read_lines(source) if isinstance(line, Line))
    found = list(itertools.islice(lines, limit))
    if not found:
        common.stop(f"{source}: no line with its text in it")
    return found


def _compare(folder: Path, lines: list[Line], searches: list[int]) -> list[Agreement]:
    from ocrmypdf_trocr_mlx import backend

    backend.prepare("cpu")  # float32 there is float32, on both sides
    from ocrmypdf_trocr_mlx.bench.parity import batches, compare
    from ocrmypdf_trocr_mlx.checkpoints.load import load
    from ocrmypdf_trocr_mlx.checkpoints.reference import Reference, filled_model

    reference, checkpoint = Reference(filled_model(folder)), load(folder)
    images = [line.pixels for line in lines]
    with common.progress("Comparing", len(searches) * batches(len(lines))) as step:
        return [
            compare(
                reference,
                checkpoint,
                images,
                dataclasses.replace(checkpoint.options, num_beams=beams),
                step,
            )
            for beams in searches
        ]


def _read(
    folder: Path, lines: list[Line], precisions: list[Precision], device: common.Device
) -> list[Cost]:
    from ocrmypdf_trocr_mlx import backend

    backend.prepare(device)
    from ocrmypdf_trocr_mlx.bench.precision import measure

    readings = []
    with common.progress("Reading", 1 + len(precisions)) as step:
        for reading in measure(folder, lines, precisions, device):
            readings.append(reading)
            step()
    return readings


def _record(agreement: Agreement) -> dict[str, Any]:
    faults = len(agreement.faults)
    return {**dataclasses.asdict(agreement), "identical": agreement.identical, "faults": faults}


def _show(
    source: Path, lines: list[Line], agreements: list[Agreement], readings: list[Cost]
) -> None:
    typer.echo(f"{len(lines)} lines of {source}")
    for found in agreements:
        search = "greedy" if found.beams == 1 else f"{found.beams} beams"
        typer.echo(
            f"{search}: {found.identical} of {found.lines} lines token for token as PyTorch, "
            f"logits of {found.tokens} tokens within {found.logits:.1e}"
        )
        for difference in found.differences:
            kind = "a tie" if difference.is_tie else "a FAULT"
            typer.echo(
                f"  {lines[difference.line].name}: {kind} at token {difference.position}, "
                f"PyTorch prefers its own by {difference.gap:.1e}"
            )
    for reading in readings:
        delta = 100 * (reading.cer - readings[0].cer)
        typer.echo(
            f"{reading.precision}: CER {reading.cer:.2%} ({delta:+.2f} points), "
            f"{reading.changed} lines read otherwise, {reading.stored / 1e6:.1f} MB, "
            f"{reading.seconds:.0f} s"
        )
