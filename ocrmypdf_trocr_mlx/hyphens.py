"""Text that flows: the lines of a paragraph as one, words parted at line ends put together."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What a printer or typist parts words with: hyphen-minus, hyphen, not sign, oblique double hyphen.
_HYPHENS = "-‐¬⸗\u00ad"
_PARTED = re.compile(rf"([^\W\d_]+)[{_HYPHENS}]$")
_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")


def flowing(paragraphs: Sequence[Sequence[str]]) -> str:
    """The paragraphs, each given by its lines, a line each, an empty line between them.

    A hyphen at a line's end goes where the next line goes on in lower case, unless the text has
    the word with its hyphen elsewhere and not without; before a capital it stays.
    """
    known = {
        word.casefold()
        for lines in paragraphs
        for line in lines
        for word in _WORD.findall(line.rstrip(_HYPHENS))
    }
    return "\n\n".join(_joined(lines, known) for lines in paragraphs)


def _joined(lines: Sequence[str], known: set[str]) -> str:
    text = ""
    for line in map(str.strip, lines):
        parted = _PARTED.search(text)
        first = _WORD.match(line)
        if not text or not line:
            text += line
        elif parted is None or first is None:
            text += f" {line}"
        elif first[0][0].islower() and not _keeps_hyphen(parted[1], first[0], known):
            text = text[:-1] + line
        else:
            text = f"{text[:-1]}-{line}"
    return text


def _keeps_hyphen(start: str, rest: str, known: set[str]) -> bool:
    """Is the word written with its hyphen elsewhere, and not without?"""
    return f"{start}-{rest}".casefold() in known and (start + rest).casefold() not in known
