"""The image of a page as it was scanned: OCRmyPDF's rasterizer, without its stray pixel.

PDFium holds sizes in single precision and rounds the image up: at the resolution of a scan, many
pages come out a pixel too wide and too high, the whole scan stretched to that and blurred.

What is only read is drawn grey, as the engine reads it: to write the PNG of a colour scan and read
it again takes a processor a fifth of a second more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ocrmypdf import OcrOptions
from ocrmypdf.builtin_plugins import pypdfium
from ocrmypdf.helpers import Resolution
from ocrmypdf.pluginspec import GhostscriptRasterDevice as Device

# Far more than single precision adds to a size, far less than a pixel of any page.
_HAIR = 1e-6
_COLOURED = (Device.PNG16M, Device.PNG256)


def rasterize(
    *,
    raster_device: str,
    raster_dpi: Resolution,
    page_dpi: Resolution | None,
    options: OcrOptions | None,
    **arguments: Any,
) -> Path | None:
    """As the built-in hook, at a hair less than `raster_dpi`; None where PDFium is not used.

    The image is said to be of the resolution that was asked for.
    """
    only_read = options is not None and options.lossless_reconstruction
    less = Resolution(raster_dpi.x * (1 - _HAIR), raster_dpi.y * (1 - _HAIR))
    path = pypdfium.rasterize_pdf_page(
        raster_device=Device.PNGGRAY if only_read and raster_device in _COLOURED else raster_device,
        raster_dpi=less,
        page_dpi=page_dpi or raster_dpi,
        options=options,
        **arguments,
    )
    return None if path is None else Path(path)
