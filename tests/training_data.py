"""Made in the tests: rendered lines, and a tiny checkpoint with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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


def write_checkpoint(folder: Path, seed: int = 0) -> Path:
    write_scratch(folder, SIZE, CHARACTERS, seed)
    return folder


def parameters(model) -> dict[str, np.ndarray]:
    from mlx.utils import tree_flatten

    return {name: np.array(value) for name, value in tree_flatten(model.parameters())}
