"""Which of the lines that may run up or down a page do so: those that read well that way."""

from __future__ import annotations

from ocrmypdf_trocr_mlx.result import Block, Box, Line, Paragraph, mean_confidence

# A pile of upright characters, turned, reads as something, too, but not so surely.
LEAST_CONFIDENCE = 0.9
LEAST_CHARACTERS = 4


def with_sideways(blocks: list[Block], lines: list[Line]) -> list[Block]:
    """`blocks` with the sideways `lines` that are believed, each a block at the end.

    What was read upright in their place is left out; of two lines in one place the surer stays.
    """
    believed: list[Line] = []
    for line in sorted(filter(_reads_well, lines), key=_confidence, reverse=True):
        if not any(covered(line.box, other.box) for other in believed):
            believed.append(line)
    if not believed:
        return blocks
    boxes = [line.box for line in believed]
    kept = [_without(block, boxes) for block in blocks]
    return [b for b in kept if b.paragraphs] + [Block([Paragraph([line])]) for line in believed]


def _reads_well(line: Line) -> bool:
    characters = sum(map(str.isalnum, line.text))
    return characters >= LEAST_CHARACTERS and _confidence(line) >= LEAST_CONFIDENCE


def _confidence(line: Line) -> float:
    return mean_confidence(line.words) or 0.0


def covered(box: Box, other: Box) -> bool:
    """Is most of the smaller of two boxes in the larger?"""
    width = min(box.right, other.right) - max(box.left, other.left)
    height = min(box.bottom, other.bottom) - max(box.top, other.top)
    smaller = min(box.width * box.height, other.width * other.height)
    return width > 0 and height > 0 and width * height > 0.5 * smaller


def _without(block: Block, boxes: list[Box]) -> Block:
    """The block less its words in some places."""
    paragraphs = []
    for paragraph in block.paragraphs:
        lines = []
        for line in paragraph.lines:
            words = [w for w in line.words if not any(covered(w.box, box) for box in boxes)]
            if words:
                lines.append(Line(words, line.baseline, line.ascent, line.descent))
        if lines:
            paragraphs.append(Paragraph(lines))
    return Block(paragraphs)
