"""`trocr-mlx inspect`: what a checkpoint is and what is odd about it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import common

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.checkpoints.describe import Description

_MIB = 1 << 20


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  trocr-mlx inspect microsoft/trocr-small-printed --json")(inspect)


def inspect(
    model: Annotated[
        str, typer.Argument(metavar="NAME", help="Folder, Hugging Face name, or bundled.")
    ] = "bundled",
    as_json: common.JsonOption = False,
) -> None:
    """Show a checkpoint's architecture, size, tokenizer and oddities."""
    from ocrmypdf_trocr_mlx.checkpoints.describe import describe
    from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

    found = describe(resolve(model, download=True))
    if as_json:
        common.emit(json.dumps(dataclasses.asdict(found), indent=2, ensure_ascii=False) + "\n")
    else:
        _show(found)


def _show(found: Description) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=found.source, show_header=False, title_justify="left")
    table.add_row("family", f"{found.family}: {found.family_note}")
    for name in ("encoder", "decoder", "image", "tokenizer", "generation", "stored"):
        table.add_row(name, _words(getattr(found, name)))
    millions = {k: f"{v / 1e6:.1f} M" for k, v in found.parameters.items()}
    table.add_row("parameters", _words(millions))
    table.add_row("memory", _words({k: f"{v / _MIB:.0f} MiB" for k, v in found.memory.items()}))
    for i, oddity in enumerate(found.odd):
        table.add_row("" if i else "odd", oddity)
    Console(highlight=False, markup=False).print(table)


def _words(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{k.replace('_', ' ')} {_word(v)}" for k, v in values.items() if v is not None
    )


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return _words(value)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)
