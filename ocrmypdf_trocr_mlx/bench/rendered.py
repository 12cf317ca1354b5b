"""What any scan is harder than: clean print, and crops that say nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE, is_doubtful, without_rules
from ocrmypdf_trocr_mlx.recognizer import Recognizer
from ocrmypdf_trocr_mlx.training.blanks import Blanks
from ocrmypdf_trocr_mlx.training.charset import CHARACTERS
from ocrmypdf_trocr_mlx.training.data import Line, clean_text
from ocrmypdf_trocr_mlx.training.fonts import Font, FontSet, load_fonts
from ocrmypdf_trocr_mlx.training.paper import Paper
from ocrmypdf_trocr_mlx.training.texts import Texts, read_corpora

from .report import percent

BLANK_HEADERS = ("crops", "with text", "%", "kept", "%")

DPI = 300
_POINTS = (10.0, 12.0)
_INCHES = (3.0, 6.5)  # from a column's width to a page's
_MARGIN = 0.15  # around the ink, of the font's size
_ASPECTS = (0.8, 20.0)  # of crops, from a letter's to a line's
# The last lines of paragraphs may be short; a line of a word or two is drawn again, a few times.
_LEAST_FILL, _TRIES = 0.5, 20


@dataclass
class BlankScore:
    """Crops that hold no text, those with any text read, and those whose text a page keeps."""

    crops: int = 0
    with_text: int = 0
    kept: int = 0

    def row(self) -> list[str]:
        """Under BLANK_HEADERS."""
        figures = [(str(n), percent(n / max(1, self.crops))) for n in (self.with_text, self.kept)]
        return [str(self.crops), *itertools.chain(*figures)]


def clean_lines(
    fonts: Sequence[Path], texts: Sequence[Path], count: int, seed: int
) -> Iterator[Line]:
    """Lines of running text in upright print, 10 to 12 points at 300 dpi, black on white.

    Line i is drawn from the seed and i alone.  Raises ValueError, one line, where the folders do
    not hold what it takes.
    """
    faces = FontSet([f for f in load_fonts(fonts, CHARACTERS).fonts if f.is_upright])
    if not faces.fonts:
        raise ValueError("none of the fonts is an upright serif or sans")
    corpus = Texts(read_corpora(texts), CHARACTERS)
    for i in range(count):
        rng = random.Random(f"clean print {seed} {i}")
        font, size, text = _text(rng, faces, corpus)
        yield Line(f"line {i + 1}", text, _set(font, size, text), source="clean print")


def _text(rng: random.Random, fonts: FontSet, texts: Texts) -> tuple[Font, int, str]:
    """A font, its size in pixels, and a text for a line in it: words that it has letters for."""
    size = round(rng.uniform(*_POINTS) * DPI / 72)
    room = rng.uniform(*_INCHES) * DPI
    best, most = None, 0.0
    for _ in range(_TRIES):
        running = clean_text(texts.running(rng))
        font = fonts.choose(rng, running)
        words: list[str] = []
        for word in filter(font.characters.issuperset, running.split()):
            if font.at(size).getlength(" ".join([*words, word])) > room:
                break
            words.append(word)
        text = " ".join(words)
        width = font.at(size).getlength(text)
        if width > most:
            best, most = (font, size, text), width
        if most > _LEAST_FILL * room:
            break
    if best is None:
        raise ValueError("the texts have no words that the fonts have letters for")
    return best


def _set(font: Font, size: int, text: str) -> np.ndarray:
    face, margin = font.at(size), round(_MARGIN * size)
    left, top, right, bottom = face.getbbox(text, anchor="ls")
    width, height = (int(np.ceil(v)) + 2 * margin for v in (right - left, bottom - top))
    image = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(image)
    pen.text((margin - left, margin - top), text, font=face, fill=0, anchor="ls")
    return np.asarray(image)


def score_blanks(recognizer: Recognizer, count: int, seed: int) -> BlankScore:
    """Read crops of the kinds that training draws, but none that it drew, and count what is said.

    Kept is what is not doubted, the letters being as large as all others of the page.
    """
    drawer, score = Blanks(Paper()), BlankScore()
    waiting = []
    for i in range(count):
        rng = random.Random(f"blank {seed} {i}")  # training's are f"{seed}/{i}"
        waiting.append(recognizer.submit(drawer.draw(rng, rng.uniform(*_ASPECTS))))
    for future in waiting:
        reading = future.result()
        score.crops += 1
        score.with_text += bool(reading.words)
        score.kept += not is_doubtful(without_rules(reading), 1, 1, DEFAULT_MIN_CONFIDENCE)
    return score
