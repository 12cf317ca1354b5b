"""The pictures and the page to look at, written by one option."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx import overlay
from ocrmypdf_trocr_mlx.layout.stages import draw_stages
from ocrmypdf_trocr_mlx.result import Block, Box, Line, Page, Paragraph, Word


class Tags(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))

    def named(self, tag: str, **of: str) -> list[dict[str, str | None]]:
        return [a for t, a in self.all if t == tag and of.items() <= a.items()]


def text_image() -> Image.Image:
    image = Image.new("L", (600, 400), 255)
    pen = ImageDraw.Draw(image)
    for i in range(6):
        pen.text((40, 40 + 50 * i), "Typed letters & <marks>", font=ImageFont.load_default(26))
    pen.line((20, 350, 580, 350), fill=0, width=3)
    return image


def read_page() -> Page:
    words = [Word("<b>", Box(40, 40, 90, 66), 0.5), Word("&c", Box(100, 40, 130, 66), 1.0)]
    line = Line(words, ((40.0, 66.0), (130.0, 66.0)), 26, 0)
    return Page(600, 400, [Block([Paragraph([line])])])


def test_stages_show_rules_and_lines() -> None:
    gray = np.asarray(text_image())
    stages = draw_stages(gray)
    assert list(stages) == ["ink", "lines"]
    height, width, _ = stages["ink"].shape
    orange = (stages["ink"] == (0, 150, 255)).all(axis=2)
    rows = np.flatnonzero(orange.any(axis=1)) / height
    assert len(rows) and np.abs(rows - 350 / 400).max() < 0.02
    green = (stages["lines"] == (0, 150, 0)).all(axis=2)
    # Each box has an upper and a lower edge.
    assert (green.sum(axis=1) > 0.3 * width).sum() == 12


def test_stages_of_a_blank_page_are_none() -> None:
    assert draw_stages(np.full((300, 300), 255, np.uint8)) == {}


def test_the_page_to_view_names_every_word_and_what_lies_beside_it(tmp_path: Path) -> None:
    overlay.save(text_image(), read_page(), tmp_path / "a report-0001.png")
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {f"a report-0001.{end}" for end in ("png", "ink.png", "lines.png", "html")}
    content = (tmp_path / "a report-0001.html").read_text(encoding="utf-8")
    tags = Tags(content)
    assert len(tags.named("rect", **{"class": "word"})) == 2
    assert [a["data-word"] for a in tags.named("span")] == ["0", "1"]
    assert tags.named("b") == [{}]  # the title: the word "<b>" is no tag
    assert {a["href"] for a in tags.named("a")} == {
        "a%20report-0001.ink.png",
        "a%20report-0001.lines.png",
    }
    [picture] = tags.named("image")
    assert str(picture["href"]).startswith("data:image/jpeg;base64,")
