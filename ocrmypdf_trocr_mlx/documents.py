"""Files of pages: images of any kind, stacks of them, and PDFs, a page at a time."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pypdfium2
from PIL import Image, ImageOps, UnidentifiedImageError

log = logging.getLogger(__name__)

DEFAULT_DPI = 300.0
# A page of a plan or a forged one must not fill the memory: larger ones are rendered coarser.
_MAX_PIXELS = 120_000_000
# PDFium is not thread-safe.
_pdfium = threading.Lock()


class DocumentError(ValueError):
    """One line that names the file and says why it cannot be read."""


@dataclass(frozen=True)
class PageImage:
    """Page `number`, from 0, of `count` in the file `source`; `dpi` is its resolution."""

    image: Image.Image
    source: Path
    number: int
    count: int
    dpi: float


def page_images(path: Path, dpi: float = DEFAULT_DPI) -> Iterator[PageImage]:
    """The pages of an image file or a PDF, of which pages are rendered at `dpi`.

    What a file is, its first bytes tell, not its name.  Raises DocumentError.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as e:
        raise DocumentError(f"{path}: {e.strerror}") from e
    if not head:
        raise DocumentError(f"{path}: the file is empty")
    return _pdf_pages(path, dpi) if b"%PDF-" in head else _frames(path)


def _frames(path: Path) -> Iterator[PageImage]:
    try:
        with Image.open(path) as image:
            # Other formats with frames, such as GIF, are films and not stacks of pages.
            count = getattr(image, "n_frames", 1) if image.format in ("TIFF", "MPO") else 1
            count = 1 if image.format == "MPO" else count  # a photograph and its previews
            for number in range(count):
                image.seek(number)
                page = ImageOps.exif_transpose(image).copy()
                yield PageImage(page, path, number, count, _resolution(image))
    except UnidentifiedImageError as e:
        raise DocumentError(f"{path}: neither an image nor a PDF that can be read") from e
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as e:
        raise DocumentError(f"{path}: not a whole image: {_one_line(e)}") from e


def _resolution(image: Image.Image) -> float:
    dpi = image.info.get("dpi", DEFAULT_DPI)
    value = float(dpi[0] if isinstance(dpi, tuple) else dpi)
    return value if math.isfinite(value) and value >= 1 else DEFAULT_DPI


def _pdf_pages(path: Path, dpi: float) -> Iterator[PageImage]:
    try:
        with contextlib.ExitStack() as stack:
            with _pdfium:
                pdf = pypdfium2.PdfDocument(path)
                count = len(pdf)
            stack.callback(_close, pdf)
            for number in range(count):
                image, used = _render(pdf, number, dpi)
                yield PageImage(image, path, number, count, used)
    except pypdfium2.PdfiumError as e:
        reason = _one_line(e)
        if "password" in reason.lower():
            raise DocumentError(f"{path}: the PDF is encrypted: decrypt it first") from e
        raise DocumentError(f"{path}: the PDF cannot be read: {reason}") from e


def _render(pdf: pypdfium2.PdfDocument, number: int, dpi: float) -> tuple[Image.Image, float]:
    with _pdfium:
        page = pdf[number]
        try:
            width, height = page.get_size()
            scale = min(dpi / 72, math.sqrt(_MAX_PIXELS / max(1.0, width * height)))
            if scale < dpi / 72:
                log.warning("Page %d is very large, rendered at %.0f dpi", number + 1, 72 * scale)
            # A copy: the bitmap's memory goes with the page.
            return page.render(scale=scale).to_pil().convert("RGB").copy(), 72 * scale
        finally:
            page.close()


def _close(pdf: pypdfium2.PdfDocument) -> None:
    with _pdfium:
        pdf.close()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
