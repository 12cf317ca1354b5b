"""`trocr-mlx score`: the page benchmark, this package beside other engines."""

from __future__ import annotations

import typer

from ocrmypdf_trocr_mlx.bench import main


def register(app: typer.Typer) -> None:
    app.add_typer(main.app, short_help="Compare engines on pages whose text is known.")
