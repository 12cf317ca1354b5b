"""Which way up: pages of text are told surely, and what is no text is never told surely."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx import orientation
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.recognizer import Reading, ReadWord, Recognizer, shared

SURE = 14  # OCRmyPDF turns a page from here
LINES = (
    "Searchable pages are made of pictures",
    "by a machine that reads them line by line,",
    "and whoever looks for a word finds it.",
)


def page_of(lines: tuple[str, ...]) -> np.ndarray:
    page = Image.new("L", (900, 600), "white")
    for i, text in enumerate(lines):
        ImageDraw.Draw(page).text((80, 80 + 60 * i), text, font=ImageFont.load_default(32))
    return np.asarray(page)


def turned(page: np.ndarray, counter_clockwise: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(page, counter_clockwise // 90))


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return shared(device="cpu")


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_text_is_set_upright(angle: int, recognizer: Recognizer) -> None:
    found, confidence = orientation.find_orientation(turned(page_of(LINES), angle), recognizer)

    assert found == angle
    assert confidence > SURE


@pytest.mark.parametrize("lines", [(), ("A",), ("SOS XOX NOON",), ("1961 8008 6119",)])
@pytest.mark.parametrize("angle", [0, 180])
def test_what_looks_alike_either_way_is_not_told_surely(
    lines: tuple[str, ...], angle: int, recognizer: Recognizer
) -> None:
    _, confidence = orientation.find_orientation(turned(page_of(lines), angle), recognizer)

    assert confidence < SURE


class Unsure:
    """Reads the first lines it is given, which are those of one way up, less unsurely."""

    def __init__(self, best: float) -> None:
        self.confidences = [best] * len(LINES)

    def submit_all(self, crops: list[np.ndarray]) -> list[Future[Reading]]:
        return [self.submit(crop) for crop in crops]

    def submit(self, crop: np.ndarray) -> Future[Reading]:
        confidence = self.confidences.pop() if self.confidences else 0.2
        future: Future[Reading] = Future()
        future.set_result(Reading((ReadWord("pattern", 0, 40, confidence),)))
        return future


@pytest.mark.parametrize(("best", "sure"), [(0.5, False), (0.9, True)])
def test_only_what_is_read_well_is_told_surely(best: float, sure: bool) -> None:
    angle, confidence = orientation.find_orientation(page_of(LINES), Unsure(best))

    assert angle == 0
    assert (confidence > SURE) == sure


def test_a_closed_recognizer_ends_it_before_the_page_is_turned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layouts = []
    real = orientation.find_layout
    monkeypatch.setattr(orientation, "find_layout", lambda g: layouts.append(g) or real(g))
    recognizer = Recognizer(load(resolve(None)), device="cpu")
    recognizer.close()

    with pytest.raises(RuntimeError, match="closed"):
        orientation.find_orientation(page_of(LINES), recognizer)
    assert len(layouts) == 1
