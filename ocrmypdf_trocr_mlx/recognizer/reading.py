"""What the recogniser gives for one line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadCharacter:
    """A character, its ink's columns [left, right) in pixels of the crop, its confidence 0 to 1."""

    text: str
    left: float
    right: float
    confidence: float


@dataclass(frozen=True)
class ReadWord:
    """A word, its ink's columns [left, right) in pixels of the crop, its confidence 0 to 1.

    `characters` are those of `text`, where they were asked for; their columns grow from left to
    right and do not overlap.
    """

    text: str
    left: float
    right: float
    confidence: float
    characters: tuple[ReadCharacter, ...] = ()

    def joined(self, rest: ReadWord, confidence: float) -> ReadWord:
        """The word of which this is the first part, `rest` the other."""
        left, right = min(self.left, rest.left), max(self.right, rest.right)
        characters = self.characters + rest.characters
        return ReadWord(self.text + rest.text, left, right, confidence, characters)

    def part(self, start: int, end: int, left: float, right: float) -> ReadWord:
        """The word's characters `start` to `end`, in columns [left, right)."""
        text, characters = self.text[start:end], self.characters[start:end]
        return ReadWord(text, left, right, self.confidence, characters)


@dataclass(frozen=True)
class Reading:
    """The words of a line from left to right; none where the crop is blank."""

    words: tuple[ReadWord, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)
