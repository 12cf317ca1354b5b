"""What of a text is checked next: drafts as far as they are good, and what repeats itself."""

from __future__ import annotations

import pytest

from ocrmypdf_trocr_mlx.model.lookahead import Lookahead, repeated


class Text:
    """Says what it is told, and what it would be checked for next."""

    def __init__(self, draft: list[int]) -> None:
        self._lookahead, self._said = Lookahead(draft), list[int]()

    @property
    def rest(self) -> list[int]:
        return self._lookahead.draft.rest

    def ahead(self, most: int) -> list[int]:
        return self._lookahead.ahead(self._said, most)

    def say(self, tokens: list[int]) -> None:
        self._lookahead.say(tokens)
        self._said += tokens


def test_a_draft_that_was_wrong_is_trusted_less() -> None:
    text = Text(list(range(10, 40)))
    assert text.ahead(100) == list(range(10, 40)) and text.ahead(5) == list(range(10, 15))
    text.ahead(100)
    text.say([10, 11, 99])  # two right, one wrong
    assert text.ahead(100) == list(range(13, 19))
    text.say([*range(13, 19), 19])  # all right
    assert text.ahead(100) == list(range(20, 32))


def test_a_draft_in_which_nothing_is_right_is_left_until_something_is() -> None:
    text = Text(list(range(10, 40)))
    for wrong in (90, 91):
        assert text.ahead(100)
        text.say([wrong])
    assert text.ahead(100) == []
    text.say([92])
    assert text.ahead(100) == []
    text.say(text.rest[:1])
    assert text.ahead(100) == text.rest[:4] != []


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Total ....", "................"),
        ("Total ...", ""),
        ("-- -- ", "-- -- -- -- -- -"),
        ("the the", ""),
        ("the the ", "the the the the "),
        ("bananas", ""),
        ("12345678 12345678 ", ""),  # longer than is looked for
        ("", ""),
    ],
)
def test_what_repeats_itself_is_likely_to_come_again(text: str, more: str) -> None:
    assert "".join(map(chr, repeated([ord(c) for c in text]))) == more


def test_a_text_that_repeats_itself_is_checked_further_than_it_was_drafted() -> None:
    text = Text([7, 1, 1])
    text.ahead(100)
    text.say([7, 1, 1, 1])  # one more than was drafted
    assert text.ahead(100) == []
    text.say([1])
    assert text.ahead(100) == [1] * 16 and text.ahead(5) == [1] * 5
    text.say([1, 1, 1, 1, 1, 2])
    assert text.ahead(100) == []


def test_a_draft_that_is_right_is_followed_where_it_repeats_itself() -> None:
    text = Text([1, 1, 1, 1, 2, 3])
    text.ahead(4)
    text.say([1, 1, 1, 1, 2])
    assert text.ahead(100) == [3]
