"""What reading a page gives: Page > Block > Paragraph > Line > Word.

All coordinates are pixels of the image that was read, origin at the top left, y downwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


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
class Word:
    """One word: its text, the box of its ink, and the model's confidence, 0 to 1."""

    text: str
    box: Box
    confidence: float


@dataclass
class Line:
    """A text line, its words from left to right as read.

    `baseline` is the left and the right end of the straight line under the letters, in page
    pixels; for sideways text it runs up or down the page.  `ascent` and `descent` are the
    distances from it to the top and the bottom of the letters.
    """

    words: list[Word]
    baseline: tuple[tuple[float, float], tuple[float, float]]
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
        """Direction of reading in radians, counter-clockwise, 0 for upright text."""
        (x0, y0), (x1, y1) = self.baseline
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
    """A page that was read; `blocks` are in reading order and never empty inside."""

    width: int
    height: int
    blocks: list[Block] = field(default_factory=list)

    @property
    def lines(self) -> Iterator[Line]:
        return (line for b in self.blocks for p in b.paragraphs for line in p.lines)

    @property
    def text(self) -> str:
        """Plain text: a line each, an empty line between paragraphs."""
        paragraphs = (p for b in self.blocks for p in b.paragraphs)
        return "\n\n".join("\n".join(line.text for line in p.lines) for p in paragraphs)

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries and lists, ready for json."""
        return asdict(self)
