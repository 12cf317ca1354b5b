"""Ruled lines beside text: what is a rule, and what of it belongs to letters."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFont
from test_layout import assert_all_on, assert_on, page, parts_of, put, text_of

from ocrmypdf_trocr_mlx.layout import find_layout
from ocrmypdf_trocr_mlx.layout.ink import ruled_lines


@pytest.mark.parametrize(("size", "shrink"), [(32, 3), (40, 3), (40, 4)])
def test_letters_that_run_together_are_no_rule(size: int, shrink: int) -> None:
    image, draw = page(2400, 2000)
    for i in range(14):
        put(draw, 100, 100 + 100 * i, text_of(i, 5), 44)
    font = ImageFont.load_default(size)
    words = ("PROVIDENCE", "CONCORD", "DECOMPOSITION", "WASHINGTON", "UNCHANGED", "HEADING")
    boxes = []
    for i, word in enumerate(words):
        at = (1500, 200 + 200 * i)
        draw.text(at, word, font=font, fill=0, stroke_width=2)
        boxes.append(draw.textbbox(at, word, font=font, stroke_width=2))
    coarse = (image.width // shrink, image.height // shrink)
    gray = np.asarray(image.resize(coarse, Image.Resampling.BOX))
    bold = [part for part in parts_of(find_layout(gray)) if part.line.left > 1400 / shrink]
    assert len(bold) == len(boxes)
    for part, box in zip(bold, boxes, strict=True):
        assert_on(part, tuple(v / shrink for v in box), 3)


@pytest.mark.parametrize("gap", [5, 8])
def test_words_above_a_rule_are_measured_without_it(gap: int) -> None:
    image, draw = page(1200, 900)
    boxes = []
    for i, text in enumerate(["SALES FORCE", "TRUE", "HOPE MARTINEZ", "APRIL", "MONTHS"]):
        box = put(draw, 200, 100 + 140 * i, text, 30)
        draw.rectangle((190, box[3] + gap, 900, box[3] + gap + 3), fill=0)
        boxes.append(box)
    parts = parts_of(find_layout(np.asarray(image)))
    assert_all_on(parts, boxes, 4)


def test_a_large_number_far_from_a_label_is_a_line_of_its_own() -> None:
    image, draw = page(1200, 900)
    for i in range(8):
        put(draw, 80, 300 + 60 * i, text_of(i, 7), 28)
    label = put(draw, 80, 120, "No", 28)
    number = put(draw, label[2] + 60, 105, "1927", 50)
    first, second = sorted(parts_of(find_layout(np.asarray(image)))[:2], key=lambda p: p.line.left)
    assert_on(first, label, 4)
    assert_on(second, number, 8)


def test_squares_to_tick_are_no_letters_but_lone_letters_are() -> None:
    image, draw = page(1200, 900)
    texts = ["Increase costs", "Decrease costs", "Counties", "Others", "Villages"]
    boxes = []
    for i, text in enumerate(texts):
        y = 100 + 90 * i
        draw.rectangle((200, y + 2, 224, y + 26), outline=0, width=3)
        boxes.append(put(draw, 240, y, text, 28))
    lone = [put(draw, 700, 100 + 90 * i, letter, 28) for i, letter in enumerate("OD0QU")]
    parts = parts_of(find_layout(np.asarray(image)))
    for column, expected in ((parts[::2], boxes), (parts[1::2], lone)):
        assert_all_on(column, expected, 4)


def test_low_letters_joined_at_half_their_height_are_no_rule() -> None:
    mask = np.zeros((60, 200), np.uint8)
    mask[20:28, 20:100] = 255
    for x in range(23, 100, 6):  # lower than most of the page's, by a half
        mask[20:22, x : x + 3] = mask[26:28, x : x + 3] = 0
    assert not ruled_lines(mask, 14).any()


def test_a_worn_blank_to_be_filled_in_is_a_rule_as_thick_as_strokes_of_bold_letters() -> None:
    mask = np.zeros((60, 200), np.uint8)
    mask[20:25, 20:160] = 255
    mask[25, 80:160] = mask[26, 130:160] = 255
    np.testing.assert_array_equal(ruled_lines(mask, 14), mask)
