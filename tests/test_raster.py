"""The page image that is read is the scan itself, to the pixel."""

from __future__ import annotations

import io
from pathlib import Path

import img2pdf
import numpy as np
import pytest
from ocrmypdf import OcrOptions
from ocrmypdf.helpers import Resolution
from PIL import Image

from ocrmypdf_trocr_mlx import _plugin
from ocrmypdf_trocr_mlx.raster import rasterize


@pytest.mark.parametrize(("width", "height", "dpi"), [(762, 1000, 300), (1275, 1650, 150)])
def test_a_scan_is_rasterized_as_it_is(tmp_path: Path, width: int, height: int, dpi: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG", dpi=(dpi, dpi))
    pdf, image = tmp_path / "page.pdf", tmp_path / "page.png"
    fixed = img2pdf.get_fixed_dpi_layout_fun((dpi, dpi))
    pdf.write_bytes(img2pdf.convert(png.getvalue(), layout_fun=fixed))

    path = _plugin.rasterize_pdf_page(
        input_file=pdf,
        output_file=image,
        raster_device="pnggray",
        raster_dpi=Resolution(dpi, dpi),
        pageno=1,
        page_dpi=None,
        rotation=0,
        filter_vector=False,
        stop_on_soft_error=True,
        options=None,
        use_cropbox=False,
    )

    assert path == image
    with Image.open(image) as rasterized:
        assert rasterized.info["dpi"] == pytest.approx((dpi, dpi), rel=1e-3)
        np.testing.assert_array_equal(np.asarray(rasterized), pixels)


@pytest.mark.parametrize("device", ["png16m", "png256", "pngmonod"])
@pytest.mark.parametrize("changes", [{}, {"deskew": True}, {"mode": "force"}])
def test_colours_are_for_pages_that_are_seen(
    tmp_path: Path, device: str, changes: dict[str, object]
) -> None:
    """Grey is as the engine would make it; an image that becomes the page stays as it is."""
    colours = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    pixels = Image.fromarray(colours).resize((120, 160), Image.Resampling.NEAREST)
    png = io.BytesIO()
    pixels.save(png, "PNG", dpi=(72, 72))
    (tmp_path / "page.pdf").write_bytes(img2pdf.convert(png.getvalue()))

    path = rasterize(
        input_file=tmp_path / "page.pdf",
        output_file=tmp_path / "page.png",
        raster_device=device,
        raster_dpi=Resolution(72, 72),
        pageno=1,
        page_dpi=None,
        rotation=0,
        filter_vector=False,
        stop_on_soft_error=True,
        options=OcrOptions(input_file="page.pdf", output_file="out.pdf", **changes),
        use_cropbox=False,
    )

    assert path is not None
    with Image.open(path) as image:
        if device == "pngmonod":
            assert image.mode == "1"
        elif changes:
            assert image.mode == {"png16m": "RGB", "png256": "P"}[device]
        else:
            assert image.mode == "L"
            levels = np.asarray(image, int) - np.asarray(pixels.convert("L"), int)
            assert np.abs(levels).max() <= 2
