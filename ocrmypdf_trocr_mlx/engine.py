"""The OCR engine that OCRmyPDF drives: image file in, element tree, hOCR or text-only PDF out."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import sys
import threading
import weakref
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from ocrmypdf import BadArgsError, InputFileError, OcrElement, OcrEngine, OrientationConfidence
from PIL import Image

from ocrmypdf_trocr_mlx import __version__, hocr
from ocrmypdf_trocr_mlx.options import TrOcrOptions, get_options
from ocrmypdf_trocr_mlx.packed import packed
from ocrmypdf_trocr_mlx.printable import clean
from ocrmypdf_trocr_mlx.result import Page

if TYPE_CHECKING:
    from ocrmypdf import OcrOptions

    from ocrmypdf_trocr_mlx.reader import PageReader
    from ocrmypdf_trocr_mlx.recognizer import Recognizer

log = logging.getLogger(__name__)

# What the bundled model was trained on and its characters cover, by ISO 639-2; where a language
# has two codes, both.
# fmt: off
LANGUAGES = frozenset({
    "cat", "ces", "cze", "dan", "deu", "dut", "eng", "est", "fin", "fra", "fre", "ger", "hrv",
    "hun", "ice", "isl", "ita", "lat", "lav", "lit", "nld", "nno", "nob", "nor", "pol", "por",
    "ron", "rum", "slk", "slo", "slv", "spa", "swe", "tur",
})
# fmt: on
_BUNDLED = (None, "bundled")  # values of --trocr-model
_FALLBACK_DPI = 300.0  # an image that does not tell: only the ratio to the page counts

_in_use: weakref.WeakSet[Recognizer] = weakref.WeakSet()
_ahead: set[tuple[object, ...]] = set()  # models that were loaded ahead, by what was asked for
stopped = threading.Event()  # set by `stop`, cleared by the next job
_computes = True  # False as long as MLX was imported here only to check options, not to compute


def recognizer(options: TrOcrOptions) -> Recognizer:
    """The process-wide recognizer for these options; the first call loads the model.

    Raises BadArgsError, one line, where the checkpoint or the device cannot be used, and
    RuntimeError after `stop`.
    """
    global _computes
    _computes = True
    from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
    from ocrmypdf_trocr_mlx.recognizer import shared

    try:
        made = shared(options.model, options.device, options.batch_size, options.beams)
    except CheckpointError as e:
        raise _unusable(options, e) from e
    except (OSError, RuntimeError, ValueError) as e:
        raise BadArgsError(str(e)) from e
    _in_use.add(made)
    if stopped.is_set():  # while the model was loaded, and `stop` did not know of it
        made.close()
        raise RuntimeError("the job was interrupted")
    return made


def stop() -> None:
    """Make the pages that are being read fail soon; returns at once, for a signal handler."""
    stopped.set()
    for used in list(_in_use):
        threading.Thread(target=used.close, daemon=True).start()


def load_ahead(options: OcrOptions) -> None:
    """Load the model while the first page is rendered; returns at once, and raises nothing.

    Worker processes, which render and read one page after the other, would gain nothing.
    """
    ours = get_options(options)
    asked = (ours.model, ours.device, ours.batch_size, ours.beams)
    if options.use_threads and options.tesseract_timeout != 0 and asked not in _ahead:
        _ahead.add(asked)
        # No daemon: a thread inside MLX must not outlive the interpreter, which waits for others.
        threading.Thread(target=_load, args=(ours,), name="trocr-load").start()


def _load(options: TrOcrOptions) -> None:
    try:
        page_reader(options)
    except Exception as e:  # whoever reads a page will be told
        log.debug("The model could not be loaded ahead: %s", e)


def page_reader(options: TrOcrOptions) -> PageReader:
    """A reader of pages with the process-wide recognizer; raises as `recognizer` does."""
    shared = recognizer(options)
    from ocrmypdf_trocr_mlx import apart

    return apart.page_reader(shared, options.min_confidence)


def check(options: OcrOptions) -> None:
    """Raise BadArgsError, one line, where the options ask for what cannot be had.

    A checkpoint that is named by its Hugging Face id is downloaded here, not in the workers.
    """
    ours = get_options(options)
    forks = not options.use_threads and _workers_are_forked()
    if not options.use_threads:
        _check_processes(forks)
    _check_model(ours, compute=not forks)
    if ours.diagnostics is not None:
        try:
            Path(ours.diagnostics).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise BadArgsError(
                f"--trocr-diagnostics {ours.diagnostics}: {e.strerror}: name a folder to write to"
            ) from e
    if options.use_threads and ours.device == "gpu":
        from ocrmypdf_trocr_mlx import backend

        try:
            backend.prepare(ours.device)
        except ValueError as e:
            raise BadArgsError(f"--trocr-device: {e}") from e


def _workers_are_forked() -> bool:
    method = multiprocessing.get_start_method(allow_none=True)
    method = method or multiprocessing.get_all_start_methods()[0]  # the platform's default
    return method == "fork"


def _check_processes(forks: bool) -> None:
    """Worker processes work, but every one of them holds a model of its own."""
    global _computes
    if "mlx.core" not in sys.modules:
        _computes = False
    if forks and _computes:
        raise BadArgsError(
            "--no-use-threads: this process has used MLX already, and its forks would hang; "
            "use threads, or call multiprocessing.set_start_method('forkserver') first"
        )
    log.warning(
        "Worker processes hold a copy of the model each and read more slowly than threads, "
        "which share one: leave out --no-use-threads, or limit --jobs if memory is short"
    )


def _check_model(options: TrOcrOptions, *, compute: bool) -> None:
    """Find the checkpoint and look at it; only with `compute` at its weights, which MLX opens."""
    global _computes
    from ocrmypdf_trocr_mlx.checkpoints import load
    from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
    from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

    try:
        folder = resolve(options.model, download=True)
        log.debug("TrOCR checkpoint: %s", folder)
        if compute:
            _computes = True
            load.check(folder)
        else:
            load.read_parts(folder)
    except CheckpointError as e:
        raise _unusable(options, e) from e


def _unusable(options: TrOcrOptions, error: Exception) -> BadArgsError:
    if options.model in _BUNDLED:
        return BadArgsError(f"The bundled model is damaged, install the package again: {error}")
    return BadArgsError(
        "--trocr-model: name a complete TrOCR checkpoint, or leave the option out to read with "
        f"the bundled model: {error}"
    )


class TrOcrEngine(OcrEngine):
    """OCRmyPDF's interface to the page reader."""

    @staticmethod
    def version() -> str:
        return __version__

    @staticmethod
    def creator_tag(options: OcrOptions) -> str:
        return f"TrOCR MLX {__version__}"

    def __str__(self) -> str:
        return f"TrOCR MLX {__version__}"

    @staticmethod
    def languages(options: OcrOptions) -> Set[str]:
        """The bundled model's languages; nothing, which means any, for a model of the user's.

        OCRmyPDF asks for them when a job starts, and of the engine in use alone, which may be
        another plugin's.  So here, not in the hook `check_options`, is looked whether it can work.
        """
        check(options)
        return LANGUAGES if get_options(options).model in _BUNDLED else frozenset()

    @staticmethod
    def get_orientation(input_file: Path, options: OcrOptions) -> OrientationConfidence:
        """How far the page is turned clockwise, and how sure that is.

        OCRmyPDF turns the page counter-clockwise by this angle, Tesseract's "Orientation in
        degrees", though its documentation speaks of a clockwise correction.
        """
        shared = recognizer(get_options(options))
        from ocrmypdf_trocr_mlx.orientation import find_orientation

        try:
            with Image.open(input_file) as image:
                angle, confidence = find_orientation(image, shared)
        except Exception as e:
            _warn(input_file, "its orientation is unknown", e)
            angle, confidence = 0, 0.0
        return OrientationConfidence(-angle % 360, confidence)

    @staticmethod
    def get_deskew(input_file: Path, options: OcrOptions) -> float:
        """The counter-clockwise turn, in degrees, that would set the lines level."""
        from ocrmypdf_trocr_mlx.orientation import find_skew

        try:
            with Image.open(input_file) as image:
                return find_skew(image)
        except Exception as e:
            _warn(input_file, "its skew is unknown", e)
            return 0.0

    @staticmethod
    def supports_generate_ocr() -> bool:
        return True

    @staticmethod
    def generate_ocr(
        input_file: Path, options: OcrOptions, page_number: int = 0
    ) -> tuple[OcrElement, str]:
        page = _read(input_file, options)
        element = hocr.to_element(page, _dpi(input_file), page_number)
        return packed(element), _text(page)

    @staticmethod
    def generate_hocr(
        input_file: Path, output_hocr: Path, output_text: Path, options: OcrOptions
    ) -> None:
        page = _read(input_file, options)
        element = hocr.to_element(
            page, _dpi(input_file), _page_index(input_file), level_words=False
        )
        document = hocr.to_hocr(element, system=TrOcrEngine.creator_tag(options))
        output_hocr.write_text(document, encoding="utf-8")
        output_text.write_text(_text(page), encoding="utf-8")

    @staticmethod
    def generate_pdf(
        input_file: Path, output_pdf: Path, output_text: Path, options: OcrOptions
    ) -> None:
        import ocrmypdf
        from ocrmypdf.font import MultiFontManager
        from ocrmypdf.fpdf_renderer import Fpdf2PdfRenderer

        element, text = TrOcrEngine.generate_ocr(input_file, options, _page_index(input_file))
        assert element.dpi is not None
        fonts = MultiFontManager(Path(ocrmypdf.__file__).parent / "data")
        Fpdf2PdfRenderer(element, element.dpi, fonts).render(output_pdf)
        output_text.write_text(text, encoding="utf-8")


class WithoutText(TrOcrEngine):
    """For `--tesseract-timeout 0`: pages are turned and levelled, but not read.

    OCRmyPDF takes an empty file for a page that was left out and keeps the text that the page has;
    an element tree cannot say that.
    """

    @staticmethod
    def supports_generate_ocr() -> bool:
        return False

    @staticmethod
    def generate_hocr(
        input_file: Path, output_hocr: Path, output_text: Path, options: OcrOptions
    ) -> None:
        output_hocr.write_bytes(b"")
        output_text.write_bytes(b"")

    @staticmethod
    def generate_pdf(
        input_file: Path, output_pdf: Path, output_text: Path, options: OcrOptions
    ) -> None:
        output_pdf.write_bytes(b"")
        output_text.write_bytes(b"")


def _text(page: Page) -> str:
    return f"{page.text}\n" if page.blocks else ""


def _read(input_file: Path, options: OcrOptions) -> Page:
    """Read a page; one that cannot be read is empty, for one page must not cost the document."""
    ours = get_options(options)
    reader = page_reader(ours)  # a model that does not load would empty every page: not caught
    with _open(input_file) as image:
        try:
            page = clean(reader.read(image))
        except Exception as e:
            _warn(input_file, "its text layer stays empty", e)
            return Page(*image.size)
        if ours.diagnostics is not None:
            _save_overlay(image, page, Path(ours.diagnostics) / _overlay_name(input_file, options))
    return page


def _open(input_file: Path) -> Image.Image:
    """Raises InputFileError, one line, where not even the image's size is known."""
    try:
        return Image.open(input_file)
    except Image.DecompressionBombError as e:
        problem = f"raise --max-image-mpixels or leave the page out with --pages: {e}"
    except (OSError, SyntaxError, ValueError) as e:
        problem = f"is the disk full? Otherwise leave the page out with --pages: {e}"
    raise InputFileError(
        f"The image of page {_page_index(input_file) + 1} cannot be opened, {problem}"
    )


def _save_overlay(image: Image.Image, page: Page, path: Path) -> None:
    from ocrmypdf_trocr_mlx import overlay

    try:
        overlay.save(image, page, path)
    except OSError as e:  # the document is worth more than the picture
        log.warning("--trocr-diagnostics: %s was not written: %s", path, e.strerror or e)


def _dpi(input_file: Path) -> float:
    with _open(input_file) as image:
        dpi = image.info.get("dpi", _FALLBACK_DPI)
    value = float(dpi[0] if isinstance(dpi, tuple) else dpi)
    return value if math.isfinite(value) and value >= 1 else _FALLBACK_DPI


def _page_index(input_file: Path) -> int:
    """Index from OCRmyPDF's name of the page image, such as 000012_ocr.png."""
    number = input_file.name.partition("_")[0]
    return max(0, int(number) - 1) if number.isdecimal() else 0


def _overlay_name(input_file: Path, options: OcrOptions) -> str:
    document = "page"
    if isinstance(options.input_file, str | os.PathLike) and options.input_file != "-":
        document = Path(options.input_file).stem
    return f"{document}-{_page_index(input_file) + 1:04d}.png"


def _warn(input_file: Path, consequence: str, error: Exception) -> None:
    if stopped.is_set():
        raise error  # not the page's fault, and nobody waits for it
    log.warning(
        "Page %d could not be read, %s: %s: %s",
        _page_index(input_file) + 1,
        consequence,
        type(error).__name__,
        error,
    )
    log.debug("Page image %s", input_file, exc_info=error)
