"""How a text is likely to go on, as far as it is worth checking: as drafted, or over and over."""

from __future__ import annotations

from .draft import Draft

# Tokens that are checked after one that was wrong, beyond as many as were right before it.
_AFTER_ERROR = 4
# So many times in a row nothing of a draft was right: until it is, a text goes on token by token,
# which takes a processor half the time of checking some in vain.
_IN_VAIN = 2
# A rule of dots is drafted as a few.  What a text has repeated, up to so many tokens at a time and
# _LEAST in all, is likely to come again, and so many tokens of it are checked.
_LONGEST, _LEAST, _AGAIN = 8, 4, 16


class Lookahead:
    """What to check next of a text in the making."""

    def __init__(self, draft: list[int]):
        self.draft = Draft(draft)
        self._trusted = len(draft)
        self._in_vain = 0
        self._failed = self._repeats = False
        self._asked: list[int] = []

    def ahead(self, text: list[int], most: int) -> list[int]:
        """The tokens to check after all that was said: more of what the text repeats, or of the
        draft, if it was wrong not far more than it was right."""
        rest = self.draft.rest
        likely = repeated(text) if self._failed or not rest else []
        self._repeats = bool(likely)
        if not likely and self._in_vain < _IN_VAIN:
            likely = rest[: self._trusted]
        self._asked = likely[:most]
        return self._asked

    def say(self, tokens: list[int]) -> None:
        """The decoder's text goes on with these: what was ahead, or less, and a last one."""
        if not self._repeats:
            self._judge(tokens)
        self.draft.say(tokens)

    def _judge(self, said: list[int]) -> None:
        """How good the draft is, now that this was said."""
        right = len(said) - 1
        if self._asked:
            self._failed = right < len(self._asked)
            self._in_vain = 0 if right else self._in_vain + 1
            self._trusted = right + _AFTER_ERROR if self._failed else 2 * self._trusted
        elif self.draft.rest[:1] == said:
            self._in_vain, self._trusted = 0, _AFTER_ERROR


def repeated(text: list[int]) -> list[int]:
    """What comes next if a text goes on repeating itself; nothing if it does not."""
    for period in range(1, _LONGEST + 1):
        length = max(_LEAST, 2 * period)
        end = text[-length:]
        if len(end) == length and end[period:] == end[:-period]:
            return (end[-period:] * _AGAIN)[:_AGAIN]
    return []
