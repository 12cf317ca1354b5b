"""`trocr-mlx watch`: a drop folder whose files become searchable as they arrive."""

from __future__ import annotations

from typing import Annotated

import typer

from . import archive, common


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  trocr-mlx watch inbox searchable -- --rotate-pages --deskew")(
        watch
    )


def watch(
    source: archive.SourceArgument,
    destination: archive.DestinationArgument,
    options: archive.OptionsArgument = None,
    workers: archive.WorkersOption = 1,
    tries: archive.TriesOption = 3,
    hours: archive.HoursOption = archive.DEFAULT_HOURS,
    settle: Annotated[
        float,
        typer.Option(min=0.1, help="Take a file when it has not changed for so many seconds."),
    ] = 5.0,
    poll: Annotated[
        bool, typer.Option("--poll", help="List the folder instead of waiting for its events.")
    ] = False,
) -> None:
    """Convert what lies in a folder and what arrives there, until stopped.

    Like archive: sources are only read, and what was done is known from the journal in DST, so
    PDFs may be taken away from there. Hidden files are left out: some scanners write to one and
    rename it at the end. --poll is for network shares, which send no events.
    """
    with archive.archive_errors():
        from ocrmypdf_trocr_mlx.archive import watch as library
        from ocrmypdf_trocr_mlx.archive.run import make_rules, open_archive

        args = options or []
        rules = make_rules(source, destination, args, tries=tries, restore=False)
        pool = archive.make_pool(rules, args, workers, hours, None)
        with open_archive(rules, args, pool, archive.tell_outcome) as opened:
            for count in library.watch(opened, settle=settle, poll=poll):
                if count:
                    common.tell(f"{count} files done, waiting for more")
