"""The benchmark's commands and their options."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .engines import NAMES, Engine, Settings, open_finders, open_readers

if TYPE_CHECKING:
    from .pages import Table

Opener = Callable[[list[str], Settings], dict[str, Engine]]

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code is 0, or 2 with one line of why not."""
    parser = argparse.ArgumentParser(prog="trocr-mlx score", description=__doc__)
    add_commands(parser)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return options.run(options)
    except ImportError as e:
        log.error("%s: install the extra `bench`, pip install 'ocrmypdf-trocr-mlx[bench]'", e)
    except (OSError, RuntimeError, ValueError) as e:
        log.error("%s", e)
    return 2


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add `pages` and `layout`; the namespace's `run(namespace)` runs what was chosen."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pages = commands.add_parser(
        "pages",
        help="read pages with each engine and compare with the truth",
        description="Read page images with each engine and compare text and boxes with the truth: "
        "NAME.json beside each image, see truth.py.",
    )
    pages.set_defaults(run=_pages)
    pages.add_argument("--nocase", action="store_true", help="upper and lower case are the same")
    layout = commands.add_parser(
        "layout",
        help="find the lines of pages, without a recogniser",
        description="Find the lines of page images with each engine and compare their boxes with "
        "the truth.  No recogniser is loaded; Tesseract's command always reads.",
    )
    layout.set_defaults(run=_layout)
    for command in (pages, layout):
        _add_common(command)


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="pages with truth")
    command.add_argument(
        "--limit", type=_positive, metavar="N", help="N pages of each folder, spread evenly"
    )
    command.add_argument(
        "--engine",
        action="append",
        choices=NAMES,
        dest="engines",
        help="engine to run, may be repeated (default: all that are installed)",
    )
    command.add_argument("--model", help="checkpoint of trocr (default: the bundled one)")
    command.add_argument("--device", default="auto", help="device of trocr: auto, cpu or gpu")
    command.add_argument(
        "--language", default="eng", help="Tesseract's language code (default: eng)"
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="write each page's figures")
    command.add_argument(
        "--save", type=Path, metavar="DIR", help="write what each engine found on each page"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _run(options: argparse.Namespace, open_engines: Opener, **more: bool) -> Table:
    from .pages import run

    settings = Settings(options.model, options.device, options.language)
    engines = open_engines(options.engines or list(NAMES), settings)
    if not engines:
        raise ValueError("none of the engines asked for is installed")
    results = run(options.folders, engines, options.limit, save=options.save, **more)
    if options.json is not None:
        options.json.write_text(json.dumps(results.to_json(), indent=1), encoding="utf-8")
    return results


def _pages(options: argparse.Namespace) -> int:
    from .pages import FINDING, READING
    from .report import table

    results = _run(options, open_readers, nocase=options.nocase)
    print(table([*READING, *FINDING], results.reading_rows()))
    return 0


def _layout(options: argparse.Namespace) -> int:
    from .pages import FINDING, READING
    from .report import table

    results = _run(options, open_finders, reading=False)
    print(table([*READING[:3], *FINDING], results.finding_rows()))
    return 0
