"""Boxes to be ticked or filled in are no letters; letters beside them are."""

from __future__ import annotations

import numpy as np
from test_layout import assert_all_on, page, parts_of, put

from ocrmypdf_trocr_mlx.layout import find_layout

TEXTS = ["Increase costs", "Decrease costs", "Counties", "Others", "Villages"]


def test_worn_squares_are_known_by_others_as_large() -> None:
    image, draw = page(1200, 900)
    boxes = []
    for i, text in enumerate(TEXTS):
        y = 100 + 90 * i
        draw.rectangle((200, y + 2, 224, y + 26), outline=0, width=3)
        if i > 2:
            draw.rectangle((218, y + 20, 224, y + 26), fill=255)
        boxes.append(put(draw, 240, y, text, 28))
    lone = [put(draw, 700, 100 + 90 * i, letter, 28) for i, letter in enumerate("OD0QU")]
    parts = parts_of(find_layout(np.asarray(image)))
    for column, expected in ((parts[::2], boxes), (parts[1::2], lone)):
        assert_all_on(column, expected, 4)


def test_empty_boxes_beside_words_are_not_read() -> None:
    image, draw = page(1200, 900)
    boxes = []
    for i, text in enumerate(TEXTS):
        y = 100 + 90 * i
        box = put(draw, 200, y, text, 28)
        draw.rectangle((box[2] + 15, y, box[2] + 15 + 50 + 20 * i, y + 30), outline=0, width=2)
        boxes.append(box)
    parts = parts_of(find_layout(np.asarray(image)))
    assert_all_on(parts, boxes, 4)


def test_words_in_boxes_are_read_without_their_sides() -> None:
    image, draw = page(1200, 900)
    boxes = []
    for i, text in enumerate(TEXTS):
        y = 100 + 90 * i
        box = put(draw, 220, y, text, 28)
        draw.rectangle((box[0] - 12, y - 2, box[2] + 12, y + 38), outline=0, width=3)
        boxes.append(box)
    parts = parts_of(find_layout(np.asarray(image)))
    assert_all_on(parts, boxes, 5)


def test_parentheses_and_strokes_between_two_rules_stay() -> None:
    image, draw = page(1200, 700)
    boxes = []
    for i, text in enumerate(["(803 grams)", "Illinois I", "[7] lilli"]):
        y = 100 + 150 * i
        boxes.append(put(draw, 220, y, text, 28))
        draw.rectangle((200, y - 12, 800, y - 10), fill=0)
        draw.rectangle((200, y + 48, 800, y + 50), fill=0)
    parts = parts_of(find_layout(np.asarray(image)))
    assert_all_on(parts, boxes, 4)
