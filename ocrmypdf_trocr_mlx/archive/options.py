"""OCRmyPDF's options as the user passed them on, after `--`."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ocrmypdf.exceptions import ExitCodeException

from ocrmypdf_trocr_mlx.archive.job import USAGE, ArchiveError, one_line

if TYPE_CHECKING:
    from ocrmypdf import OcrOptions

PLUGIN = "ocrmypdf_trocr_mlx"
# They do not change what is written: another value is no reason to do a file again.
_HOW_ONLY = frozenset(
    {
        "input_file", "output_file", "jobs", "use_threads", "progress_bar", "quiet", "verbose",
        "keep_temporary_files", "trocr_device", "trocr_batch_size", "trocr_diagnostics",
    }
)  # fmt: skip


def parse(args: Sequence[str], source: str, output: str) -> OcrOptions:
    """OCRmyPDF's options for one file; both paths are absolute, so that no name is an option.

    Raises ArchiveError, one line, for what OCRmyPDF does not understand and for what makes no
    sense for many files.
    """
    from ocrmypdf.cli import get_options_and_plugins
    from pydantic import ValidationError

    plugin = [] if any(arg.endswith(PLUGIN) for arg in args) else ["--plugin", PLUGIN]
    full = [*plugin, "--no-progress-bar", *args, "--", source, output]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options, _ = get_options_and_plugins(full)
    except SystemExit as e:
        last = said.getvalue().strip().rpartition("error: ")[2]
        raise _bad(last or "help and the like are not for an archive: ask ocrmypdf itself") from e
    except ValidationError as e:
        raise _bad(
            "; ".join(error["msg"].removeprefix("Value error, ") for error in e.errors())
        ) from e
    except (ExitCodeException, ValueError) as e:
        raise _bad(str(e)) from e
    _check(options, output)
    return options


def _check(options: OcrOptions, output: str) -> None:
    if options.sidecar not in (None, "\0"):
        raise _bad("--sidecar: every file has its own, beside its PDF: give no name")
    if options.output_file != output:
        raise _bad("the files are named by the archive, name none")


def _bad(message: str) -> ArchiveError:
    return ArchiveError(f"OCRmyPDF's options: {one_line(message)}", USAGE)


def fingerprint(args: Sequence[str]) -> str:
    """The options that decide what is written, as a short text: equal if nothing would change."""
    options = parse(args, os.devnull, os.devnull + ".pdf")
    values = {**options.model_dump(), **options.extra_attrs}
    kept = {name: _plain(value) for name, value in values.items() if name not in _HOW_ONLY}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
    return digest[:16]


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return sorted(value) if isinstance(value, set) else str(value)
