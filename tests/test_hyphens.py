"""Words parted at line ends, put together in text that flows."""

from __future__ import annotations

import pytest

from ocrmypdf_trocr_mlx.hyphens import flowing
from ocrmypdf_trocr_mlx.result import Block, Box, Line, Page, Paragraph, Word


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a hyphen-", "ated word"], "a hyphenated word"),
        (["Über¬", "gänge, die"], "Übergänge, die"),
        (["the Anglo-", "Saxon king"], "the Anglo-Saxon king"),
        (["in 1942-", "44 and"], "in 1942- 44 and"),  # a number is no word
        (["he said -", "and left"], "he said - and left"),
        (["a well-", "known man, well-known"], "a well-known man, well-known"),
        (["a re-", "turn, the return, re-turn"], "a return, the return, re-turn"),
        (["one", "two"], "one two"),
        (["ends in-"], "ends in-"),
        (["", "after nothing"], "after nothing"),
        ([], ""),
    ],
)
def test_lines_of_a_paragraph(lines: list[str], expected: str) -> None:
    assert flowing([lines]) == expected


def test_words_are_not_put_together_across_paragraphs() -> None:
    assert flowing([["cut off-"], ["the next"]]) == "cut off-\n\nthe next"


def test_a_page_gives_both() -> None:
    def line(*words: str) -> Line:
        return Line([Word(w, Box(0, 0, 9, 9), 1.0) for w in words], ((0, 9), (9, 9)), 9, 0)

    page = Page(100, 100, [Block([Paragraph([line("two", "li-"), line("nes")])])])
    assert page.text == "two li-\nnes"
    assert page.flowing_text == "two lines"
