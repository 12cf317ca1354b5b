"""Text that may stand in a file: recognised text without what no reader and no XML can take."""

from __future__ import annotations

import unicodedata

from ocrmypdf_trocr_mlx.result import Block, Character, Line, Page, Paragraph, Word

# Control, format, surrogate, private-use, unassigned: nothing to search for, and XML forbids most.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def printable(text: str) -> str:
    """`text` without characters that have no place in a text layer, spaces made single."""
    kept = "".join(
        " " if c.isspace() else c
        for c in text
        if c.isspace() or unicodedata.category(c) not in _UNPRINTABLE
    )
    return " ".join(kept.split())


def clean(page: Page) -> Page:
    """A copy of `page` with printable text only; what has no text left is dropped."""
    blocks = []
    for block in page.blocks:
        paragraphs = []
        for paragraph in block.paragraphs:
            lines = [line for line in map(_clean_line, paragraph.lines) if line.words]
            if lines:
                paragraphs.append(Paragraph(lines))
        if paragraphs:
            blocks.append(Block(paragraphs))
    return Page(page.width, page.height, blocks)


def _clean_line(line: Line) -> Line:
    words = [Word(printable(w.text), w.box, w.confidence, _clean_characters(w)) for w in line.words]
    return Line([w for w in words if w.text], line.baseline, line.ascent, line.descent)


def _clean_characters(word: Word) -> tuple[Character, ...]:
    return tuple(c for c in word.characters if printable(c.text))
