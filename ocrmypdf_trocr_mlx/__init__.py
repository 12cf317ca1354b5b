"""OCRmyPDF plugin that reads scanned pages with TrOCR, run by Apple MLX.

`ocrmypdf --plugin ocrmypdf_trocr_mlx in.pdf out.pdf` uses the hooks.  Programs read images:

    processor = load_processor("microsoft/trocr-base-printed")
    text = processor.process_image("page.png")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ocrmypdf_trocr_mlx._plugin import (
        add_options,
        check_options,
        get_executor,
        get_ocr_engine,
        initialize,
        rasterize_pdf_page,
        register_options,
    )
    from ocrmypdf_trocr_mlx.batch import BatchProcessor
    from ocrmypdf_trocr_mlx.processor import (
        Processor,
        load_processor,
        read_document,
        read_lines,
        read_page,
    )
    from ocrmypdf_trocr_mlx.reader import PageReader
    from ocrmypdf_trocr_mlx.recognizer import Reading, Recognizer, shared
    from ocrmypdf_trocr_mlx.result import Page

__all__ = [
    "BatchProcessor",
    "Page",
    "PageReader",
    "Processor",
    "Reading",
    "Recognizer",
    "__version__",
    "add_options",
    "check_options",
    "get_executor",
    "get_ocr_engine",
    "initialize",
    "load_processor",
    "rasterize_pdf_page",
    "read_document",
    "read_lines",
    "read_page",
    "register_options",
    "shared",
]

# Imported when first asked for, so that importing the package costs nothing.
_HOOKS = dict.fromkeys(
    (
        "add_options",
        "check_options",
        "get_executor",
        "get_ocr_engine",
        "initialize",
        "rasterize_pdf_page",
        "register_options",
    ),
    "_plugin",
)
_API = {
    "BatchProcessor": "batch",
    "Page": "result",
    "PageReader": "reader",
    "Processor": "processor",
    "Reading": "recognizer",
    "Recognizer": "recognizer",
    "load_processor": "processor",
    "read_document": "processor",
    "read_lines": "processor",
    "read_page": "processor",
    "shared": "recognizer",
}


def __getattr__(name: str) -> Any:
    module = _HOOKS.get(name) or _API.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    # pluggy takes a plugin's names from here and then looks past __getattr__: have the hooks
    # there by now.  The API is left out, it would import MLX.
    for name in _HOOKS:
        __getattr__(name)
    return sorted(globals())
