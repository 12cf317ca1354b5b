"""`trocr-mlx doctor`: does this machine have what reading needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from . import common

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.doctor import Check

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  trocr-mlx doctor --json > doctor.json")(doctor)


def doctor(
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    as_json: common.JsonOption = False,
) -> None:
    """Check versions, device, speed, memory, model and tools, and read a rendered line.

    Says what to do about each problem. Exits with 1 if something needed does not work.
    """
    from ocrmypdf_trocr_mlx.doctor import examine

    checks = examine(model, device)
    done = list(checks) if as_json else list(_shown(checks))
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(c) for c in done], indent=2, ensure_ascii=False))
    if any(check.state == "failed" for check in done):
        raise typer.Exit(common.FAILED)


def _shown(checks: Iterator[Check]) -> Iterator[Check]:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for check in checks:
        mark = Text(f"{check.state:8}", style=_COLOURS[check.state])
        console.print(mark, Text(f"{check.name}: {check.found}"), soft_wrap=True)
        if check.cure:
            console.print(" " * 8, Text(check.cure), soft_wrap=True)
        yield check
