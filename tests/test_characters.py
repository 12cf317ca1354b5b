"""Boxes of characters: where they were drawn, and only where they were asked for."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx.doubt import without_rules
from ocrmypdf_trocr_mlx.printable import clean
from ocrmypdf_trocr_mlx.reader import PageReader
from ocrmypdf_trocr_mlx.recognizer import ReadCharacter, Reading, ReadWord, align, shared
from ocrmypdf_trocr_mlx.recognizer.align import place_words
from ocrmypdf_trocr_mlx.recognizer.characters import split_word
from ocrmypdf_trocr_mlx.recognizer.ink import InkProfile
from ocrmypdf_trocr_mlx.result import Block, Box, Character, Line, Page, Paragraph, Word
from ocrmypdf_trocr_mlx.spaced import together

HEIGHT = 80


def profile(*inked: tuple[int, int, float], width: int = 300) -> InkProfile:
    """Ink in columns [left, right), with a share of ink each."""
    columns = np.zeros(width)
    for left, right, share in inked:
        columns[left:right] = share
    return InkProfile(columns, HEIGHT, 1.0)


def test_gaps_part_characters_wherever_they_were_seen() -> None:
    ink = profile((20, 60, 0.3), (64, 72, 0.5), (76, 130, 0.3), (138, 170, 0.2))
    exact = [(20, 60), (64, 72), (76, 130), (138, 170)]
    for off in (-12, 0, 12):
        seen = np.array([40, 68, 103, 154]) + off
        assert split_word("nimc", seen, ink, 20, 170) == exact


def test_letters_that_touch_are_parted_at_the_least_ink() -> None:
    ink = profile((20, 58, 0.3), (58, 61, 0.06), (61, 100, 0.3), (105, 140, 0.3))
    extents = split_word("con", np.array([42, 78, 124]), ink, 20, 140)
    assert extents[2] == (105, 140)
    assert extents[0][0] == 20 and extents[1][1] == 100
    assert 58 <= extents[0][1] == extents[1][0] <= 61


def test_a_mark_of_two_strokes_is_one_character() -> None:
    ink = profile((20, 26, 0.3), (32, 38, 0.3), (46, 80, 0.3), (86, 120, 0.3))
    assert split_word("“no", np.array([29, 63, 103]), ink, 20, 120)[0] == (20, 38)


@pytest.mark.parametrize("seed", range(20))
def test_extents_grow_do_not_overlap_and_hold_the_ink(seed: int) -> None:
    rng = np.random.default_rng(seed)
    columns = np.where(rng.random(160) < 0.7, rng.random(160), 0.0)
    columns[rng.integers(0, 120) :][:30] = 0.0
    text = "".join(rng.choice(list("abcil.W”"), rng.integers(1, 14)))
    left, right = sorted(rng.choice(160, 2, replace=False).tolist())
    seen = np.sort(rng.uniform(left, right, len(text)))
    extents = split_word(text, seen, InkProfile(columns, HEIGHT, 1.0), left, right)
    assert len(extents) == len(text)
    assert all(a < b for a, b in extents)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(extents))
    held = np.zeros(160, bool)
    for a, b in extents:
        held[int(np.floor(a)) : int(np.ceil(b))] = True
    assert held[left:right][columns[left:right] > 0].all()


def test_characters_of_one_token_share_its_place() -> None:
    """Three tokens of a word, on ink without gaps."""
    ink = profile((0, 180, 0.3), width=200)
    attention = np.zeros((4, 20))
    attention[range(4), (1, 8, 15, 18)] = 1.0
    (word,) = place_words(["ver", "nün", "nen", ""], [-0.1, -0.2, -0.3, 0], attention, 10, ink, ink)
    assert "".join(c.text for c in word.characters) == word.text == "vernünnen"
    for i, character in enumerate(word.characters):
        assert (character.left + character.right) / 2 == pytest.approx(20 * i + 10, abs=9)
    sure = [c.confidence for c in word.characters]
    assert sure == pytest.approx(np.exp([-0.1] * 3 + [-0.2] * 3 + [-0.3] * 3))
    (word,) = place_words(["ver", "nün", "nen", ""], [-0.1, -0.2, -0.3, 0], attention, 10, ink)
    assert word.characters == ()
    assert word.confidence == pytest.approx(np.exp(-0.2))


LINES = (
    "The committee met in London on 14 March,",
    "(and William Mill was asked: “Why so?”)",
    "JIM HALLAWAY & CO. bought 1,111 films.",
)
X_HEIGHT = 30


def noto(size: int) -> ImageFont.FreeTypeFont:
    spec = importlib.util.find_spec("ocrmypdf")
    assert spec is not None and spec.origin is not None
    return ImageFont.truetype(Path(spec.origin).parent / "data" / "NotoSans-Regular.ttf", size)


def draw(font: ImageFont.FreeTypeFont, tight: float) -> tuple[np.ndarray, list[tuple[str, Box]]]:
    """A page, and of each character drawn on it the box of its ink.

    Characters are drawn one by one, closer to each other by a share of the font's size.
    """
    page, boxes = np.full((600, 2000), 255, np.uint8), []
    for i, line in enumerate(LINES):
        x = 100.0
        for character in line:
            if character != " ":
                ink = Image.new("L", (200, 200))
                pen = ImageDraw.Draw(ink)
                pen.text((60 + x % 1, 140), character, font=font, fill=255, anchor="ls")
                left, top = int(x) - 60, 60 + 150 * i
                window = page[top : top + 200, left : left + 200]
                np.minimum(window, 255 - np.asarray(ink), out=window)
                ys, xs = np.nonzero(np.asarray(ink) > 110)
                box = Box(left + xs.min(), top + ys.min(), left + xs.max() + 1, top + ys.max() + 1)
                boxes.append((character, box))
                x -= tight * font.size
            x += font.getlength(character)
    return page, boxes


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(0.0, width) * max(0.0, height)
    return both / (a.width * a.height + b.width * b.height - both)


@pytest.mark.parametrize(
    ("font", "tight", "floor", "turned"),
    [
        (ImageFont.load_default, 0.0, 0.85, False),
        (noto, 0.0, 0.85, False),
        (noto, 0.06, 0.8, False),
        (noto, 0.0, 0.85, True),
    ],
    ids=["plain", "noto", "letters that touch", "upside down"],
)
def test_characters_lie_where_they_were_drawn(font, tight, floor, turned) -> None:
    height = font(100).getbbox("x", anchor="ls")
    image, truth = draw(font(round(100 * X_HEIGHT / (height[3] - height[1]))), tight)
    page = PageReader(shared(device="cpu"), characters=True).read(
        image[::-1, ::-1].copy() if turned else image
    )
    assert page.text.split() == " ".join(LINES).split()
    assert all("".join(c.text for c in w.characters) == w.text for w in page.words)
    found = [c.box for w in page.words for c in w.characters]
    if turned:
        found = [Box(2000 - b.right, 600 - b.bottom, 2000 - b.left, 600 - b.top) for b in found]
    agreed = [overlap(box, drawn) for box, (_, drawn) in zip(found, truth, strict=True)]
    worst = sorted(zip(agreed, truth, strict=True), key=lambda pair: pair[0])[:5]
    assert np.mean(agreed) > floor, worst
    assert np.mean(np.array(agreed) >= 0.5) > 0.95, worst


def test_they_cost_nothing_where_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = draw(noto(50), 0.0)
    asked = PageReader(shared(device="cpu"), characters=True).read(image)

    def never(*_: object) -> ReadWord:
        raise AssertionError("characters were placed")

    monkeypatch.setattr(align, "place_characters", never)
    plain = PageReader(shared(device="cpu")).read(image)
    assert all(word.characters == () for word in plain.words)
    assert [(w.text, w.box) for w in plain.words] == [(w.text, w.box) for w in asked.words]


def word_at(text: str, left: float) -> ReadWord:
    characters = tuple(
        ReadCharacter(c, left + 10 * i, left + 10 * i + 8, 0.9) for i, c in enumerate(text)
    )
    return ReadWord(text, left, left + 10 * len(text) - 2, 0.9, characters)


def test_what_is_done_to_words_is_done_to_their_characters() -> None:
    (blank,) = without_rules(Reading((word_at("__five_", 100),))).words
    assert [c.text for c in blank.characters] == list("five")
    assert (blank.left, blank.right) == (120, 158), "known, not guessed"
    spaced = Reading(tuple(word_at(c, 30.0 * i) for i, c in enumerate("TITLE")))
    (title,) = together(spaced, 20).words
    assert [(c.text, c.left) for c in title.characters] == [
        (c, 30.0 * i) for i, c in enumerate("TITLE")
    ]
    box = Box(0, 0, 9, 9)
    characters = tuple(Character(c, box, 0.9) for c in "a\x00b")
    line = Line([Word("a\x00b", box, 0.9, characters)], ((0, 9), (9, 9)), 9, 0)
    (word,) = clean(Page(10, 10, [Block([Paragraph([line])])])).words
    assert (word.text, "".join(c.text for c in word.characters)) == ("ab", "ab")
