"""The plugin inside OCRmyPDF: every way to load it, every renderer, with and without Tesseract."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import ocrmypdf
import pikepdf
import pypdfium2
import pytest
from conftest import FakeReader
from ocrmypdf import OcrOptions, hookimpl
from ocrmypdf._validation import check_options
from ocrmypdf.api import setup_plugin_infrastructure
from ocrmypdf.builtin_plugins import tesseract_ocr
from ocrmypdf.builtin_plugins.null_ocr import NullOcrEngine
from ocrmypdf.cli import get_parser
from ocrmypdf.exceptions import BadArgsError, ExitCode, MissingDependencyError
from PIL import Image, ImageDraw, ImageFont

import ocrmypdf_trocr_mlx
from ocrmypdf_trocr_mlx import _plugin
from ocrmypdf_trocr_mlx.engine import TrOcrEngine

NAME = "ocrmypdf_trocr_mlx"
FAKE = str(Path(__file__).with_name("fake_reader_plugin.py"))
Scan = Callable[..., Path]

installed = any(e.value == f"{NAME}._plugin" for e in entry_points(group="ocrmypdf"))
needs_install = pytest.mark.skipif(not installed, reason="the package is not installed")


def run_cli(*args: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the ocrmypdf command; `path` stands for the environment's PATH."""
    command = [sys.executable, "-m", "ocrmypdf", *map(str, args)]
    env = os.environ | ({"PATH": path} if path is not None else {})
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)


def run_script(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ocrmypdf as its console script does."""
    code = "import sys; from ocrmypdf.__main__ import run; sys.exit(run())"
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def words_of(pdf: Path) -> list[list[str]]:
    """Words of each page."""
    document = pypdfium2.PdfDocument(pdf)
    return [page.get_textpage().get_text_range().split() for page in document]


WORDS = ["Searchable", "text", "in", "two", "lines"]


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout


def test_importing_the_package_imports_nothing_slow() -> None:
    modules = python(f"import {NAME}, sys; print(*sys.modules)").split()

    assert not {"ocrmypdf", "mlx", "mlx.core", "cv2", "numpy", "PIL"} & set(modules)


def test_registering_the_plugin_does_not_import_mlx() -> None:
    modules = python(
        "from ocrmypdf.api import setup_plugin_infrastructure as setup\n"
        f"setup(['{NAME}'])\n"
        "import sys; print(*sys.modules)"
    ).split()

    assert not {"mlx.core", "cv2", "torch", "transformers"} & set(modules)


def test_the_package_has_all_names_it_promises() -> None:
    for name in ocrmypdf_trocr_mlx.__all__:
        assert getattr(ocrmypdf_trocr_mlx, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = ocrmypdf_trocr_mlx.nonsense


def test_loaded_twice_it_works_once(caplog: pytest.LogCaptureFixture) -> None:
    manager = ocrmypdf.api.get_plugin_manager([NAME])
    if not installed:
        manager.pluggy_manager.register(_plugin, name="trocr_mlx")
    with caplog.at_level(logging.WARNING):
        setup_plugin_infrastructure(plugin_manager=manager)
        parser = get_parser()
        manager.add_options(parser=parser)

    assert not caplog.records  # OCRmyPDF warns of a namespace that is registered twice
    assert parser.format_help().count("--trocr-model MODEL  ") == 1
    assert "{auto,tesseract,none,trocr}" in parser.format_help()


@pytest.mark.parametrize(
    ("name", "engine"),
    [("auto", TrOcrEngine), ("trocr", TrOcrEngine), ("none", NullOcrEngine)],
)
def test_engine_choice(name: str, engine: type) -> None:
    manager = setup_plugin_infrastructure([NAME])
    options = OcrOptions(input_file="a", output_file="b", ocr_engine=name)

    assert type(manager.get_ocr_engine(options=options)) is engine


class OtherEngine(NullOcrEngine):
    """What a plugin may bring that was loaded after ours."""

    @hookimpl
    def get_ocr_engine(self) -> OtherEngine:
        return self


def test_nothing_is_asked_of_us_where_another_plugin_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrmypdf_trocr_mlx.engine._computes", True)
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none: "fork")
    manager = setup_plugin_infrastructure([NAME])
    options = OcrOptions(input_file="a", output_file="b", use_threads=False)
    options.extra_attrs["trocr_model"] = "/no/such/model"
    with pytest.raises(BadArgsError, match="--no-use-threads"):
        check_options(options, manager)

    manager.pluggy_manager.register(OtherEngine())
    check_options(options, manager)


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")
def test_tesseract_can_still_be_chosen() -> None:
    manager = setup_plugin_infrastructure([NAME])
    options = OcrOptions(input_file="a", output_file="b", ocr_engine="tesseract")

    assert type(manager.get_ocr_engine(options=options)) is tesseract_ocr.TesseractOcrEngine


def test_without_tesseract_its_options_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_plugin, "_tesseract_missing", lambda: True)
    manager = setup_plugin_infrastructure([NAME])
    parser = get_parser()
    manager.add_options(parser=parser)

    parsed = parser.parse_args(["--tesseract-timeout", "5", "in.pdf", "out.pdf"])
    assert parsed.tesseract_timeout == 5
    options = OcrOptions(input_file="in.pdf", output_file="out.pdf")
    assert options.tesseract.timeout == 180
    assert type(manager.get_ocr_engine(options=options)) is TrOcrEngine


def test_tesseract_chosen_but_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_plugin, "_tesseract_missing", lambda: True)
    monkeypatch.setenv("PATH", "")
    options = OcrOptions(input_file="a", output_file="b", ocr_engine="tesseract")

    with pytest.raises(MissingDependencyError, match="tesseract"):
        _plugin.check_options(options)


def test_api(fake_reader: FakeReader, scan: Scan, tmp_path: Path) -> None:
    out, sidecar = tmp_path / "out.pdf", tmp_path / "out.txt"
    code = ocrmypdf.ocr(
        scan("one", "two"),
        out,
        plugins=[NAME],
        sidecar=sidecar,
        progress_bar=False,
        trocr_min_confidence=0.5,
    )

    assert code == ExitCode.ok
    assert words_of(out) == [WORDS, WORDS]
    assert sidecar.read_text() == "Searchable text\nin two lines\n\fSearchable text\nin two lines\n"
    assert len(fake_reader.images) == 2
    with pikepdf.open(out) as pdf:
        assert "TrOCR" in str(pdf.docinfo["/Creator"])


@pytest.mark.parametrize("renderer", ["auto", "fpdf2", "sandwich", "hocr"])
def test_every_renderer(renderer: str, fake_reader: FakeReader, scan: Scan, tmp_path: Path) -> None:
    out = tmp_path / "out.pdf"
    ocrmypdf.ocr(scan("one"), out, plugins=[NAME], pdf_renderer=renderer, progress_bar=False)

    assert words_of(out) == [WORDS]


@pytest.mark.parametrize("renderer", ["auto", "sandwich"])
def test_timeout_of_zero_turns_pages_and_reads_none(
    renderer: str, fake_reader: FakeReader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ocrmypdf_trocr_mlx.engine.recognizer", lambda options: None)
    monkeypatch.setattr(
        "ocrmypdf_trocr_mlx.orientation.find_orientation", lambda image, recognizer: (270, 20.0)
    )
    marked_page(90).save(tmp_path / "in.pdf", resolution=100)
    out, sidecar = tmp_path / "out.pdf", tmp_path / "out.txt"
    ocrmypdf.ocr(
        tmp_path / "in.pdf",
        out,
        plugins=[NAME],
        pdf_renderer=renderer,
        tesseract_timeout=0,
        rotate_pages=True,
        sidecar=sidecar,
        progress_bar=False,
    )

    assert fake_reader.images == []
    assert (words_of(out), sidecar.read_text()) == ([[]], "")
    with pikepdf.open(out) as pdf:
        assert pdf.pages[0].Rotate == 270
        assert b"/OCR-" not in pdf.pages[0].Contents.read_bytes()  # the name of a text layer


def test_text_lies_where_it_was_read(fake_reader: FakeReader, scan: Scan, tmp_path: Path) -> None:
    out = tmp_path / "out.pdf"
    ocrmypdf.ocr(scan("one"), out, plugins=[NAME], progress_bar=False)

    page = pypdfium2.PdfDocument(out)[0]
    width, height = page.get_size()
    text = page.get_textpage()
    left, bottom, _, _ = text.get_charbox(0, loose=True)
    assert left / width == pytest.approx(0.1, abs=0.01)
    assert bottom / height == pytest.approx(0.8, abs=0.015)  # first baseline, 20% from the top


def marked_page(clockwise: int, skew: float = 0) -> Image.Image:
    """A page of text with a black block at its top left, turned."""
    page = Image.new("L", (850, 1100), "white")
    pen = ImageDraw.Draw(page)
    pen.rectangle((80, 80, 240, 240), fill="black")
    for y in range(300, 1000, 40):
        pen.text((80, y), "Some words that fill a line " * 2, font=ImageFont.load_default(24))
    return page.rotate(skew, fillcolor="white").rotate(-clockwise, expand=True)


def corner_ink(image: Image.Image) -> list[float]:
    """Share of ink in the corners: top left, top right, bottom left, bottom right."""
    ink = np.asarray(image.convert("L")) < 128
    h, w = ink.shape
    y, x = h // 4, w // 3
    return [float(part.mean()) for part in (ink[:y, :x], ink[:y, -x:], ink[-y:, :x], ink[-y:, -x:])]


def test_turned_pages_come_out_upright(
    fake_reader: FakeReader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def find_orientation(image: Image.Image, recognizer: object) -> tuple[int, float]:
        turns = [corner_ink(image.rotate(-turn, expand=True))[0] for turn in (0, 90, 180, 270)]
        return 90 * int(np.argmax(turns)), 20.0

    monkeypatch.setattr("ocrmypdf_trocr_mlx.engine.recognizer", lambda options: None)
    monkeypatch.setattr("ocrmypdf_trocr_mlx.orientation.find_orientation", find_orientation)
    first, *rest = (marked_page(turn) for turn in (0, 90, 180, 270))
    first.save(tmp_path / "in.pdf", save_all=True, append_images=rest, resolution=100)
    ocrmypdf.ocr(
        tmp_path / "in.pdf",
        tmp_path / "out.pdf",
        plugins=[NAME],
        rotate_pages=True,
        progress_bar=False,
    )

    for page in pypdfium2.PdfDocument(tmp_path / "out.pdf"):
        image = page.render(scale=0.5).to_pil()
        assert image.height > image.width
        assert np.argmax(corner_ink(image)) == 0
    assert [np.argmax(corner_ink(Image.fromarray(i))) for i in fake_reader.images] == [0] * 4


@pytest.mark.parametrize("skew", [3.0, -4.0])
def test_skewed_pages_come_out_level(skew: float, fake_reader: FakeReader, tmp_path: Path) -> None:
    marked_page(0, skew).save(tmp_path / "in.pdf", resolution=100)
    out = tmp_path / "out.pdf"
    ocrmypdf.ocr(tmp_path / "in.pdf", out, plugins=[NAME], deskew=True, progress_bar=False)

    [image] = fake_reader.images
    ink = (image[340:940, 120:600] < 128).any(axis=1)
    assert 0.2 < ink.mean() < 0.8  # paper between the lines, right across


def test_hocr_interface(fake_reader: FakeReader, scan: Scan, tmp_path: Path) -> None:
    work, out = tmp_path / "hocr", tmp_path / "out.pdf"
    work.mkdir()
    ocrmypdf.api._pdf_to_hocr(scan("one"), work, plugins=[NAME], progress_bar=False)
    ocrmypdf.api._hocr_to_ocr_pdf(work, out, plugins=[NAME], progress_bar=False)

    assert words_of(out) == [WORDS]


@pytest.mark.parametrize("output_type", ["auto", "pdf"])
@pytest.mark.parametrize(
    "how",
    [
        pytest.param(("--plugin", NAME), id="plugin"),
        pytest.param((), id="entry point", marks=needs_install),
        pytest.param(("--plugin", NAME, "--ocr-engine", "trocr"), id="by name"),
    ],
)
def test_command_needs_no_other_program(
    how: tuple[str, ...], output_type: str, scan: Scan, tmp_path: Path
) -> None:
    out = tmp_path / "out.pdf"
    run = run_cli(
        "--plugin", FAKE, *how, "--output-type", output_type, scan("one", "two"), out, path=""
    )

    assert run.returncode == ExitCode.ok, run.stderr
    assert run.stdout == ""
    assert words_of(out) == [WORDS, WORDS]


@pytest.mark.parametrize("command", ["module", "script"])
def test_processes_serve_as_workers(command: str, scan: Scan, tmp_path: Path) -> None:
    out = tmp_path / "out.pdf"
    args = ("--plugin", FAKE, "--plugin", NAME, "--no-use-threads", "-j", "2", scan("1", "2"), out)
    # The two start processes in different ways, the script by the platform's default.
    run = run_cli(*args) if command == "module" else run_script(*args)

    assert run.returncode == ExitCode.ok, run.stderr
    assert "copy of the model" in run.stderr
    assert words_of(out) == [WORDS, WORDS]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("--trocr-beams", "0"), ExitCode.bad_args, "--trocr-beams 0: "),
        (("--trocr-model", "/no/such/model"), ExitCode.bad_args, "/no/such/model: no such"),
        (("-l", "ara"), ExitCode.missing_dependency, "ara"),
    ],
)
def test_wrong_options_end_the_job_before_it_starts(
    args: tuple[str, ...], code: ExitCode, message: str, scan: Scan, tmp_path: Path
) -> None:
    out = tmp_path / "out.pdf"
    fake = () if "--trocr-model" in args else ("--plugin", FAKE)
    run = run_cli(*fake, "--plugin", NAME, *args, scan("one"), out)

    assert run.returncode == code
    assert message in run.stderr
    assert "Traceback" not in run.stderr
    assert not out.exists()


def test_other_engines_are_left_alone(scan: Scan, tmp_path: Path) -> None:
    out = tmp_path / "out.pdf"
    run = run_cli("--plugin", NAME, "--ocr-engine", "none", scan("one"), out, path="")

    assert run.returncode == ExitCode.ok, run.stderr
    assert words_of(out) == [[]]
