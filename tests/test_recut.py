"""Lines that could not be read, cut otherwise."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx import reader, recut
from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.reader import PageReader
from ocrmypdf_trocr_mlx.recognizer import Reading
from ocrmypdf_trocr_mlx.recognizer.reading import ReadWord
from ocrmypdf_trocr_mlx.recut import cuts

FONT = ImageFont.load_default(24)
LEFT, BASE = 300.0, 500.0  # where on the page the line of the crop begins and stands
MARGIN = 10.0


def part_of(
    width: int, height: int, *texts: tuple[int, int, str]
) -> tuple[LinePart, list[tuple[float, ...]]]:
    """A part with texts at places of its crop, half as large as the page, and their boxes."""
    image = Image.new("L", (width, height), 255)
    draw = ImageDraw.Draw(image)
    boxes = []
    for x, y, text in texts:
        draw.text((x, y), text, font=FONT, fill=0)
        box = draw.textbbox((x, y), text, font=FONT)
        x0, x1 = (LEFT - MARGIN + 2 * v for v in box[::2])
        y0, y1 = (BASE + 2 * (v - (height - 6)) for v in box[1::2])
        boxes.append((x0, y0, x1, y1))
    right = LEFT + 2 * width - 2 * MARGIN
    line = TextLine(LEFT, right, BASE, BASE, 2.0 * height - 20, 4.0, 30.0)
    return LinePart(line, np.asarray(image), MARGIN, 0.5, height - 6.0), boxes


def assert_at(piece: LinePart, box: tuple[float, ...]) -> None:
    line = piece.line
    found = (line.left, line.y_left - line.ascent, line.right, line.y_right + line.descent)
    assert np.abs(np.subtract(found, box)).max() <= 4, (found, box)
    # The crop tells the same place.
    left = line.left - piece.margin
    top = line.y_left - piece.baseline_row / piece.scale
    assert np.abs(np.subtract((left, top), box[:2])).max() < 0.5 * (box[3] - box[1])


def test_two_lines_are_cut_at_the_emptiest_row() -> None:
    part, boxes = part_of(260, 80, (10, 8, "upper names"), (30, 44, "lower marks"))
    rows, columns = cuts(part)
    assert len(rows) == 2
    for piece, box in zip(rows, boxes, strict=True):
        assert_at(piece, box)
    assert not columns


def test_words_far_apart_are_cut_at_the_widest_gap() -> None:
    part, boxes = part_of(420, 40, (10, 8, "near as"), (110, 8, "can"), (300, 8, "seen"))
    _, columns = cuts(part)
    assert len(columns) == 2
    assert_at(columns[1], boxes[2])


def test_a_word_alone_is_only_trimmed() -> None:
    part, boxes = part_of(120, 80, (10, 8, "unseen"))
    rows, columns = cuts(part)
    assert len(rows) == 1
    assert_at(rows[0], boxes[0])
    assert not columns


class Rows:
    """Reads single rows by how wide their ink is, surely; what is higher it does not know."""

    def __init__(self, names: dict[int, str]) -> None:
        self.names, self.asked = names, 0

    def submit_all(self, crops: list[np.ndarray], *, characters: bool) -> list[Future[Reading]]:
        return [self.submit(crop) for crop in crops]

    def submit(self, crop: np.ndarray) -> Future[Reading]:
        self.asked += 1
        future: Future[Reading] = Future()
        width = int(np.ptp(np.flatnonzero((crop < 128).any(axis=0)))) + 1
        text = min(self.names.items(), key=lambda item: abs(item[0] - width))[1]
        sure = 0.95 if crop.shape[0] < 45 else 0.3
        future.set_result(Reading((ReadWord(text, 2.0, crop.shape[1] - 2.0, sure),)))
        return future


@pytest.mark.parametrize("count", [1, 100])
def test_a_page_reads_again_what_it_could_not(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    part, boxes = part_of(260, 80, (10, 8, "upper names here"), (30, 44, "lower"))
    parts = [LinePart(**vars(part)) for _ in range(count)]
    layout = PageLayout([[[[p] for p in parts]]], 30.0)
    monkeypatch.setattr(reader, "_layout", lambda gray: layout)
    widths = [round((box[2] - box[0]) / 2) for box in boxes]
    rows = Rows(dict(zip(widths, ["upper names here", "lower"], strict=True)))
    page = PageReader(rows).read(np.full((1000, 1000), 255, np.uint8))  # type: ignore[arg-type]
    read = [line.text for line in page.lines]
    assert read[:2] == ["upper names here", "lower"]
    assert len(read) <= 2 * recut.MOST
    assert rows.asked <= count + 4 * recut.MOST
    upper, lower = list(page.lines)[:2]
    assert upper.baseline[0][1] < lower.baseline[0][1] == pytest.approx(boxes[1][3], abs=6)


def test_what_was_read_already_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    part, boxes = part_of(260, 80, (10, 8, "upper names here"), (30, 44, "lower"))
    rows, _ = cuts(part)
    other = rows[1]  # found by itself, too, as lines in a scribble may be
    layout = PageLayout([[[[part]], [[other]]]], 30.0)
    monkeypatch.setattr(reader, "_layout", lambda gray: layout)
    widths = [round((box[2] - box[0]) / 2) for box in boxes]
    names = Rows(dict(zip(widths, ["upper names here", "lower"], strict=True)))
    page = PageReader(names).read(np.full((1000, 1000), 255, np.uint8))  # type: ignore[arg-type]
    assert [line.text for line in page.lines] == ["upper names here", "lower"]
