"""The engine: any image in, and one bad page never costs the document."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pikepdf
import pytest
from conftest import TEXT, FakeReader, FakeRecognizer, fake_shared, make_options, save
from ocrmypdf import BadArgsError, InputFileError, OcrOptions
from PIL import Image

from ocrmypdf_trocr_mlx import engine
from ocrmypdf_trocr_mlx.engine import TrOcrEngine
from ocrmypdf_trocr_mlx.options import TrOcrOptions, get_options

BUNDLED = Path(engine.__file__).parent / "checkpoints" / "bundled"
SIDECAR = "\n".join(" ".join(line) for line in TEXT) + "\n"


@pytest.fixture
def options() -> OcrOptions:
    return make_options()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_gray(
    mode: str, fake_reader: FakeReader, options: OcrOptions, tmp_path: Path
) -> None:
    left_black = Image.new("L", (40, 20), "white")
    left_black.paste(0, (0, 0, 20, 20))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(left_black).astype(np.uint16) * 257)
    else:
        image = left_black.convert(mode)
    element, _ = TrOcrEngine.generate_ocr(save(tmp_path, image), options)

    [read] = fake_reader.images
    assert read.shape == (20, 40)
    assert (read[5, 5], read[5, 35]) == (0, 255)
    assert element.bbox is not None and (element.bbox.width, element.bbox.height) == (40, 20)


def test_cmyk_is_read(fake_reader: FakeReader, options: OcrOptions, tmp_path: Path) -> None:
    path = save(tmp_path, Image.new("CMYK", (40, 20)), "000001_ocr.tif")
    TrOcrEngine.generate_ocr(path, options)

    assert fake_reader.images[0][5, 5] == 255


def test_transparent_is_white(fake_reader: FakeReader, options: OcrOptions, tmp_path: Path) -> None:
    TrOcrEngine.generate_ocr(save(tmp_path, Image.new("RGBA", (40, 20))), options)

    assert fake_reader.images[0][5, 5] == 255


@pytest.mark.parametrize(
    ("dpi", "expected"), [((203.2, 203.2), 203.2), (None, 300), ((1e-9, 1e-9), 300)]
)
def test_resolution(
    dpi: tuple[float, float] | None,
    expected: float,
    fake_reader: FakeReader,
    options: OcrOptions,
    tmp_path: Path,
) -> None:
    path = save(tmp_path, Image.new("L", (40, 20)), **({"dpi": dpi} if dpi else {}))
    element, _ = TrOcrEngine.generate_ocr(path, options)

    assert element.dpi == pytest.approx(expected, rel=1e-3)


def test_all_three_outputs_hold_the_same_text(
    fake_reader: FakeReader, options: OcrOptions, tmp_path: Path
) -> None:
    path = save(tmp_path, Image.new("L", (850, 550), "white"), dpi=(150.4, 150.4))
    text, pdf, markup = tmp_path / "text.txt", tmp_path / "text.pdf", tmp_path / "text.hocr"

    element, direct = TrOcrEngine.generate_ocr(path, options, 2)
    assert direct == SIDECAR
    assert [w.text for w in element.words] == SIDECAR.split()
    assert element.page_number == 2

    TrOcrEngine.generate_pdf(path, pdf, text, options)
    assert text.read_text() == SIDECAR
    with pikepdf.open(pdf) as made:
        box = [float(v) for v in made.pages[0].mediabox]
    assert box == pytest.approx([0, 0, 850 * 72 / 150.4, 550 * 72 / 150.4], rel=1e-3)

    TrOcrEngine.generate_hocr(path, markup, text, options)
    assert text.read_text() == SIDECAR
    assert "ppageno 2;" in markup.read_text()


class Failing:
    def __init__(self, error: BaseException):
        self.error = error

    def read(self, image: Image.Image) -> None:
        raise self.error


def test_a_page_that_fails_is_empty_and_named(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: OcrOptions,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(engine, "page_reader", lambda options: Failing(RuntimeError("no luck")))
    path = save(tmp_path, Image.new("L", (40, 20)))
    element, text = TrOcrEngine.generate_ocr(path, options)

    assert (element.words, text) == ([], "")
    [record] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert record.getMessage() == (
        "Page 3 could not be read, its text layer stays empty: RuntimeError: no luck"
    )


def test_a_truncated_image_is_an_empty_page(
    monkeypatch: pytest.MonkeyPatch, fake_reader: FakeReader, options: OcrOptions, tmp_path: Path
) -> None:
    fake_shared(monkeypatch, FakeRecognizer)
    noise = np.random.default_rng(0).integers(0, 255, (200, 300), np.uint8)
    path = save(tmp_path, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:5000])
    element, text = TrOcrEngine.generate_ocr(path, options)

    assert text == ""
    assert element.bbox is not None and element.bbox.width == 300
    assert TrOcrEngine.get_deskew(path, options) == 0.0
    assert TrOcrEngine.get_orientation(path, options) == (0, 0.0)


@pytest.mark.parametrize("size", [0, 20, 40])
def test_an_image_that_cannot_be_opened_is_named(
    size: int, fake_reader: FakeReader, options: OcrOptions, tmp_path: Path
) -> None:
    path = save(tmp_path, Image.new("L", (40, 20)))
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(InputFileError, match=r"^The image of page 3 .*full\?.*--pages") as error:
        TrOcrEngine.generate_ocr(path, options)
    assert "\n" not in str(error.value)


def test_an_image_that_is_too_large_is_named(
    fake_reader: FakeReader, monkeypatch: pytest.MonkeyPatch, options: OcrOptions, tmp_path: Path
) -> None:
    path = save(tmp_path, Image.new("1", (100, 100)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)

    with pytest.raises(InputFileError, match=r"page 3 .*--max-image-mpixels.*10000 pixels"):
        TrOcrEngine.generate_ocr(path, options)


def test_interrupts_are_not_swallowed(
    monkeypatch: pytest.MonkeyPatch, options: OcrOptions, tmp_path: Path
) -> None:
    monkeypatch.setattr(engine, "page_reader", lambda options: Failing(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        TrOcrEngine.generate_ocr(save(tmp_path, Image.new("L", (40, 20))), options)


def test_a_model_that_does_not_load_is_an_error(
    monkeypatch: pytest.MonkeyPatch, options: OcrOptions, tmp_path: Path
) -> None:
    def shared(*args: object) -> None:
        raise ValueError("folder/model.safetensors: truncated")

    fake_shared(monkeypatch, shared)
    path = save(tmp_path, Image.new("L", (40, 20)))

    with pytest.raises(BadArgsError, match=r"^folder/model.safetensors: truncated$"):
        TrOcrEngine.generate_ocr(path, options)
    with pytest.raises(BadArgsError, match="truncated"):
        TrOcrEngine.get_orientation(path, options)


def test_the_recognizer_is_chosen_by_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_shared(monkeypatch, FakeRecognizer)

    assert engine.recognizer(TrOcrOptions()).asked == (None, "auto", None, 1)
    chosen = TrOcrOptions(model="folder", device="cpu", batch_size=8, beams=4)
    assert engine.recognizer(chosen).asked == ("folder", "cpu", 8, 4)


def test_orientation_and_skew_come_from_the_page(
    monkeypatch: pytest.MonkeyPatch, options: OcrOptions, tmp_path: Path
) -> None:
    made = FakeRecognizer()
    fake_shared(monkeypatch, lambda *args: made)
    monkeypatch.setattr(
        "ocrmypdf_trocr_mlx.orientation.find_orientation",
        lambda image, recognizer: (270, 16.5) if recognizer is made else (0, 0.0),
    )
    monkeypatch.setattr("ocrmypdf_trocr_mlx.orientation.find_skew", lambda image: -1.5)
    path = save(tmp_path, Image.new("L", (40, 20)))

    # 270 clockwise makes it upright; OCRmyPDF turns counter-clockwise.
    assert TrOcrEngine.get_orientation(path, options) == (90, 16.5)
    assert TrOcrEngine.get_deskew(path, options) == -1.5


def test_languages() -> None:
    assert {"eng", "deu", "fra", "tur"} <= TrOcrEngine.languages(make_options())
    assert "ara" not in TrOcrEngine.languages(make_options(model="bundled"))
    assert not TrOcrEngine.languages(make_options(model=str(BUNDLED)))  # any is accepted


def test_diagnostics_are_named_after_document_and_page(
    fake_reader: FakeReader, tmp_path: Path
) -> None:
    options = make_options(diagnostics=tmp_path / "new" / "folder")
    engine.check(options)
    TrOcrEngine.generate_ocr(save(tmp_path, Image.new("L", (850, 550), "white")), options)

    with Image.open(tmp_path / "new" / "folder" / "in-0003.png") as overlay:
        assert overlay.size == (850, 550)
        assert len(overlay.getcolors(10000)) > 10  # text and boxes on white


def test_diagnostics_that_cannot_be_written_cost_no_page(
    fake_reader: FakeReader, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    options = make_options(diagnostics=tmp_path / "removed")
    element, text = TrOcrEngine.generate_ocr(save(tmp_path, Image.new("1", (850, 550), 1)), options)

    assert text == SIDECAR and element.words
    assert "in-0003.png was not written: No such file" in caplog.text


def test_a_file_in_the_place_of_the_diagnostics_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadArgsError, match=r"^--trocr-diagnostics .*/file: .*name a folder"):
        engine.check(make_options(diagnostics=tmp_path / "file"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": "many"}, "--trocr-batch-size many: .*integer"),
        ({"batch_size": 0}, "--trocr-batch-size 0: .*greater than or equal to 1"),
        ({"min_confidence": 1.5}, "--trocr-min-confidence 1.5: .*less than or equal to 1"),
        ({"model": ""}, "--trocr-model : .*at least 1 character"),
        ({"device": "tpu"}, "--trocr-device tpu: .*'auto', 'cpu' or 'gpu'"),
        ({"modle": "x"}, "Unknown option trocr_modle: choose from .*trocr_model"),
    ],
)
def test_wrong_values_are_named_in_one_line(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(BadArgsError, match=f"^{message}") as error:
        get_options(make_options(**wrong))
    assert "\n" not in str(error.value)


def test_values_from_the_command_line_are_converted() -> None:
    ours = get_options(make_options(batch_size="8", min_confidence="0.5", model=Path("folder")))

    assert (ours.batch_size, ours.min_confidence, ours.model) == (8, 0.5, "folder")


def test_a_missing_model_is_named() -> None:
    with pytest.raises(BadArgsError, match=r"--trocr-model: name a .*: /no/such/folder: ") as error:
        engine.check(make_options(model="/no/such/folder"))
    assert "\n" not in str(error.value)


def test_forked_workers_are_refused_once_mlx_is_in_use(
    fake_reader: FakeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = make_options()
    options.use_threads = False
    monkeypatch.setattr(engine, "_computes", True)
    monkeypatch.setattr(engine.multiprocessing, "get_start_method", lambda allow_none: "fork")
    monkeypatch.setitem(sys.modules, "mlx.core", types.ModuleType("mlx.core"))

    with pytest.raises(BadArgsError, match="use threads"):
        engine.check(options)


@pytest.mark.skipif(sys.platform != "linux", reason="MLX must not be forked on a Mac at all")
def test_checking_options_leaves_a_process_that_can_be_forked() -> None:
    code = """
        import multiprocessing, os
        from ocrmypdf import OcrOptions
        from ocrmypdf.api import setup_plugin_infrastructure
        from ocrmypdf_trocr_mlx import engine
        setup_plugin_infrastructure(["ocrmypdf_trocr_mlx"])
        multiprocessing.set_start_method("fork")
        options = OcrOptions(input_file="a", output_file="b", use_threads=False)
        engine.check(options)
        engine.check(options)  # of the next document
        if os.fork() == 0:
            import mlx.core as mx
            mx.eval(mx.ones((4, 4)) @ mx.ones((4, 4)))
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert run.stdout == "7\n", run.stderr


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000_000])


def enlarge(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["decoder"]["decoder_layers"] += 1
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (truncate, r"model\.safetensors: not a safetensors file"),
        (enlarge, "weights do not fit the model: .* missing"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "token"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json"),
    ],
    ids=["truncated", "another size", "no tokenizer", "no json"],
)
def test_a_damaged_model_is_found_before_the_first_page(
    damage: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED, folder)
    engine.check(make_options(model=str(folder)))
    damage(folder)

    with pytest.raises(BadArgsError, match=f"^--trocr-model: name a .*{named}") as error:
        engine.check(make_options(model=str(folder)))
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_workers_name_the_option_of_a_damaged_model(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED, folder)
    truncate(folder)

    with pytest.raises(BadArgsError, match=r"^--trocr-model: .*not a safetensors file"):
        engine.recognizer(TrOcrOptions(model=str(folder)))
