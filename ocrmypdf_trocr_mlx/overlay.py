"""A picture of what was read where, to look at when a page reads badly."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx import viewer
from ocrmypdf_trocr_mlx.gray import to_gray
from ocrmypdf_trocr_mlx.layout.stages import draw_stages
from ocrmypdf_trocr_mlx.result import Page

_MAX_SIDE = 2500  # an overlay is looked at on a screen


def save(image: Image.Image, page: Page, path: Path) -> None:
    """Write `draw(image, page)` to `path`, beside it the layout's stages and a page to view all.

    For NAME.png these are NAME.ink.png, NAME.lines.png and NAME.html.
    """
    draw(image, page).save(path)
    stages = {}
    for name, picture in draw_stages(to_gray(image)).items():
        stage = path.with_suffix(f".{name}.png")
        Image.fromarray(picture[:, :, ::-1]).save(stage)
        stages[name] = quote(stage.name)
    content = viewer.html(image, page, path.stem, stages)
    path.with_suffix(".html").write_text(content, encoding="utf-8")


def draw(image: Image.Image, page: Page) -> Image.Image:
    """The page image, made pale, with blocks, baselines, and words from red to green.

    A word's colour is its confidence; its text stands over its box, a block's number in the
    reading order at its corner.
    """
    scale = min(1.0, _MAX_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    picture = Image.fromarray(to_gray(image)).resize(size).convert("RGB")
    picture = Image.blend(picture, Image.new("RGB", size, "white"), 0.6)
    pen = ImageDraw.Draw(picture)
    for number, block in enumerate(page.blocks, start=1):
        box = block.box
        corners = [v * scale for v in (box.left, box.top, box.right, box.bottom)]
        pen.rectangle(corners, outline=(90, 90, 255))
        pen.text((corners[0], corners[1]), str(number), fill=(90, 90, 255), anchor="rb")
    for line in page.lines:
        pen.line([(x * scale, y * scale) for x, y in line.baseline], fill=(255, 0, 255))
        font = _font(max(8, round(0.6 * line.ascent * scale)))
        for word in line.words:
            box = word.box
            colour = (round(220 * (1 - word.confidence)), round(160 * word.confidence), 0)
            pen.rectangle(
                [v * scale for v in (box.left, box.top, box.right, box.bottom)], outline=colour
            )
            pen.text(
                (box.left * scale, box.top * scale), word.text, fill=colour, font=font, anchor="ls"
            )
    return picture


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """OCRmyPDF's Noto Sans: Pillow's own font, taken without it, has no accented letters."""
    spec = importlib.util.find_spec("ocrmypdf")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "data", "NotoSans-Regular.ttf")
        if path.is_file():
            return ImageFont.truetype(path, size)
    return ImageFont.load_default(size)
