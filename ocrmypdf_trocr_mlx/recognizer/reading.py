"""What the recogniser gives for one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadWord:
    """A word, its ink's columns [left, right) in pixels of the crop, its confidence 0 to 1."""

    text: str
    left: float
    right: float
    confidence: float


@dataclass(frozen=True)
class Reading:
    """The words of a line from left to right; none where the crop is blank."""

    words: tuple[ReadWord, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)
