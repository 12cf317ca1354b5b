"""Pages in two columns, rendered with their truth: what counts there is the order."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from .engines import Engine
    from .pages import Table

WIDTH, HEIGHT = 1700, 2200  # Letter at 200 dpi
MARGIN = 150
# In letter sizes: the least is what newspapers leave.
GUTTERS = (1.0, 1.5, 2.5)
SIZES = (22, 28, 34)

_WORDS = """the of and to in that was he for it with as his on be at by had not are but from or have
an they which one you were all her she there would their we him been has when who will no more if
out so up said what its about than into them can only other time new some could these two may first
then do any like my now over such our man me even most made after also did many off before must well
back through years where much your way down should because long each just state those people too
mister Monday Saturday June October London Street Council Report Company Mary President""".split()  # noqa: SIM905


@dataclass
class _Sheet:
    """A page being set; lines of the truth come in reading order."""

    rng: np.random.Generator
    size: int
    image: Image.Image = field(default_factory=lambda: Image.new("L", (WIDTH, HEIGHT), 255))
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pitch(self) -> int:
        return round(1.35 * self.size)

    def put(self, x: float, y: float, text: str, size: float, width: float | None = None) -> None:
        """A line, its words spread over `width` where that is given."""
        pen, font = ImageDraw.Draw(self.image), ImageFont.load_default(size)
        words = text.split()
        lengths = [font.getlength(word) for word in words]
        space = font.getlength(" ")
        if width is not None and len(words) > 1:
            space = (width - sum(lengths)) / (len(words) - 1)
        start = x
        for word, length in zip(words, lengths, strict=True):
            pen.text((x, y), word, font=font, fill=0)
            x += length + space
        _, top, _, bottom = pen.textbbox((start, y), text, font=font)
        self.lines.append({"text": text, "bbox": [start, top, x - space, bottom], "words": None})

    def set_text(self, left: float, width: float, top: float, bottom: float, size: float) -> float:
        """Paragraphs of justified text, the first lines indented; returns where they end."""
        font = ImageFont.load_default(size)
        y, rest, word = top, 0, self._word()
        pitch = 1.35 * size
        while y + pitch <= bottom:
            indent = 1.5 * size if rest == 0 else 0.0
            rest = rest or int(self.rng.integers(3, 9))
            words: list[str] = []
            while font.getlength(" ".join([*words, word])) < width - indent:
                words.append(word)
                word = self._word()
            rest -= 1
            last = rest == 0
            if last:
                words = words[: max(2, len(words) // 2)]
            self.put(left + indent, y, " ".join(words), size, None if last else width - indent)
            y += pitch
        return y

    def _word(self) -> str:
        return str(self.rng.choice(_WORDS))


def run(engines: dict[str, Engine], count: int) -> Table:
    """Read so many pages of `write_pages` with each engine."""
    from . import pages

    with tempfile.TemporaryDirectory(prefix="trocr-columns-") as name:
        folder = Path(name, "two columns")
        folder.mkdir()
        write_pages(folder, count)
        return pages.run([folder], engines)


def write_pages(folder: Path, count: int, seed: int = 0) -> None:
    """Write NAME.png and NAME.json of so many pages, no two alike.

    A heading over both columns, two columns of justified text at gutters of GUTTERS; every other
    page has a heading between two pairs of columns, every third a footnote under each column.
    """
    for number in range(count):
        sheet = _Sheet(np.random.default_rng([seed, number]), SIZES[number % len(SIZES)])
        gutter = GUTTERS[number // len(SIZES) % len(GUTTERS)] * sheet.size
        top = MARGIN
        for part in range(1 + number % 2):
            bottom = HEIGHT // 2 if number % 2 and not part else HEIGHT - MARGIN
            heading = f"Chapter {number + 1} of the {part + 1} Report"
            length = ImageFont.load_default(2 * sheet.size).getlength(heading)
            sheet.put((WIDTH - length) / 2, top, heading, 2 * sheet.size)
            top = _columns(sheet, top + 3 * sheet.size, bottom, gutter, number % 3 == 0)
        name = f"columns-{number + 1:03d}"
        sheet.image.save(folder / f"{name}.png", dpi=(200, 200))
        data = {"image": f"{name}.png", "width": WIDTH, "height": HEIGHT, "lines": sheet.lines}
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")


def _columns(sheet: _Sheet, top: float, bottom: float, gutter: float, footnotes: bool) -> int:
    """Two columns from `top` to `bottom`; returns where the next heading may stand."""
    width = (WIDTH - 2 * MARGIN - gutter) / 2
    for left in (MARGIN, MARGIN + width + gutter):
        notes = 3 * sheet.pitch if footnotes else 0
        y = sheet.set_text(left, width, top, bottom - 1.5 * notes, sheet.size)
        if footnotes:
            y += 0.7 * sheet.pitch
            pen = ImageDraw.Draw(sheet.image)
            pen.line((left, y, left + 0.4 * width, y), fill=0, width=2)
            sheet.set_text(left, width, y + 0.4 * sheet.pitch, bottom, 0.75 * sheet.size)
    return round(bottom + 2 * sheet.pitch)
