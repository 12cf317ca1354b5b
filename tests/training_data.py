"""Made in the tests: rendered lines, and a tiny checkpoint with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx.training.scratch import Size, write_scratch

CHARACTERS = " abcdefghijklmnopqrstuvwxyz0123456789"
SIZE = Size(
    height=24,
    width=144,
    patch_height=24,
    patch_width=4,
    dims=48,
    heads=3,
    encoder_layers=1,
    decoder_layers=2,
    positions=32,
)
WORDS = ["mean", "river", "stone", "1874", "bread", "night", "seven", "2306", "cloud", "amber"]


def render(text: str, height: int = 24) -> Image.Image:
    """Black on white, one line."""
    font = ImageFont.load_default(0.7 * height)
    width = round(font.getlength(text) + height)
    image = Image.new("L", (width, height), "white")
    ImageDraw.Draw(image).text((height / 2, height / 2), text, font=font, anchor="lm")
    return image


def write_pairs(folder: Path, texts: list[str]) -> Path:
    folder.mkdir()
    for i, text in enumerate(texts):
        render(text).save(folder / f"{i:03}.png")
        (folder / f"{i:03}.txt").write_text(text + "\n", encoding="utf-8")
    return folder


def write_font(path: Path, letters: str, style: str = "Regular") -> None:
    """A font whose letters are all full squares, 500 units wide and high."""
    builder = FontBuilder(1000, isTTF=True)
    names = [".notdef", "space", *(f"u{ord(c):04X}" for c in letters)]
    pen = TTGlyphPen(None)
    for point in ((50, 0), (50, 500), (450, 500)):
        (pen.moveTo if point == (50, 0) else pen.lineTo)(point)
    pen.lineTo((450, 0))
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0x20: "space"} | {ord(c): f"u{ord(c):04X}" for c in letters})
    builder.setupGlyf({n: empty if n in (".notdef", "space") else square for n in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (500, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": style})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    builder.save(path)


def write_checkpoint(folder: Path, seed: int = 0) -> Path:
    write_scratch(folder, SIZE, CHARACTERS, seed)
    return folder


def parameters(model) -> dict[str, np.ndarray]:
    from mlx.utils import tree_flatten

    return {name: np.array(value) for name, value in tree_flatten(model.parameters())}
