"""Images that are cut out of pages: single lines, and a few with letters up to the edges."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx import load_processor
from ocrmypdf_trocr_mlx.reader import is_line

LINES = ["The harbour was closed", "for nine weeks in winter", "and opened in March"]


def cut_out(lines: list[str], ground: int = 255, ink: int = 0) -> Image.Image:
    """Lines of 30 pixels, as tight as they are: no margin on any side."""
    font = ImageFont.load_default(30)
    image = Image.new("L", (900, 60 + 40 * len(lines)), ground)
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        draw.text((20, 20 + 40 * i), line, font=font, fill=ink)
    ys, xs = np.nonzero(np.asarray(image) != ground)
    return image.crop((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))


@pytest.mark.parametrize(("ground", "ink"), [(255, 0), (200, 40), (20, 230)])
def test_a_line_is_noticed_and_read(ground: int, ink: int) -> None:
    image = cut_out(LINES[:1], ground, ink)
    assert is_line(image)
    processor = load_processor()
    assert processor.process_image(image) == LINES[0]
    assert processor.process_batch([image]) == [LINES[0]]


def test_feet_of_another_line_are_none() -> None:
    both = np.asarray(cut_out(LINES[:2]))
    assert is_line(both[15:])


@pytest.mark.parametrize("count", [2, 3])
def test_several_lines_are_read_one_after_the_other(count: int) -> None:
    image = cut_out(LINES[:count])
    assert not is_line(image)
    processor = load_processor()
    page = processor.read_page(image)
    assert page.text.split("\n") == LINES[:count] == processor.process_image(image).split("\n")
    # Places are the image's own, though a margin was added to find them.
    for i, line in enumerate(page.lines):
        assert abs(line.box.left) < 8 and 40 * i - 8 < line.box.top < line.box.bottom < 40 * i + 40


def test_a_page_is_no_line() -> None:
    page = Image.new("L", (600, 800), 255)
    ImageDraw.Draw(page).text((100, 100), LINES[0], font=ImageFont.load_default(30), fill=0)
    assert not is_line(page)
