"""`trocr-mlx read`: images and PDFs to text and to the formats of text on pages."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE

from . import common

if TYPE_CHECKING:
    from PIL import Image

    from ocrmypdf_trocr_mlx.documents import PageImage
    from ocrmypdf_trocr_mlx.result import Page

    Pages = Iterator[tuple[PageImage, Page]]

Format = Literal["text", "json", "hocr", "alto", "page", "csv", "overlay"]

_WITH_CHARACTERS: tuple[Format, ...] = ("json", "hocr", "alto", "page")
_OVERLAY_SUFFIX = ".overlay.png"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example:  trocr-mlx read --format alto --output out scan.pdf")(read)


def read(
    files: Annotated[list[Path], typer.Argument(metavar="IMAGE|PDF...", help="Files to read.")],
    format: Annotated[
        Format, typer.Option("--format", "-f", help="What to write of the pages.")
    ] = "text",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write files to this folder."),
    ] = None,
    line: Annotated[
        bool, typer.Option("--line", help="Each image is a single line of text.")
    ] = False,
    characters: Annotated[
        bool,
        typer.Option(
            "--characters", help="Write where each character is, too: in json, hocr, alto and page."
        ),
    ] = False,
    dpi: common.DpiOption = 300.0,
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    batch_size: common.BatchSizeOption = None,
    beams: common.BeamsOption = 1,
    min_confidence: common.ConfidenceOption = DEFAULT_MIN_CONFIDENCE,
) -> None:
    """Read images, TIFF stacks and PDFs, to standard output or a file for each.

    Pages of text are parted by a form feed. PAGE XML ("page") and pictures of what was read where
    ("overlay") hold one page a file: for more pages give --output.

    Exits with 1 if a file could not be read.
    """
    if characters and format not in _WITH_CHARACTERS:
        common.stop(f"--characters: --format {format} has no place for them")
    names = _output_names(files) if output is not None else {}
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    processor = common.processor(model, device, batch_size, beams, min_confidence, characters)
    function = processor.read_line_as_page if line else processor.read_page
    reading = _Reading(files, dpi, function, processor.at_once)
    shown = output is not None or not sys.stdout.isatty()
    with (
        common.interruptible(processor, "stopped"),
        common.progress("Pages", None, shown=shown) as advance,
    ):
        pages = _counted(iter(reading), advance)
        if output is not None:
            _to_folder(pages, format, output, names, reading.failed)
        else:
            _to_stdout(pages, format)
    if reading.failed:
        raise typer.Exit(common.FAILED)


class _Reading:
    """Each page of the files with what was read; what fails is told and noted in `failed`."""

    def __init__(
        self,
        files: Sequence[Path],
        dpi: float,
        function: Callable[[Image.Image], Page],
        at_once: int,
    ) -> None:
        self.failed: set[Path] = set()
        self._files = files
        self._dpi = dpi
        self._function = function
        self._at_once = at_once

    def __iter__(self) -> Pages:
        from ocrmypdf_trocr_mlx.pipeline import map_ahead

        for image, page in map_ahead(self._read, self._images(), self._at_once):
            if isinstance(page, Exception):
                self._fail(image.source, f"{image.source}: page {image.number + 1}: {page}")
            else:
                yield image, page

    def _images(self) -> Iterator[PageImage]:
        from ocrmypdf_trocr_mlx.documents import DocumentError, page_images

        for path in self._files:
            try:
                yield from page_images(path, self._dpi)
            except DocumentError as e:
                self._fail(path, str(e))

    def _read(self, image: PageImage) -> tuple[PageImage, Page | Exception]:
        try:
            return image, self._function(image.image)
        except Exception as e:  # one page must not cost the others
            return image, e

    def _fail(self, path: Path, message: str) -> None:
        self.failed.add(path)
        common.complain(message)


def _counted(pages: Pages, advance: Callable[[], None]) -> Pages:
    for pair in pages:
        advance()
        yield pair


def _content(pages: Iterable[tuple[PageImage, Page]], format: Format) -> Iterator[str]:
    """The parts of one document of these pages."""
    from ocrmypdf_trocr_mlx.formats import WRITERS, Sheet

    sheets = (Sheet(page, str(image.source), image.number, image.dpi) for image, page in pages)
    return WRITERS[format].write(sheets)


def _page_content(image: PageImage, page: Page, format: Format) -> bytes:
    """The file of a format that has one page a file."""
    from ocrmypdf_trocr_mlx import overlay
    from ocrmypdf_trocr_mlx.files import encode

    if format != "overlay":
        return encode("".join(_content([(image, page)], format)))
    png = io.BytesIO()
    overlay.draw(image.image, page).save(png, "PNG")
    return png.getvalue()


def _to_stdout(pages: Pages, format: Format) -> None:
    if _holds_many_pages(format):
        for part in _content(pages, format):
            common.emit(part)
        return
    if format == "overlay" and sys.stdout.isatty():
        common.stop("an overlay is a picture: give --output DIR or redirect standard output")
    first = list(itertools.islice(pages, 2))
    if len(first) > 1:
        common.stop(f"--format {format} has one page a file: give --output DIR for more pages")
    for image, page in first:
        sys.stdout.buffer.write(_page_content(image, page, format))


def _to_folder(
    pages: Pages, format: Format, folder: Path, names: dict[Path, str], failed: set[Path]
) -> None:
    """A file for each document, or for each page; none for a document that failed in part."""
    from ocrmypdf_trocr_mlx.files import write_whole

    suffix = _suffix(format)
    if not _holds_many_pages(format):
        for image, page in pages:
            number = f"-{image.number + 1:04d}" if image.count > 1 else ""
            name = f"{names[image.source]}{number}{suffix}"
            write_whole(folder / name, _page_content(image, page, format))
        return
    for source, group in itertools.groupby(pages, key=lambda pair: pair[0].source):
        content = "".join(_content(group, format))
        if source not in failed:
            write_whole(folder / f"{names[source]}{suffix}", content)


def _holds_many_pages(format: Format) -> bool:
    from ocrmypdf_trocr_mlx.formats import WRITERS

    return format != "overlay" and WRITERS[format].many_pages


def _suffix(format: Format) -> str:
    from ocrmypdf_trocr_mlx.formats import WRITERS

    return _OVERLAY_SUFFIX if format == "overlay" else WRITERS[format].suffix


def _output_names(files: Sequence[Path]) -> dict[Path, str]:
    """The name of each file's output, without suffix; stops where two would have the same."""
    names: dict[Path, str] = {}
    for path in files:
        if path.stem in names.values():
            common.stop(f"{path}: another file's output has the same name: read it by itself")
        names[path] = path.stem
    return names
