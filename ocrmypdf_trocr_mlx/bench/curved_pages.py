"""Pages whose lines are bent, rendered with their truth.

A flat page of running text is set, then bent: each column of pixels is moved up or down, as by a
book's spine, by paper that is not flat, or by a corner that is folded up before a camera.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1700, 1500
MARGIN = 150
SIZE = 28
PITCH = 1.35  # in letter sizes
# How far a line rises or falls at most, in line heights; the last has slopes up to 15 degrees.
STRENGTHS = (0.5, 1.5, 3.0)

TEXT = """It was a bright morning in the month of October when the members of the Society met for
the last time in the old reading room. The windows stood open, and from the garden below came the
voices of children on their way to school. Nobody had expected so large a company; chairs were
fetched from the library, and some of the younger men sat on the steps of the gallery. The
president, who had been ill for most of the year, spoke slowly and without notes. He reminded them
that the house had been given to the town by a merchant who could neither read nor write, and who
wished, as he put it, that no one after him should have that excuse. The books had come later, by
gift and by purchase, until there were twelve thousand of them and not a shelf was left. Now the
building was to be sold, and the books were to be carried across the river, where a new hall of
brick and iron waited for them. He did not think that this was a reason to be sad. A library, he
said, is not a house; it is a habit, and habits may be moved. There was some laughter at this, and
then a long silence, in which the clock over the door struck eleven. After him the treasurer read
the accounts. Three hundred and forty pounds had been spent on binding, sixty on coal, and nineteen
on candles; the remainder, a little over two hundred, would be used to pay for the carts."""

Points = np.ndarray  # (n, 2) float: x, y in pixels
# Of what is at x, y (arrays of one shape) of the bent page: how much lower it is than on the flat.
Bend = Callable[[np.ndarray, np.ndarray], np.ndarray]


def spine(rise: float) -> Bend:
    """The right side of every line climbs, the more the nearer to the spine, by `rise` pixels."""
    return lambda x, y: -rise * np.clip((x - MARGIN) / (WIDTH - 2 * MARGIN), 0, 1.1) ** 3


def wave(rise: float) -> Bend:
    """Lines go up and down once, `rise` pixels from the crest to the trough."""
    return lambda x, y: rise / 2 * np.sin(2 * np.pi * (x - MARGIN) / (WIDTH - 2 * MARGIN))


def corner(rise: float) -> Bend:
    """The lower left corner is bent up by `rise` pixels; lines far from it stay level."""

    def bend(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        beyond = 0.45 - (x - MARGIN) / (WIDTH - 2 * MARGIN) + 0.55 * (y - MARGIN) / HEIGHT
        return -1.3 * rise * np.maximum(beyond, 0) ** 2

    return bend


BENDS = {"spine": spine, "wave": wave, "corner": corner}

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass
class CurvedPage:
    """A rendered page, uint8 (HEIGHT, WIDTH), bent: of its lines the texts, the baselines, and the
    words with the boxes (left, top, right, bottom) of their ink.
    """

    image: np.ndarray
    texts: list[str] = field(default_factory=list)
    baselines: list[Points] = field(default_factory=list)
    words: list[list[tuple[str, list[float]]]] = field(default_factory=list)


def draw(bend: Bend, font: Font) -> CurvedPage:
    """A page of TEXT in letters of SIZE, bent."""
    image = Image.new("L", (WIDTH, HEIGHT), 255)
    pen = ImageDraw.Draw(image)
    columns, rows = np.meshgrid(np.arange(WIDTH, dtype=float), np.arange(HEIGHT, dtype=float))
    page = CurvedPage(np.empty(0))
    y = MARGIN + 3.0 * SIZE
    for text in _set(font, WIDTH - 2 * MARGIN):
        if y > HEIGHT - MARGIN:
            break
        pen.text((MARGIN, y), text, font=font, fill=0, anchor="ls")
        x = np.linspace(MARGIN, MARGIN + font.getlength(text), 60)
        page.texts.append(text)
        page.baselines.append(np.column_stack((x, _bent(bend, x, np.full(60, y)))))
        page.words.append(_words(bend, font, text, y))
        y += PITCH * SIZE
    source = (rows - bend(columns, rows)).astype(np.float32)
    page.image = cv2.remap(
        np.asarray(image), columns.astype(np.float32), source, cv2.INTER_LINEAR, borderValue=255
    )
    return page


def _set(font: Font, width: float) -> list[str]:
    """TEXT, twice over, in lines of at most `width` pixels."""
    lines = [""]
    for word in (TEXT + " " + TEXT).split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) < width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _bent(bend: Bend, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where on the bent page points of the flat one are: y' with y' - bend(x, y') = y."""
    found = y
    for _ in range(30):
        found = y + bend(x, found)
    return found


def _words(bend: Bend, font: Font, text: str, y: float) -> list[tuple[str, list[float]]]:
    """The words of a line whose baseline was at `y`, each with the box around its bent ink."""
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    words, start = [], 0
    for word in text.split():
        start = text.index(word, start)
        x = MARGIN + font.getlength(text[:start])
        left, top, right, bottom = pen.textbbox((x, y), word, font=font, anchor="ls")
        across = np.linspace(left, right, 9)
        tops, bottoms = (_bent(bend, across, np.full(9, float(v))) for v in (top, bottom))
        words.append((word, [left, float(tops.min()), right, float(bottoms.max())]))
        start += len(word)
    return words


def write_pages(folder: Path, count: int) -> list[tuple[str, Path, list[Points]]]:
    """Write NAME.png and NAME.json of so many pages; of each the strength, the JSON, the baselines.

    The strengths of STRENGTHS follow one another, then the next way of BENDS has its turn.
    """
    font = ImageFont.load_default(SIZE)
    ways, pages = list(BENDS.values()), []
    for index in range(count):
        strength = STRENGTHS[index % len(STRENGTHS)]
        way = ways[index // len(STRENGTHS) % len(ways)]
        page = draw(way(strength * PITCH * SIZE), font)
        path = folder / f"curved-{index + 1:03d}.json"
        Image.fromarray(page.image).save(path.with_suffix(".png"), dpi=(200, 200))
        lines = [
            {"text": text, "bbox": None, "words": [{"text": w, "bbox": box} for w, box in words]}
            for text, words in zip(page.texts, page.words, strict=True)
        ]
        path.write_text(json.dumps({"image": f"{path.stem}.png", "lines": lines}), "utf-8")
        pages.append((f"{strength:g} lines", path, page.baselines))
    return pages
