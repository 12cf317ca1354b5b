"""Which sideways lines are believed."""

from __future__ import annotations

from ocrmypdf_trocr_mlx.result import Block, Box, Line, Paragraph, Word
from ocrmypdf_trocr_mlx.sideways import with_sideways


def block(*lines: Line) -> Block:
    return Block([Paragraph(list(lines))])


def upright(text: str, left: float, top: float) -> Line:
    box = Box(left, top, left + 10 * len(text), top + 20)
    return Line([Word(text, box, 0.9)], ((left, top + 20), (box.right, top + 20)), 20, 0)


def sideways(text: str, confidence: float, up: bool = True) -> Line:
    """At x 500 to 520, y 100 to 200."""
    baseline = ((520.0, 200.0), (520.0, 100.0)) if up else ((500.0, 100.0), (500.0, 200.0))
    return Line([Word(text, Box(500, 100, 520, 200), confidence)], baseline, 20, 0)


def texts(blocks: list[Block]) -> list[str]:
    return [line.text for b in blocks for p in b.paragraphs for line in p.lines]


PAGE = [block(upright("Heading", 10, 10), upright("4", 503, 110)), block(upright("7", 503, 150))]


def test_the_surer_way_is_taken_and_what_was_read_upright_there_left_out() -> None:
    found = with_sideways(PAGE, [sideways("00837285", 0.97), sideways("S8ZLE800", 0.93, up=False)])
    assert texts(found) == ["Heading", "00837285"]
    assert len(found) == 2


def test_unsure_and_short_lines_change_nothing() -> None:
    assert with_sideways(PAGE, [sideways("00837285", 0.8), sideways("— 47", 0.99)]) == PAGE
