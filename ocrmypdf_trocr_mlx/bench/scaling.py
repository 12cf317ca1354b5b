"""Documents of more and more pages through the command `ocrmypdf`: linear time, flat memory?"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.samples import rendered_lines

from .command import Arguments, Document, Result, run_command, write_pdf
from .figure import drawn
from .report import number, percent

log = logging.getLogger(__name__)

HEADERS = ("pages", "lines", "wall s", "s/page", "CPU s/page", "peak MB", "more than before %")
DPI = 150
_LINE_PITCH = 64
_MARGIN = 60
_WIDTH = 1000


def run(
    counts: Sequence[int], lines: int, arguments: Arguments, jobs: int | None = None
) -> list[Result]:
    """Documents of so many pages with so many lines each; RuntimeError where a run fails."""
    if jobs is not None:
        arguments = [*arguments, "--jobs", str(jobs)]
    results = []
    with tempfile.TemporaryDirectory(prefix="trocr-scaling-") as name:
        folder = Path(name)
        for count in sorted(set(counts)):
            images = write_pages(folder / str(count), count, lines)
            document = Document(f"{count} pages", folder / f"{count}.pdf", count)
            write_pdf(images, document.path)
            log.info("%d pages of %d lines", count, lines)
            results.append(run_command(document, "trocr", arguments, folder))
    return results


def write_pages(folder: Path, count: int, lines: int) -> list[Path]:
    """PNGs of pages, 1-bit, no two lines of them alike."""
    folder.mkdir()
    crops = rendered_lines(count * lines)
    paths = []
    for number_ in range(count):
        height = 2 * _MARGIN + lines * _LINE_PITCH
        page = np.full((height, _WIDTH), 255, np.uint8)
        for i, crop in enumerate(crops[number_ * lines : (number_ + 1) * lines]):
            top = _MARGIN + i * _LINE_PITCH
            crop = crop[:, : _WIDTH - 2 * _MARGIN]
            page[top : top + crop.shape[0], _MARGIN : _MARGIN + crop.shape[1]] = crop
        paths.append(folder / f"{number_}.png")
        Image.fromarray(page).convert("1").save(paths[-1], dpi=(DPI, DPI))
    return paths


def rows(results: Sequence[Result], lines: int) -> list[list[str]]:
    """Rows under HEADERS; memory is compared with that of the run before."""
    table = []
    for before, result in zip([None, *results], results, strict=False):
        table.append(
            [
                str(result.pages),
                str(lines),
                number(result.seconds, 1),
                number(result.seconds / result.pages),
                number(result.cpu_seconds / result.pages),
                number(result.peak_bytes / 1e6, 0),
                percent(result.peak_bytes / before.peak_bytes - 1 if before else None),
            ]
        )
    return table


def plot(results: Sequence[Result], path: Path) -> None:
    """Time and memory by pages as a PNG; ImportError where matplotlib is missing."""
    pages = [result.pages for result in results]
    with drawn(path, 2, (10, 4)) as (time, memory):
        time.plot(pages, [result.seconds for result in results], "o-", label="wall")
        time.plot(pages, [result.cpu_seconds for result in results], "o-", label="processors")
        time.set_ylabel("seconds")
        time.legend()
        memory.plot(pages, [result.peak_bytes / 1e6 for result in results], "o-")
        memory.set_ylabel("peak memory, MB")
        for axes in (time, memory):
            axes.set_xlabel("pages")
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
