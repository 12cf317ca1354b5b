"""OCRmyPDF's hooks.

The entry point loads this module, `--plugin ocrmypdf_trocr_mlx` the package, which has the same
hooks; `initialize` sees to it that only one of the two stays.
"""

from __future__ import annotations

import logging
import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path

import pluggy
from ocrmypdf import Executor, OcrEngine, OcrOptions, hookimpl
from ocrmypdf.builtin_plugins import tesseract_ocr
from ocrmypdf.helpers import Resolution
from pydantic import BaseModel

from ocrmypdf_trocr_mlx import options as trocr_options

log = logging.getLogger(__name__)


def _tesseract_missing() -> bool:
    return shutil.which("tesseract") is None


def _selected(options: OcrOptions | None) -> bool:
    return options is None or options.ocr_engine in ("auto", trocr_options.ENGINE_NAME)


@hookimpl
def initialize(plugin_manager: pluggy.PluginManager) -> None:
    """Keep one copy of the hooks, and block OCRmyPDF's Tesseract plugin where it cannot work."""
    package, entry_point = sys.modules[__package__], sys.modules[__name__]
    if plugin_manager.is_registered(package) and plugin_manager.is_registered(entry_point):
        plugin_manager.unregister(entry_point)
    if _tesseract_missing():
        # It would end every job, whatever the engine, because there is no Tesseract.
        plugin_manager.set_blocked(tesseract_ocr.__name__)


@hookimpl
def register_options() -> dict[str, type[BaseModel]]:
    """The model of our options, and Tesseract's where its plugin is blocked."""
    models: dict[str, type[BaseModel]] = {trocr_options.NAMESPACE: trocr_options.TrOcrOptions}
    if _tesseract_missing():
        models["tesseract"] = tesseract_ocr.TesseractOptions  # OCRmyPDF's core reads it
    return models


@hookimpl
def add_options(parser: ArgumentParser) -> None:
    """Our options, the choice `--ocr-engine trocr`, and Tesseract's options where blocked."""
    trocr_options.add_arguments(parser)
    trocr_options.add_engine_choice(parser)
    if _tesseract_missing():
        tesseract_ocr.TesseractOptions.add_arguments_to_parser(parser)


@hookimpl
def check_options(options: OcrOptions) -> None:
    """Fail early, in one line, for wrong values, and for Tesseract where it is missing.

    That the engine can work as it was asked to, `TrOcrEngine.languages` checks.
    """
    if _selected(options):
        trocr_options.get_options(options)
    elif options.ocr_engine == "tesseract" and _tesseract_missing():
        tesseract_ocr.check_options(options)  # says how to install it


@hookimpl
def get_executor(progressbar_class: type | None) -> Executor:
    """OCRmyPDF's own executor, which then ends at once on Ctrl-C."""
    from ocrmypdf_trocr_mlx.interrupt import InterruptibleExecutor

    return InterruptibleExecutor(pbar_class=progressbar_class)


@hookimpl
def rasterize_pdf_page(
    input_file: Path,
    output_file: Path,
    raster_device: str,
    raster_dpi: Resolution,
    pageno: int,
    page_dpi: Resolution | None,
    rotation: int | None,
    filter_vector: bool,
    stop_on_soft_error: bool,
    options: OcrOptions | None,
    use_cropbox: bool,
) -> Path | None:
    """For our engine, scans as sharp as they are; another plugin's turn otherwise."""
    if not _selected(options):
        return None
    from ocrmypdf_trocr_mlx import engine
    from ocrmypdf_trocr_mlx.raster import rasterize

    if options is not None:
        engine.load_ahead(options)
    return rasterize(
        input_file=input_file,
        output_file=output_file,
        raster_device=raster_device,
        raster_dpi=raster_dpi,
        pageno=pageno,
        page_dpi=page_dpi,
        rotation=rotation,
        filter_vector=filter_vector,
        stop_on_soft_error=stop_on_soft_error,
        options=options,
        use_cropbox=use_cropbox,
    )


@hookimpl
def get_ocr_engine(options: OcrOptions | None) -> OcrEngine | None:
    """Our engine for `--ocr-engine auto` and `trocr`; another plugin's turn otherwise."""
    if not _selected(options):
        return None
    from ocrmypdf_trocr_mlx.engine import TrOcrEngine, WithoutText

    # Whatever the engine, this is how OCRmyPDF's users turn and level pages without reading them.
    if options is not None and options.tesseract_timeout == 0:
        return WithoutText()
    return TrOcrEngine()
