"""The Python API: two lines of code, from any source, on one thread or many."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import ocrmypdf_trocr_mlx
from ocrmypdf_trocr_mlx.documents import DocumentError
from ocrmypdf_trocr_mlx.processor import Processor
from ocrmypdf_trocr_mlx.recognizer import Reading, ReadWord


class InkRecognizer:
    """Reads a line as two words, the second of which tells how many of its pixels are ink."""

    def submit(self, crop: np.ndarray) -> Future[Reading]:
        future: Future[Reading] = Future()
        middle, right = crop.shape[1] / 2, float(crop.shape[1])
        ink = str(int((crop < 128).sum()))
        words = (ReadWord("ink\x07", 0.0, middle, 0.9), ReadWord(ink, middle, right, 0.88))
        future.set_result(Reading(words))
        return future

    def submit_all(self, crops, *, characters=False):
        return [self.submit(crop) for crop in crops]

    def read(self, crops, *, characters=False):
        return [self.submit(crop).result() for crop in crops]


@pytest.fixture
def processor() -> Processor:
    return Processor(InkRecognizer())  # type: ignore[arg-type]


@pytest.fixture
def letter() -> Image.Image:
    page = Image.new("RGB", (1000, 600), "white")
    for i in range(4):
        text = "Several words of a letter that is read"
        font = ImageFont.load_default(28)
        ImageDraw.Draw(page).text((80, 80 + 40 * i), text, fill="black", font=font)
    return page


def test_a_page_from_any_source(processor, letter, tmp_path) -> None:
    letter.save(tmp_path / "letter.png")
    sources = [letter, np.asarray(letter), tmp_path / "letter.png", str(tmp_path / "letter.png")]
    texts = {processor.process_image(source) for source in sources}
    (text,) = texts
    assert text.split()[::2] == ["ink"] * 4
    assert processor.process_batch(sources) == [text] * 4


def test_a_page_has_places_and_confidences(processor, letter) -> None:
    page = processor.read_page(letter)
    words = list(page.words)
    assert [w.confidence for w in words] == [0.9, 0.88] * 4
    assert {w.text for w in words[::2]} == {"ink"}, "without the control character"
    assert 60 < words[0].box.left < 100 < words[1].box.left and words[0].box.top < 120
    assert page.image is letter and page.to_dict()["width"] == 1000
    assert 'src="data:image/png' in page._repr_html_()


def test_lines(processor) -> None:
    crop = np.full((40, 300), 255, np.uint8)
    crop[10:20, 50:60] = 0
    first, second = processor.read_lines([crop, Image.fromarray(crop[:, :55])])
    assert (first.text, second.text) == ("ink 100", "ink 50")
    assert (first.words[1].left, first.words[1].right) == (150, 300)
    assert processor.process_image(crop, line=True) == "ink 100"
    assert processor.process_batch([crop, crop], line=True) == ["ink 100"] * 2
    page = processor.read_line_as_page(crop)
    assert (page.text, page.width, page.height) == ("ink 100", 300, 40)
    assert next(page.lines).box.height == 40


def test_a_document_is_read_page_by_page(processor, scan) -> None:
    path = scan("First page", "Second page", "The third and last page")
    pages = processor.read_document(path, dpi=150)
    first = next(pages)
    rest = list(pages)
    assert (first.width, first.height, len(rest)) == (851, 550, 2)  # begun pixels count
    ink = [int(page.text.split()[1]) for page in (first, *rest)]
    assert ink == sorted(ink) and ink[0] > 100
    assert first.image is None, "many pages must not fill the memory"


def test_many_threads_read_as_one(processor, letter) -> None:
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(processor.process_image, [letter] * 8))
    assert set(texts) == {processor.process_image(letter)}


def test_what_is_no_image(processor, tmp_path) -> None:
    with pytest.raises(DocumentError, match="No such file"):
        processor.process_image(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="must be uint8"):
        processor.process_image(np.zeros((30, 30)))
    with pytest.raises(ValueError, match="no such checkpoint folder"):
        ocrmypdf_trocr_mlx.load_processor(str(tmp_path / "absent"))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.process_time(); import ocrmypdf_trocr_mlx; "
        "print(time.process_time() - start); "
        "print([m for m in ('mlx', 'cv2', 'numpy', 'PIL', 'transformers', 'ocrmypdf') "
        "if m in sys.modules])"
    )
    # The best of a few: the machine may be busy.
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split("\n")
        for _ in range(3)
    ]
    assert {run[1] for run in runs} == {"[]"}
    assert min(float(run[0]) for run in runs) < 0.05


def test_all_that_is_exported_is_there() -> None:
    for name in ocrmypdf_trocr_mlx.__all__:
        assert getattr(ocrmypdf_trocr_mlx, name) is not None
