"""The benchmark's commands: `trocr-mlx score ...`."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .engines import Settings

_NEEDED = ("img2pdf", "psutil", "rapidfuzz", "scipy")

_PAGES = (1, 10, 100, 500)

app = typer.Typer(
    name="score",
    help="Compare engines on pages with truth: a folder of images, and beside each NAME.json "
    'with "image", its file name, and "lines", a list of {"text", "bbox", "words"}; words are '
    '{"text", "bbox"}, a bbox is left, top, right, bottom in pixels, and both may be null.',
    epilog="Example:  trocr-mlx score pages folder --limit 6 --engine trocr",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Pages with truth.")]
Limit = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="N pages of each folder, spread evenly.")
]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine", metavar="NAME", help="Engine to run, may be repeated; all by default."
    ),
]
Model = Annotated[
    str | None, typer.Option("--model", "-m", help="Checkpoint, by default the bundled one.")
]
Device = Annotated[str, typer.Option(help="Where to compute: auto, cpu or gpu.")]
Language = Annotated[str, typer.Option(help="Tesseract's language code.")]
NoCase = Annotated[bool, typer.Option("--nocase", help="Upper and lower case are the same.")]
Rendered = Annotated[int, typer.Option("--pages", min=1, metavar="N", help="Pages.")]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the single figures, too.")
]
Plot = Annotated[Path | None, typer.Option(metavar="PNG", help="Draw it; needs matplotlib.")]
Save = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Write what each engine found, in the form of the truth."),
]


@app.callback()
def _prepare() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"the benchmark needs {', '.join(missing)}: pip install 'ocrmypdf-trocr-mlx[bench]'"
        )
    logging.basicConfig(format="%(message)s")
    logging.getLogger(__package__).setLevel(logging.INFO)


@app.command(epilog="Example:  trocr-mlx score pages folder --limit 6 --engine trocr")
def pages(
    folders: Folders,
    limit: Limit = None,
    engines: Engines = None,
    nocase: NoCase = False,
    model: Model = None,
    device: Device = "auto",
    language: Language = "eng",
    json_file: Json = None,
    save: Save = None,
) -> None:
    """Read pages: character errors, words found, lines and words by their boxes, time.

    Case does not count in a folder whose truth is all in capitals.
    """
    from . import pages as bench
    from .engines import READERS, open_engines

    opened = open_engines(READERS, engines or [], _settings(model, device, language))
    results = bench.run(folders, opened, limit, nocase=nocase, save=save)
    _report([*bench.READING, *bench.FINDING], results.reading_rows(), results.to_json(), json_file)


@app.command(epilog="Example:  trocr-mlx score layout folder --limit 6")
def layout(
    folders: Folders,
    limit: Limit = None,
    engines: Engines = None,
    language: Language = "eng",
    json_file: Json = None,
    save: Save = None,
) -> None:
    """Find the lines of pages, no recogniser loaded (Tesseract's command reads all the same).

    covered: words (lines, where the truth has no words) that line boxes cover to a half; cut: those
    in pieces; off, merged: line boxes that lie on no truth, or on lines above each other.
    """
    from . import pages as bench
    from .engines import FINDERS, open_engines

    opened = open_engines(FINDERS, engines or [], _settings(None, "auto", language))
    results = bench.run(folders, opened, limit, reading=False, save=save)
    headers = [*bench.READING[:3], *bench.FINDING]
    _report(headers, results.finding_rows(), results.to_json(), json_file)


@app.command(epilog="Example:  trocr-mlx score columns --pages 3 --engine trocr")
def columns(
    count: Rendered = 9,
    engines: Engines = None,
    model: Model = None,
    device: Device = "auto",
    language: Language = "eng",
    json_file: Json = None,
) -> None:
    """Read rendered pages in two columns: their plain CER tells whether the order is right."""
    from . import columns as bench
    from .engines import READERS, open_engines
    from .pages import FINDING, READING

    opened = open_engines(READERS, engines or [], _settings(model, device, language))
    results = bench.run(opened, count)
    _report([*READING, *FINDING], results.reading_rows(), results.to_json(), json_file)


@app.command(epilog="Example:  trocr-mlx score curved --pages 3 --engine trocr")
def curved(
    count: Rendered = 9,
    engines: Engines = None,
    model: Model = None,
    device: Device = "auto",
    language: Language = "eng",
    json_file: Json = None,
) -> None:
    """Read rendered pages whose lines are bent by 0.5, 1.5 and 3 line heights."""
    from . import curved as bench
    from .engines import READERS, open_engines

    opened = open_engines(READERS, engines or [], _settings(model, device, language))
    results = bench.run(opened, count)
    _report(bench.HEADERS, bench.rows(results), bench.to_json(results), json_file)


@app.command(epilog="Example:  trocr-mlx score lines lines.tar pages --limit 100")
def lines(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Lines with their text, as finetune takes them, or pages."
        ),
    ],
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="The first N lines of each source.")
    ] = None,
    nocase: NoCase = False,
    model: Model = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Read single lines: character errors by the source that a manifest names, else by SOURCE.

    A folder of pages with truth is cut into lines at the truth's boxes.  Case does not count in a
    source whose truth is all in capitals.
    """
    import dataclasses

    from ocrmypdf_trocr_mlx.recognizer import shared

    from . import lines as bench

    recognizer, rows, records = shared(model, device), [], []
    for path in sources:
        scored = bench.score_lines(bench.read_source(path), recognizer, limit, nocase)
        rows += bench.rows(scored)
        records += [{"source": name, **dataclasses.asdict(s)} for name, s in scored.items()]
    _report(bench.HEADERS, rows, records, json_file)


@app.command(epilog="Example:  trocr-mlx score rendered --texts texts --fonts fonts --lines 50")
def rendered(
    texts: Annotated[
        list[Path], typer.Option(metavar="DIR", help="Running text: .txt files. May be repeated.")
    ],
    fonts: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Fonts, by default the system's. May be repeated."),
    ] = None,
    count: Annotated[int, typer.Option("--lines", min=1, metavar="N", help="Lines.")] = 200,
    blanks: Annotated[int, typer.Option(min=1, metavar="N", help="Crops without text.")] = 400,
    seed: Annotated[int, typer.Option(help="Another number, other lines and crops.")] = 0,
    model: Model = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Read what is rendered here: lines of clean print, and crops that hold no text.

    The lines are set in upright serifs and sans at 10 to 12 points, 300 dpi; quotes and dashes are
    told apart.  kept: with a text that a page would keep, its letters as large as all others'.
    """
    import dataclasses

    from ocrmypdf_trocr_mlx.recognizer import shared

    from . import lines as single
    from . import rendered as bench

    recognizer = shared(model, device)
    drawn = bench.clean_lines(fonts or [], texts, count, seed)
    scored = single.score_lines(drawn, recognizer, None, nocase=False)
    clean = [{"source": name, **dataclasses.asdict(s)} for name, s in scored.items()]
    _report(single.HEADERS, single.rows(scored), clean, None)
    silent = bench.score_blanks(recognizer, blanks, seed)
    typer.echo()
    blank = {"source": "blank crops", **dataclasses.asdict(silent)}
    _report(bench.BLANK_HEADERS, [silent.row()], [*clean, blank], json_file)


@app.command(epilog="Example:  trocr-mlx score turned folder --limit 4")
def turned(
    folders: Folders,
    limit: Limit = None,
    turns: Annotated[int, typer.Option(min=2, help="Skews to give each page.")] = 5,
    engines: Engines = None,
    model: Model = None,
    device: Device = "auto",
    language: Language = "eng",
    json_file: Json = None,
) -> None:
    """Turn pages by known angles: the skew found, and which way up, and how surely."""
    from . import turned as bench
    from .engines import open_engines

    opened = open_engines(bench.TURNERS, engines or [], _settings(model, device, language))
    results = bench.run(folders, opened, limit, turns)
    _report(bench.HEADERS, bench.rows(results), bench.to_json(results), json_file)


@app.command("table", epilog="Example:  trocr-mlx score table folder --limit 3 --engine trocr")
def whole(
    folders: Folders,
    limit: Limit = None,
    engines: Engines = None,
    model: Model = None,
    device: Device = "auto",
    language: Language = "eng",
    json_file: Json = None,
) -> None:
    """Print all about layout and reading: pages, columns, curved, turned, and the layout's time.

    Each section is printed, and written to the JSON file, when it is done.
    """
    from . import whole as bench

    settings = _settings(model, device, language)
    figures = {}
    for section in bench.sections(folders, engines or [], settings, limit):
        typer.echo(f"{section.title}:\n")
        figures[section.key] = section.records
        _report(section.headers, section.rows, figures, json_file)
        typer.echo()


@app.command(epilog="Example:  trocr-mlx score command folder --engine trocr --engine tesseract")
def command(
    sources: Annotated[
        list[Path], typer.Argument(metavar="PDF|DIR...", help="PDFs, or pages with truth.")
    ],
    limit: Limit = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Jobs of ocrmypdf.")] = None,
    engines: Engines = None,
    nocase: NoCase = False,
    model: Model = None,
    device: Device = "auto",
    language: Language = "eng",
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Run the whole command `ocrmypdf` on PDFs with each engine: time, memory, errors.

    Case does not count in a folder whose truth is all in capitals.
    """
    from . import command as bench
    from .engines import open_engines

    _check_plot(plot)
    opened = open_engines(bench.COMMANDS, engines or [], _settings(model, device, language))
    results = bench.run(sources, opened, limit, nocase, jobs)
    _report(bench.HEADERS, [r.row() for r in results], [r.to_json() for r in results], json_file)
    if plot is not None:
        bench.plot(results, plot)
    if len(results) < len(sources) * len(opened):
        raise typer.Exit(1)


@app.command(epilog="Example:  trocr-mlx score scaling --pages 1 --pages 10")
def scaling(
    pages: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Pages, may be repeated; by default 1 to 500."),
    ] = None,
    lines: Annotated[int, typer.Option(min=1, help="Lines on a page.")] = 4,
    jobs: Annotated[int | None, typer.Option(min=1, help="Jobs of ocrmypdf.")] = None,
    model: Model = None,
    device: Device = "auto",
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Run `ocrmypdf` on rendered documents of more and more pages: time and peak memory."""
    from . import scaling as bench
    from .command import COMMANDS

    _check_plot(plot)
    arguments = COMMANDS["trocr"](_settings(model, device, "eng"))
    results = bench.run(pages or _PAGES, lines, arguments, jobs)
    records = [result.to_json() for result in results]
    _report(bench.HEADERS, bench.rows(results, lines), records, json_file)
    if plot is not None:
        bench.plot(results, plot)


def main() -> None:
    """Run the commands by themselves; bad input ends in one line and exit code 2."""
    try:
        app(prog_name="trocr-mlx score")
    except (OSError, RuntimeError, ValueError) as e:
        typer.echo(str(e), err=True)
        raise SystemExit(2) from e


def _settings(model: str | None, device: str, language: str) -> Settings:
    from .engines import Settings

    return Settings(model, device, language)


def _check_plot(plot: Path | None) -> None:
    """Before anything is measured."""
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install matplotlib")


def _report(headers: Any, rows: list[list[str]], figures: Any, json_file: Path | None) -> None:
    from .report import table

    typer.echo(table(headers, rows))
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=1), encoding="utf-8")
