"""What reading a page gives: Page > Block > Paragraph > Line > Word, > Character if asked for.

All coordinates are pixels of the image that was read, origin at the top left, y downwards.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from ocrmypdf_trocr_mlx.hyphens import flowing

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Box:
    """Axis-aligned box in pixels; right and bottom are exclusive."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


def union(boxes: list[Box]) -> Box:
    """The least box that holds all of `boxes` (at least one)."""
    return Box(
        min(b.left for b in boxes),
        min(b.top for b in boxes),
        max(b.right for b in boxes),
        max(b.bottom for b in boxes),
    )


@dataclass
class Character:
    """One character of a word: its text, the box of its ink, and the confidence, 0 to 1."""

    text: str
    box: Box
    confidence: float


@dataclass
class Word:
    """One word: its text, the box of its ink, and the model's confidence, 0 to 1.

    `characters` are those of the text, in order, where they were asked for.
    """

    text: str
    box: Box
    confidence: float
    characters: tuple[Character, ...] = ()


@dataclass
class Line:
    """A text line, its words from left to right as read.

    `baseline` is the line under the letters, in page pixels: its left and its right end, and of a
    bent one, as on a page that does not lie flat, more points between them; for sideways text it
    runs up or down the page.  `ascent` and `descent` are the distances from it to the top and the
    bottom of the letters.
    """

    words: list[Word]
    baseline: tuple[tuple[float, float], ...]
    ascent: float
    descent: float

    @property
    def text(self) -> str:
        return " ".join(w.text for w in self.words)

    @property
    def box(self) -> Box:
        return union([w.box for w in self.words])

    @property
    def angle(self) -> float:
        """Direction of reading, from end to end, in radians, counter-clockwise, 0 for upright."""
        (x0, y0), *_, (x1, y1) = self.baseline
        return math.atan2(y0 - y1, x1 - x0)


@dataclass
class Paragraph:
    """Lines that belong together, in reading order."""

    lines: list[Line]

    @property
    def box(self) -> Box:
        return union([line.box for line in self.lines])


@dataclass
class Block:
    """A column of paragraphs, a table, a caption: what is read before going elsewhere."""

    paragraphs: list[Paragraph]

    @property
    def box(self) -> Box:
        return union([p.box for p in self.paragraphs])


@dataclass
class Page:
    """A page that was read; `blocks` are in reading order and never empty inside.

    `image` is what was read, where it was kept for looking at; it is no part of the result.
    """

    width: int
    height: int
    blocks: list[Block] = field(default_factory=list)
    image: Image.Image | None = field(default=None, repr=False, compare=False)

    @property
    def lines(self) -> Iterator[Line]:
        return (line for b in self.blocks for p in b.paragraphs for line in p.lines)

    @property
    def words(self) -> Iterator[Word]:
        return (word for line in self.lines for word in line.words)

    @property
    def text(self) -> str:
        """Plain text: a line each, an empty line between paragraphs."""
        paragraphs = (p for b in self.blocks for p in b.paragraphs)
        return "\n\n".join("\n".join(line.text for line in p.lines) for p in paragraphs)

    @property
    def flowing_text(self) -> str:
        """Plain text: a line for each paragraph, words parted at line ends put together."""
        paragraphs = (p for b in self.blocks for p in b.paragraphs)
        return flowing([[line.text for line in p.lines] for p in paragraphs])

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists, ready for json."""
        blocks = [asdict(block, dict_factory=_without_characters) for block in self.blocks]
        return {"width": self.width, "height": self.height, "blocks": blocks}

    def to_hocr(self, dpi: float = 300.0) -> str:
        """The page as an hOCR document."""
        return self._written("hocr", dpi)

    def to_alto(self) -> str:
        """The page as an ALTO 4 document, in pixels."""
        return self._written("alto")

    def to_page_xml(self) -> str:
        """The page as a PAGE XML document (2019-07-15)."""
        return self._written("page")

    def _written(self, format: str, dpi: float = 300.0) -> str:
        from ocrmypdf_trocr_mlx.formats import WRITERS, Sheet

        return "".join(WRITERS[format].write([Sheet(self, dpi=dpi)]))

    def _repr_html_(self) -> str:
        """In a notebook: the picture with what was read, or the text where no image was kept."""
        if self.image is None:
            return f"<pre>{escape(self.text)}</pre>"
        from ocrmypdf_trocr_mlx import overlay

        png = io.BytesIO()
        overlay.draw(self.image, self).save(png, "PNG")
        data = base64.b64encode(png.getvalue()).decode("ascii")
        return f'<img alt="{escape(self.text)}" src="data:image/png;base64,{data}">'


def _without_characters(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a dataclass; a word's characters only where there are any."""
    return {name: value for name, value in items if name != "characters" or value}


class _Read(Protocol):
    """A word of a page or of a line."""

    @property
    def text(self) -> str: ...

    @property
    def confidence(self) -> float: ...


def mean_confidence(words: Sequence[_Read]) -> float | None:
    """Confidence of a text: its words', each as often as it has characters; None of nothing."""
    length = sum(len(word.text) for word in words)
    return sum(word.confidence * len(word.text) for word in words) / length if length else None
