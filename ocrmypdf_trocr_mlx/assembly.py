"""The words of line parts put together: lines, paragraphs and blocks of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocrmypdf_trocr_mlx.initials import with_initials
from ocrmypdf_trocr_mlx.layout import LinePart, PageLayout
from ocrmypdf_trocr_mlx.layout.lines import TextLine
from ocrmypdf_trocr_mlx.result import Block, Line, Paragraph, Word

# Parts of a line from left to right, each with the words read of it.
Row = list[tuple[LinePart, list[Word]]]


def blocks_of(layout: PageLayout, found: Mapping[int, Sequence[Row]]) -> list[Block]:
    """The page's lines of the words `found` in each part, by its id: a row, and rows below it."""
    blocks = []
    for block in layout.blocks:
        paragraphs = []
        for paragraph in block:
            lines = []
            for parts in paragraph:
                rows = [found[id(part)] for part in parts]
                lines += _lines([piece for first, *_ in rows for piece in first], layout)
                for below in (row for _, *more in rows for row in more):
                    lines += _lines(below, layout)
            if lines:
                paragraphs.append(Paragraph(lines))
        if paragraphs:
            blocks.append(Block(paragraphs))
    return blocks


def _lines(row: Row, layout: PageLayout) -> list[Line]:
    """The parts of a row that have words as one line, or as several where their sizes differ."""
    groups: list[Row] = []
    for part, words in with_initials(row):
        if not words:
            continue
        if groups:
            size = groups[-1][-1][0].line.size
            if max(size, part.line.size) < 1.6 * min(size, part.line.size):
                groups[-1].append((part, words))
                continue
        groups.append([(part, words)])
    return [line_of([p.line for p, _ in g], [w for _, ws in g for w in ws], layout) for g in groups]


def line_of(parts: list[TextLine], words: list[Word], layout: PageLayout) -> Line:
    """Parts of a line from left to right, and their words, as a line of the page."""
    points = [point for part in parts for point in part.ends]
    if not any(part.bend for part in parts):
        points = [points[0], points[-1]]
    on_page = np.array([[x, y, 1.0] for x, y in points]) @ layout.to_page.T
    return Line(
        words=words,
        baseline=tuple((x, y) for x, y in on_page.tolist()),
        ascent=max(p.ascent for p in parts),
        descent=max(p.descent for p in parts),
    )
