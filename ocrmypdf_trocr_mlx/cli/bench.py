"""`trocr-mlx bench`: MLX against PyTorch on this machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import common

if TYPE_CHECKING:
    import numpy as np

    from ocrmypdf_trocr_mlx.bench.speed import Comparison

_LINES = 32


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  trocr-mlx bench --model microsoft/trocr-base-printed")(bench)


def bench(
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[LINE IMAGE...]", help="Single lines; none: rendered ones."),
    ] = None,
    lines: Annotated[
        int, typer.Option(min=1, help="How many lines to render, without images.")
    ] = _LINES,
    torch: Annotated[
        bool, typer.Option(help="Compare with PyTorch and transformers, which must be there.")
    ] = True,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw the speeds; needs matplotlib.")
    ] = None,
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    as_json: common.JsonOption = False,
) -> None:
    """Measure a checkpoint in MLX and in PyTorch: load time, speed, memory, equal text."""
    from ocrmypdf_trocr_mlx.bench.speed import BenchError
    from ocrmypdf_trocr_mlx.bench.speed import compare as measure
    from ocrmypdf_trocr_mlx.bench.speed import plot as draw
    from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

    folder = resolve(model, download=True)
    crops = _crops(images or [], lines)
    try:
        found = measure(folder, crops, device=device, torch=torch)
    except BenchError as e:
        common.stop(f"{e} (--no-torch measures MLX alone)", common.FAILED)
    if as_json:
        result = {**dataclasses.asdict(found), "ratios": found.ratios()}
        common.emit(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    else:
        _show(found)
    if plot is not None:
        try:
            draw(found, plot)
        except ImportError:
            common.stop("--plot needs matplotlib: pip install matplotlib", common.UNUSABLE)


def _crops(paths: list[Path], count: int) -> list[np.ndarray]:
    from ocrmypdf_trocr_mlx.documents import page_images
    from ocrmypdf_trocr_mlx.gray import to_gray
    from ocrmypdf_trocr_mlx.samples import rendered_lines

    if not paths:
        return rendered_lines(count)
    return [to_gray(page.image) for path in paths for page in page_images(path)]


def _show(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    sides = [side for side in (found.mlx, found.torch) if side is not None]
    table = Table(title=f"{found.lines} lines", title_justify="left")
    table.add_column("")
    for side in sides:
        table.add_column(f"{side.version}\n{side.device}, {side.dtype}", justify="right")
    table.add_row("import, s", *(f"{side.import_seconds:.2f}" for side in sides))
    table.add_row("load, s", *(f"{side.load_seconds:.2f}" for side in sides))
    for size in found.mlx.ms:
        table.add_row(f"ms a line, batch {size}", *(f"{side.ms[size]:.1f}" for side in sides))
    for size in found.mlx.ms:
        speeds = (f"{side.lines_per_second[size]:.1f}" for side in sides)
        table.add_row(f"lines/s, batch {size}", *speeds)
    table.add_row("peak memory, MiB", *(f"{side.peak_memory / 2**20:.0f}" for side in sides))
    console = Console(highlight=False)
    console.print(table)
    for name, ratio in found.ratios().items():
        console.print(f"{name}: {ratio:.2f}" + ("" if "share" in name else " times faster"))
    if found.exact_match is not None:
        console.print(f"same text on both sides: {found.exact_match:.1%} of lines")
