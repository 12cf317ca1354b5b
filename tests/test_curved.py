"""Bent lines: layout against rendered pages that were bent by what is known."""

from __future__ import annotations

import functools
import itertools

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx.bench.curved_pages import (
    BENDS,
    HEIGHT,
    PITCH,
    SIZE,
    TEXT,
    WIDTH,
    CurvedPage,
    draw,
)
from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout, find_layout, find_page_skew
from ocrmypdf_trocr_mlx.layout.baseline import find_bend
from ocrmypdf_trocr_mlx.layout.lean import find_lean
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.layout.segments import Segment
from ocrmypdf_trocr_mlx.layout.surface import find_surface

X_HEIGHT = 0.55 * SIZE
FONT = ImageFont.load_default(SIZE)
LINE = TextLine(10.0, 110.0, 50.0, 60.0, 20.0, 5.0, 14.0)
BENT = LINE.along(np.array([10.0, 60.0, 110.0]), np.array([50.0, 40.0, 60.0]))


@functools.cache
def page(way: str, lines: float) -> CurvedPage:
    """Bent by so many line heights."""
    return draw(BENDS[way](lines * PITCH * SIZE), FONT)


@functools.cache
def layout(way: str, lines: float) -> PageLayout:
    return find_layout(page(way, lines).image)


def baseline(part: LinePart, found: PageLayout) -> np.ndarray:
    """(n, 2), on the page image."""
    points = np.column_stack((part.line.ends, np.ones(len(part.line.ends))))
    return points @ found.to_page.T


@pytest.mark.parametrize("lines", [0.5, 3.0])
@pytest.mark.parametrize("way", BENDS)
def test_a_bent_line_is_one_and_its_baseline_follows_it(way: str, lines: float) -> None:
    truth, found = page(way, lines), layout(way, lines)
    assert len(found.parts) == len(truth.texts)
    for part, points in zip(found.parts, truth.baselines, strict=True):
        x, y = baseline(part, found).T
        off = np.interp(points[:, 0], x, y) - points[:, 1]
        assert np.abs(off).mean() < 0.15 * X_HEIGHT
        assert np.abs(off).max() < 0.5 * X_HEIGHT
        assert abs(x[0] - points[0, 0]) < X_HEIGHT and abs(x[-1] - points[-1, 0]) < X_HEIGHT


def test_lines_that_bend_sharply_are_whole() -> None:
    sharp = draw(lambda x, y: -70 * np.clip((x - 1200) / 350, 0, 1.2) ** 2, FONT)  # 22 degrees
    assert len(find_layout(sharp.image).parts) == len(sharp.texts)


@pytest.mark.parametrize("way", BENDS)
def test_crops_of_bent_lines_are_as_those_of_flat_ones(way: str) -> None:
    for flat, bent in zip(layout(way, 0.0).parts, layout(way, 1.5).parts, strict=True):
        assert bent.crop.shape[0] < 1.25 * flat.crop.shape[0]
        # Below the middle, what stands above the baseline: as much as on the flat page, no more.
        ink, other = (inked(part) for part in (flat, bent))
        assert np.abs(ink - other).sum() < 0.3 * ink.sum()


def inked(part: LinePart) -> np.ndarray:
    """(8,) ink, in pixels, of bands from an x-height above the baseline to 0.6 below it."""
    edges = part.baseline_row - X_HEIGHT * np.linspace(1, -0.6, 9)
    rows = (255.0 - part.crop).sum(axis=1) / 255
    total = np.interp(edges, np.arange(len(rows) + 1), np.append(0, np.cumsum(rows)))
    return np.diff(total)


def test_lines_of_flat_and_of_turned_pages_are_straight() -> None:
    flat = layout("wave", 0.0)
    tilted = find_layout(draw(lambda x, y: 0.02 * x, FONT).image)
    for found in (flat, tilted):
        assert found.parts and not any(part.line.bend for part in found.parts)


def test_lines_far_from_a_bend_are_straight() -> None:
    below = draw(lambda x, y: BENDS["spine"](80)(x, y) * np.clip((y - 700) / 300, 0, 1), FONT)
    found = find_layout(below.image).parts
    assert [bool(part.line.bend) for part in (*found[:3], *found[-3:])] == [False] * 3 + [True] * 3


def test_a_wavy_page_is_level_in_the_mean() -> None:
    assert abs(find_page_skew(page("wave", 2.0).image)) < 3  # its lines run at up to 10 degrees
    assert abs(layout("wave", 3.0).skew) < 0.5


@pytest.mark.parametrize("angle", [-4.0, 2.0])
def test_the_edges_of_a_bent_page_tell_how_it_lies(angle: float) -> None:
    bent = page("spine", 2.0)
    turned = Image.fromarray(bent.image).rotate(-angle, Image.Resampling.BICUBIC, fillcolor=255)
    found = find_layout(np.asarray(turned))
    assert found.skew == pytest.approx(angle, abs=0.5)
    assert len(found.parts) == len(bent.texts)


def test_columns_of_a_bent_page_are_read_one_after_the_other() -> None:
    flat = Image.new("L", (WIDTH, HEIGHT), 255)
    pen = ImageDraw.Draw(flat)
    for column in range(2):
        for row in range(30):
            words = [TEXT.split()[(7 * row + 11 * column + i) % 150] for i in range(20)]
            while FONT.getlength(" ".join(words)) > 620:
                words.pop()
            pen.text((150 + 680 * column, 120 + 40 * row), " ".join(words), font=FONT, fill=0)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    source = (x.astype(np.float32), (y - BENDS["wave"](75)(x, y)).astype(np.float32))
    image = cv2.remap(np.asarray(flat), *source, cv2.INTER_LINEAR, borderValue=255)
    lines = [part.line for part in find_layout(image).parts]
    assert [line.left > 700 for line in lines] == [False] * 30 + [True] * 30
    for column in (lines[:30], lines[30:]):
        assert all(a.middle < b.middle for a, b in itertools.pairwise(column))


def test_edges_of_columns_lean() -> None:
    y = np.arange(20) * 30.0
    lines = [TextLine(100 + 0.05 * v, 400 + 23 * (v % 7), v, v, 10, 3, 14) for v in y]
    assert find_lean(lines, 14.0) == pytest.approx(-np.degrees(np.arctan(0.05)), abs=0.1)
    assert find_lean(lines[:5], 14.0) is None
    strewn = [line.moved(float(x), 0) for line, x in zip(lines, 61 * (y % 11), strict=True)]
    assert find_lean(strewn, 14.0) is None


def test_letters_moved_as_if_the_page_were_flat_stand_level() -> None:
    truth = page("spine", 3.0)
    segments = []
    for points in truth.baselines:
        x, y = points.T
        box = np.column_stack((x, y - X_HEIGHT, x + 10, y))
        segments.append(Segment(box, 60 * 100.0))
    surface = find_surface(segments, truth.image.shape, X_HEIGHT)
    for segment in segments:
        flat = surface.flattened(segment.chars)
        assert np.ptp(flat[:, 3]) < 0.6 * X_HEIGHT < np.ptp(segment.chars[:, 3])
        assert np.allclose(flat[:, 3] - flat[:, 1], X_HEIGHT)
        assert (flat[:, [0, 2]] == segment.chars[:, [0, 2]]).all()
    x, y = truth.baselines[3].T
    assert np.allclose(surface.bent(x, surface.flat(x, y)), y, atol=0.5)
    assert find_surface([], truth.image.shape, X_HEIGHT).is_flat


def test_what_lies_on_a_bent_page_is_moved_with_its_lines() -> None:
    truth = page("spine", 3.0)
    segments = [
        Segment(np.column_stack((x, y - X_HEIGHT, x + 10, y)), 6000.0)
        for x, y in (points.T for points in truth.baselines)
    ]
    surface = find_surface(segments, truth.image.shape, X_HEIGHT)
    mask = np.zeros(truth.image.shape, np.uint8)
    x, y = truth.baselines[5].T
    mask[y.astype(int), x.astype(int)] = 255
    rows, columns = np.nonzero(surface.flattened_mask(mask))
    level = surface.flat(x, y)
    assert np.abs(rows - np.interp(columns, x, level)).max() < 3


def letters(count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles, feet and heads of letters 14 pixels high, every seventh a descender."""
    k = np.arange(count)
    feet = np.where(k % 7 == 3, 5.0, 0.0)
    return 12.6 * k, feet, np.where(k % 3 == 0, -14.0, -10.0)


@pytest.mark.parametrize("rise", [0.7, -1.5])
def test_a_bend_goes_where_most_letters_stand(rise: float) -> None:
    x, feet, heads = letters()
    curve = rise * 14.0 * np.sin(np.pi * x / x.max())
    knots = find_bend(x, curve + feet, curve + heads, 14.0)
    assert np.abs(np.interp(x, *np.transpose(knots)) - curve).max() < 0.12 * 14


@pytest.mark.parametrize(
    "off",
    [
        lambda x: 0 * x,
        lambda x: 1.4 * np.sin(x / 100),  # too little
        lambda x: 8 * np.random.default_rng(0).normal(0, 1, len(x)),  # no line to stand on
        lambda x: np.where(np.arange(len(x)) % 2, 4.0, -4.0),
        lambda x: np.where(x > x.mean(), 42.0, 0.0),  # letters of two lines
    ],
)
def test_what_is_no_bend(off) -> None:
    x, feet, heads = letters()
    assert find_bend(x, feet + off(x), heads + off(x), 14.0) == ()


def test_a_few_letters_and_underlined_ones_have_no_bend() -> None:
    x, feet, heads = letters(12)
    curve = 14.0 * np.sin(np.pi * x / x.max())
    assert find_bend(x, feet + curve, heads + curve, 14.0) == ()
    x, feet, heads = letters()
    rule = np.where((x > 200) & (x < 500), 5.0, 0.0)
    assert find_bend(x, np.maximum(feet, rule), heads, 14.0) == ()
    assert find_bend(x, feet + rule, heads + rule, 14.0) != ()


def test_a_bent_line_measures_as_its_baseline_runs() -> None:
    assert (BENT.top, BENT.bottom) == (40 - 20, 60 + 5)
    assert BENT.base(np.array([0.0, 10.0, 35.0, 85.0, 120.0])) == pytest.approx(
        [52, 50, 45, 50, 64]
    )
    assert LINE.base(np.array([0.0, 60.0])) == pytest.approx([49, 55])
    assert BENT.scaled(2).bend == ((20, 100), (120, 80), (220, 120))
    moved = BENT.moved(1, -2)
    assert moved.bend == ((11, 48), (61, 38), (111, 58)) and moved.y_right == 58
