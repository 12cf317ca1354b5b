"""Layout against pages rendered here, whose lines and places are known."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout, find_layout, find_page_skew

WORDS = "The quick brown fox jumps over a lazy dog while seven wizards pack my box".split()  # noqa: SIM905


def page(width: int, height: int, ground: int = 255) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (width, height), ground)
    return image, ImageDraw.Draw(image)


def text_of(row: int, words: int) -> str:
    return " ".join(WORDS[(row * 5 + i) % len(WORDS)] for i in range(words))


def put(
    draw: ImageDraw.ImageDraw, x: float, y: float, text: str, size: float, ink: int = 0
) -> tuple[float, float, float, float]:
    """Draw a line of text; returns the box of its ink."""
    font = ImageFont.load_default(size)
    draw.text((x, y), text, font=font, fill=ink)
    return draw.textbbox((x, y), text, font=font)


def parts_of(layout: PageLayout) -> list[LinePart]:
    return [p for b in layout.blocks for paragraph in b for row in paragraph for p in row]


def assert_on(part: LinePart, box: tuple[float, float, float, float], slack: float) -> None:
    line = part.line
    found = (line.left, line.top, line.right, line.bottom)
    assert np.abs(np.subtract(found, box)).max() <= slack, (found, box)


def assert_all_on(
    parts: Sequence[LinePart], boxes: Sequence[tuple[float, float, float, float]], slack: float
) -> None:
    assert len(parts) == len(boxes)
    for part, box in zip(parts, boxes, strict=True):
        assert_on(part, box, slack)


@pytest.mark.parametrize("size", [11, 16, 30, 64, 130])
def test_lines_of_any_size(size: int) -> None:
    image, draw = page(size * 30, size * 18)
    boxes = [put(draw, size * 2, size * (1.5 + 1.6 * i), text_of(i, 6), size) for i in range(9)]
    parts = parts_of(find_layout(np.asarray(image)))
    assert_all_on(parts, boxes, max(3, 0.12 * size))


def test_columns_are_read_one_after_the_other() -> None:
    image, draw = page(1600, 1100)
    left = [put(draw, 80, 100 + 40 * i, text_of(i, 8), 26) for i in range(20)]
    right = [put(draw, 840, 100 + 40 * i, text_of(i + 3, 8), 26) for i in range(20)]
    parts = parts_of(find_layout(np.asarray(image)))
    assert len(parts) == len(left) + len(right)
    for part, box in zip(parts, left + right, strict=True):
        assert_on(part, box, 5)


def test_cells_of_a_table_are_apart_and_read_row_by_row() -> None:
    image, draw = page(1200, 700)
    boxes = []
    for i in range(6):
        draw.line((60, 60 + 80 * i, 1140, 60 + 80 * i), fill=0, width=2)
        for j in range(4):
            draw.line((60 + 270 * j, 60, 60 + 270 * j, 460), fill=0, width=2)
            if i < 5:
                boxes.append(put(draw, 75 + 270 * j, 82 + 80 * i, text_of(i + j, 2), 28))
    draw.line((1140, 60, 1140, 460), fill=0, width=2)
    parts = parts_of(find_layout(np.asarray(image)))
    assert_all_on(parts, boxes, 5)


@pytest.mark.parametrize("numbers", ["18.00 17.90 7.90 43 0.00", "22 43 71 18 5", "12 34 56 78"])
def test_numbers_above_each_other_are_lines_of_their_own(numbers: str) -> None:
    image, draw = page(700, 600)
    put(draw, 60, 60, text_of(0, 7), 26)
    boxes = [put(draw, 400, 200 + 23 * i, text, 26) for i, text in enumerate(numbers.split())]
    parts = parts_of(find_layout(np.asarray(image)))[1:]
    assert_all_on(parts, boxes, 4)


def test_light_text_on_a_dark_band_is_turned_dark_on_light() -> None:
    image, draw = page(1200, 800)
    for i in range(8):
        put(draw, 80, 200 + 50 * i, text_of(i, 7), 30)
    draw.rectangle((60, 60, 1140, 140), fill=30)
    box = put(draw, 100, 82, "Heading in a band", 30, ink=240)
    parts = parts_of(find_layout(np.asarray(image)))
    assert len(parts) == 9
    assert_on(parts[0], box, 5)
    assert np.median(parts[0].crop) > 128


@pytest.mark.parametrize("tone", [120, 165, 200])
def test_dark_text_on_a_half_tone_screen_is_found(tone: int) -> None:
    image, draw = page(1200, 800)
    for i in range(8):
        put(draw, 80, 200 + 50 * i, text_of(i, 7), 30)
    draw.rectangle((60, 60, 1140, 140), fill=tone)
    box = put(draw, 100, 82, "Heading on a screen", 30)
    bilevel = np.asarray(image.convert("1", dither=Image.Dither.FLOYDSTEINBERG).convert("L"))
    parts = parts_of(find_layout(bilevel))
    assert len(parts) <= 10  # a corner of the screen may look like a letter
    heading = next(part for part in parts if abs(part.line.left - box[0]) < 8)
    assert_on(heading, box, 8)


def test_a_negative_page_gives_the_same_lines() -> None:
    image, draw = page(900, 600)
    for i in range(8):
        put(draw, 60, 50 + 50 * i, text_of(i, 6), 28)
    gray = np.asarray(image)
    lines = [p.line for p in parts_of(find_layout(gray))]
    assert lines and lines == [p.line for p in parts_of(find_layout(255 - gray))]


@pytest.mark.parametrize("angle", [-7.3, -0.6, 0.0, 1.9, 11.0])
def test_skew_is_measured(angle: float) -> None:
    image, draw = page(1300, 1600)
    for i in range(26):
        put(draw, 120, 120 + 50 * i, text_of(i, 7), 30)
    turned = image.rotate(-angle, resample=Image.Resampling.BICUBIC, fillcolor=255)
    assert find_page_skew(np.asarray(turned)) == pytest.approx(angle, abs=0.1)


def test_lines_of_a_skewed_page_lie_where_they_were() -> None:
    image, draw = page(1300, 900)
    y = [150 + 60 * i for i in range(11)]
    for i, top in enumerate(y):
        put(draw, 150, top, text_of(i, 7), 30)
    turned = image.rotate(-3, resample=Image.Resampling.BICUBIC, fillcolor=255)
    layout = find_layout(np.asarray(turned))
    assert len(parts_of(layout)) == len(y)
    for part, top in zip(parts_of(layout), y, strict=True):
        x0, y0 = layout.to_page @ (part.line.left, part.line.y_left, 1)
        # The page's point, turned back about its middle, is on the line again.
        a, cx, cy = np.radians(3), 650, 450
        back = cy - np.sin(a) * (x0 - cx) + np.cos(a) * (y0 - cy)
        assert top < back < top + 40


def noise(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "gray",
    [
        np.full((1, 1), 255, np.uint8),
        np.full((3000, 2000), 255, np.uint8),
        np.zeros((3000, 2000), np.uint8),
        np.full((40, 30000), 255, np.uint8),
        np.full((30000, 40), 255, np.uint8),
        np.tile(np.arange(256, dtype=np.uint8), (600, 4)),
    ],
    ids=["one pixel", "blank", "black", "long", "tall", "gradient"],
)
def test_pages_without_text(gray: np.ndarray) -> None:
    assert parts_of(find_layout(gray)) == []
    assert find_page_skew(gray) == 0.0


def test_noise_ends_in_bounded_time() -> None:
    start = time.process_time()
    assert len(parts_of(find_layout(noise((2000, 1500))))) < 2000
    assert time.process_time() - start < 30


def photograph(width: int, height: int) -> np.ndarray:
    """Soft shapes of all sizes and tones, with grain, and no paper."""
    rng = np.random.default_rng(1)
    image, draw = page(width, height, 110)
    for reach in (900, 400, 200, 100, 50, 25):
        for _ in range(40):
            x, y = rng.integers(0, width), rng.integers(0, height)
            w, h = rng.integers(reach // 3, reach, 2)
            draw.ellipse((x, y, x + w, y + h), fill=int(rng.integers(20, 230)))
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(4)), np.float64)
    return (soft + rng.normal(0, 5, soft.shape)).clip(0, 255).astype(np.uint8)


def test_a_photograph_ends_in_bounded_time_with_little_to_read() -> None:
    start = time.process_time()
    assert len(parts_of(find_layout(photograph(1500, 2000)))) < 60
    assert time.process_time() - start < 10


def test_a_page_of_250_megapixels_is_read_in_bounded_time_and_memory() -> None:
    image, draw = page(15811, 15811)
    boxes = [put(draw, 1000, 1000 + 700 * i, text_of(i, 8), 300) for i in range(12)]
    gray = np.asarray(image)
    tracemalloc.start()
    start = time.process_time()
    parts = parts_of(find_layout(gray))
    assert time.process_time() - start < 20
    _, peak = tracemalloc.get_traced_memory()  # numpy's arrays, OpenCV's among them
    tracemalloc.stop()
    assert peak < 2 * gray.nbytes
    assert_all_on(parts, boxes, 40)


@pytest.mark.parametrize(("turn", "index"), [(90, 0), (270, 1)], ids=["up", "down"])
def test_a_sideways_number_is_cut_out_upright(turn: int, index: int) -> None:
    image, draw = page(1000, 1200)
    for i in range(18):
        put(draw, 60, 60 + 50 * i, text_of(i, 5), 28)
    label, pen = page(230, 44)
    x0, _, x1, _ = put(pen, 10, 6, "40718253", 28)
    image.paste(label.rotate(turn, expand=True), (900, 400))
    layout = find_layout(np.asarray(image))
    assert len(layout.parts) >= 18 and len(layout.sideways) == 2
    [part] = layout.sideways[index].parts
    # The line's ends, on the page: text that runs up begins at the bottom.
    left, right = (
        layout.sideways[index].to_page @ (x, part.line.y_left, 1)
        for x in (part.line.left, part.line.right)
    )
    ends = (400 + 230 - x0, 400 + 230 - x1) if turn == 90 else (400 + x0, 400 + x1)
    assert (left[1], right[1]) == pytest.approx(ends, abs=4)
    assert 900 < left[0] < 944
    assert part.crop.shape[1] > 3 * part.crop.shape[0]


def test_columns_of_single_characters_are_not_sideways() -> None:
    image, draw = page(1000, 1200)
    for i in range(18):
        put(draw, 60, 60 + 50 * i, text_of(i, 4), 28)
        put(draw, 800, 60 + 50 * i, str(i % 10), 28)
    assert find_layout(np.asarray(image)).sideways == []
