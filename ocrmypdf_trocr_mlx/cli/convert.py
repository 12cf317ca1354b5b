"""`trocr-mlx convert`: a checkpoint in another precision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import common

Dtype = Literal["float32", "float16", "bfloat16", "int8"]


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example:  trocr-mlx convert microsoft/trocr-large-printed large-4bit --quantize 4"
    )(convert)


def convert(
    source: Annotated[
        str, typer.Argument(metavar="SRC", help="Folder or Hugging Face name of a checkpoint.")
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="New folder.")],
    dtype: Annotated[
        Dtype,
        typer.Option(help="How to store weights; int8 is expanded when loaded, half of float16."),
    ] = "float16",
    quantize: Annotated[
        int | None,
        typer.Option(metavar="8|4", help="Bits of linear layers; a GPU computes with them so."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the source in torch, if that is there.")
    ] = False,
) -> None:
    """Convert any TrOCR checkpoint to safetensors of another precision.

    Floats under their published names, which transformers reads too. With --verify it exits with 1
    where the result is too far from what transformers and torch make of the source.
    """
    if quantize not in (None, 8, 4):
        common.stop(f"--quantize {quantize}: choose 8 or 4")
    if quantize is not None and dtype == "int8":
        common.stop("--quantize does not go with --dtype int8: choose one of them")
    from ocrmypdf_trocr_mlx.checkpoints.convert import convert
    from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

    folder = resolve(source, download=True)
    convert(folder, target, dtype, quantize)
    size = sum(path.stat().st_size for path in target.glob("*.safetensors"))
    typer.echo(f"{target}: {size / 1e6:.1f} MB of weights")
    if verify:
        _verify(folder, target)


def _verify(source: Path, target: Path) -> None:
    from ocrmypdf_trocr_mlx import backend
    from ocrmypdf_trocr_mlx.checkpoints.verify import verify
    from ocrmypdf_trocr_mlx.samples import rendered_lines

    backend.prepare("cpu")  # float32 there is float32
    found = verify(source, target, rendered_lines(4))
    typer.echo(
        f"against torch: logits differ by {found.largest_difference:.2g} at most, "
        f"{found.mean_difference:.2g} on average; "
        f"{found.agreement:.1%} of {found.tokens} tokens agree"
    )
    if not found.passed:
        common.stop(f"{target}: too far from {source}", common.FAILED)
