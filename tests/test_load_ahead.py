"""The model is loaded while the first page is rendered."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import FakeRecognizer, fake_shared, make_options

from ocrmypdf_trocr_mlx import engine


@pytest.fixture
def asked(monkeypatch) -> list[tuple]:
    """What models were asked for; none was before."""
    found: list[tuple] = []

    def shared(*args: object) -> FakeRecognizer:
        found.append(args)
        return FakeRecognizer(*args)

    fake_shared(monkeypatch, shared)
    monkeypatch.setattr(engine, "_ahead", set())
    monkeypatch.setattr("ocrmypdf_trocr_mlx.apart.page_reader", lambda *args: None)
    return found


def wait() -> None:
    for thread in threading.enumerate():
        if thread.name == "trocr-load":
            thread.join(10)


def test_each_model_is_loaded_once(asked) -> None:
    for model in (None, "folder", None):
        engine.load_ahead(make_options(model=model))
        wait()
    assert asked == [(None, "auto", None, 1), ("folder", "auto", None, 1)]


@pytest.mark.parametrize("values", [{"use_threads": False}, {"tesseract_timeout": 0.0}])
def test_not_where_this_process_reads_no_page(asked, values) -> None:
    engine.load_ahead(make_options().model_copy(update=values))
    wait()
    assert asked == []


def test_what_is_wrong_is_left_to_who_reads_a_page(monkeypatch, caplog) -> None:
    def fail(*args: object) -> None:
        raise ValueError("folder/model.safetensors: truncated")

    fake_shared(monkeypatch, fail)
    monkeypatch.setattr(engine, "_ahead", set())
    caplog.set_level("DEBUG")
    engine.load_ahead(make_options())
    wait()
    assert "could not be loaded ahead: folder/model.safetensors: truncated" in caplog.text


def test_rendering_begins_it_and_the_end_waits_for_it(scan, tmp_path) -> None:
    """A process that ends while the model is loaded ends well."""
    code = f"""
import sys
from pathlib import Path
from ocrmypdf._options import OcrOptions
from ocrmypdf.helpers import Resolution
from ocrmypdf_trocr_mlx import _plugin, engine
from ocrmypdf_trocr_mlx.options import TrOcrOptions
OcrOptions.register_plugin_models({{"trocr": TrOcrOptions}})
options = OcrOptions(input_file={str(scan("a page"))!r}, output_file="out.pdf")
_plugin.rasterize_pdf_page(
    input_file=Path(options.input_file), output_file=Path({str(tmp_path / "page.png")!r}),
    raster_device="pnggray", raster_dpi=Resolution(100, 100), pageno=1, page_dpi=None,
    rotation=None, filter_vector=False, stop_on_soft_error=True, options=options, use_cropbox=True,
)
print(len(engine._ahead))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert Path(tmp_path / "page.png").exists()
