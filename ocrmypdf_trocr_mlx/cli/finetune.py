"""`trocr-mlx finetune`: teach a checkpoint a hand or a typeface."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from . import common

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.training.finetune import FinetuneResult
    from ocrmypdf_trocr_mlx.training.loop import Progress

_RANK = 16


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example:  trocr-mlx finetune --data lines.csv --out my-model, "
        "then  trocr-mlx read --model my-model page.jpg"
    )(finetune)


def finetune(
    data: Annotated[
        list[Path],
        typer.Option(
            metavar="FOLDER|TAR|CSV",
            help="Lines and what they say: images with .txt beside them, ALTO or PAGE XML, "
            "a manifest, or a tar; may be given several times.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the new checkpoint; given again: go on.")
    ],
    dev: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER|TAR|CSV", help="Lines to test on, if not some of the data."),
    ] = None,
    holdout: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the data to test on, without --dev.")
    ] = 0.1,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Only lines of this source, as a manifest's column 'source' names it; may be "
            "given several times.",
        ),
    ] = None,
    bad_lines: Annotated[
        Literal["skip", "refuse"],
        typer.Option(help="Lines of no use: leave them out and name them, or stop at the first."),
    ] = "skip",
    lora: Annotated[
        bool, typer.Option("--lora", help="Train small matrices beside the weights: less memory.")
    ] = False,
    epochs: Annotated[float, typer.Option(min=0, help="How often to see all data.")] = 10.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Lines of full width in a step.")] = 16,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", min=0, help="Learning rate, by default what suits most.")
    ] = None,
    augment: Annotated[
        bool, typer.Option(help="Vary the images, so that few lines teach more.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Another number, another order.")] = 0,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="Stop after so long; run again to go on.")
    ] = None,
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    as_json: common.JsonOption = False,
) -> None:
    """Train a checkpoint further on your own lines; tells the error rate before and after."""
    from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
    from ocrmypdf_trocr_mlx.training.finetune import FinetuneOptions, run

    options = FinetuneOptions(
        data=data,
        out=out,
        model=str(resolve(model, download=True)),
        dev=dev or (),
        holdout=holdout,
        only=only or (),
        bad_lines=bad_lines,
        lora=_RANK if lora else 0,
        epochs=epochs,
        batch_size=batch_size,
        lr=learning_rate,
        augment=augment,
        device=device,
        seed=seed,
        seconds=seconds,
    )
    with _reporter() as report:
        result = run(options, report)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(result), default=str, indent=2))
    else:
        typer.echo(_summary(result))


def _summary(result: FinetuneResult) -> str:
    if not result.finished:
        return f"stopped at step {result.step} of {result.steps}: run it again to go on"
    rates = [f"{e.cer:.2%}" for e in (result.before, result.after) if e is not None]
    skipped = f"\nleft out, {result.skipped}: {result.reasons}" if result.skipped else ""
    others = f"\nof other sources, {result.others}" if result.others else ""
    return (
        f"{result.out}: trained on {result.lines} lines; "
        f"character error rate on {result.held_out} others: {' before, '.join(rates)} after"
        f"{skipped}{others}"
    )


@contextlib.contextmanager
def _reporter() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; else a line for each evaluation."""
    if not sys.stderr.isatty():
        yield _tell
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=None)

        def move(progress: Progress) -> None:
            loss = "" if progress.loss is None else f", loss {progress.loss:.3f}"
            cer = "" if progress.cer is None else f", CER {progress.cer:.2%}"
            bar.update(
                task,
                description=f"{progress.phase}{loss}{cer}",
                completed=progress.step,
                total=progress.steps or None,
            )

        yield move


def _tell(progress: Progress) -> None:
    if progress.cer is not None:
        sys.stderr.write(
            f"step {progress.step} of {progress.steps}: error rate {progress.cer:.2%}\n"
        )
