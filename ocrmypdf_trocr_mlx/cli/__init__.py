"""The console script `trocr-mlx`.  Its commands import what is heavy when they run."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from ocrmypdf_trocr_mlx import __version__

from . import archive, batch, bench, convert, doctor, finetune, inspect, read, score, verify, watch
from .common import FAILED, UNEXPECTED, UNUSABLE, complain

app = typer.Typer(
    name="trocr-mlx",
    help="Read images and PDFs with TrOCR in Apple MLX.",
    epilog="Example:  trocr-mlx read page.jpg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"trocr-mlx {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell what is done, and of errors all.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say it, exit.")
    ] = False,
) -> None:
    logging.basicConfig(format="trocr-mlx: %(message)s", level=logging.WARNING)
    if verbose:
        logging.getLogger("ocrmypdf_trocr_mlx").setLevel(logging.DEBUG)


for module in (
    *(read, batch, archive, watch),
    *(inspect, convert, verify, finetune),
    *(doctor, bench, score),
):
    module.register(app)


def main() -> None:
    """Run the command line: what goes wrong is said in one line, with its exit code."""
    try:
        app(standalone_mode=True)
    except BrokenPipeError:
        # Nobody reads on, as in `| head`; the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        _end(f"{where}{e.strerror or e}", FAILED, e)
    except ValueError as e:
        from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError

        _end(str(e), UNUSABLE if isinstance(e, CheckpointError) else FAILED, e)
    except Exception as e:
        _end(f"{type(e).__name__}: {e} (trocr-mlx --verbose tells more)", UNEXPECTED, e)


def _end(message: str, code: int, error: Exception) -> None:
    complain(message)
    logging.getLogger(__name__).debug("It was raised here", exc_info=error)
    sys.exit(code)
