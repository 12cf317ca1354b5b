"""What the commands share: options, exit codes, messages and progress bars."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from ocrmypdf_trocr_mlx.files import encode

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx.processor import Processor

# Exit codes; 2 is click's, for a command line that is wrong.
FAILED = 1  # some file could not be read, some check failed
USAGE = 2
UNUSABLE = 3  # the checkpoint or the device cannot be used
UNEXPECTED = 4
INTERRUPTED = 130

Device = Literal["auto", "cpu", "gpu"]

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Checkpoint: a folder, a file of weights in one, or a Hugging Face name "
        "(NAME@REVISION for a certain version); by default the bundled one.",
    ),
]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes a GPU.")]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Lines to read at once, by default what suits the device; fewer take less memory.",
    ),
]
BeamsOption = Annotated[
    int, typer.Option(min=1, max=16, help="Beams of the search: more is slower, seldom better.")
]
ConfidenceOption = Annotated[
    float, typer.Option(min=0, max=1, help="Leave out lines of pages read less surely.")
]
DpiOption = Annotated[
    float, typer.Option(min=30, max=1200, help="Resolution at which PDF pages are rendered.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def complain(message: str) -> None:
    """One line on stderr, whatever the message holds."""
    sys.stderr.write(f"trocr-mlx: {' '.join(message.split())}\n")


def stop(message: str, code: int = USAGE) -> NoReturn:
    """End the command with one line on stderr."""
    complain(message)
    raise typer.Exit(code)


def tell(message: str) -> None:
    """A line on stderr for the person at the terminal; scripts take it from the results."""
    if sys.stderr.isatty():
        sys.stderr.write(f"{message}\n")


def emit(text: str) -> None:
    """Text to stdout as UTF-8, whatever the locale."""
    sys.stdout.buffer.write(encode(text))
    sys.stdout.buffer.flush()


def processor(
    model: str | None,
    device: Device,
    batch_size: int | None,
    beams: int,
    min_confidence: float,
    characters: bool = False,
) -> Processor:
    """The API's processor; a device or a checkpoint that cannot be used ends the command."""
    from ocrmypdf_trocr_mlx.processor import load_processor

    try:
        return load_processor(
            model,
            device=device,
            batch_size=batch_size,
            beams=beams,
            min_confidence=min_confidence,
            characters=characters,
        )
    except ValueError as e:
        stop(str(e), UNUSABLE)


@contextlib.contextmanager
def interruptible(processor: Processor, message: str) -> Iterator[None]:
    """Ctrl-C ends what is being read, at once, and then the command, with this message."""
    try:
        yield
    except KeyboardInterrupt:
        processor.close()  # or threads would read their pages to the end
        stop(message, INTERRUPTED)


@contextlib.contextmanager
def progress(what: str, total: int | None, *, shown: bool = True) -> Iterator[Callable[[], None]]:
    """A bar on stderr, if that is a terminal, for as long as the block runs.

    Gives the function that moves it on by one.
    """
    if not (shown and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
