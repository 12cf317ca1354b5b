"""The characters that a model trained from nothing reads unless told otherwise."""

from __future__ import annotations

# Latin letters of 25 European languages, and the signs that stand with them.
_LATIN_1 = "".join(chr(c) for c in range(0xA1, 0x100) if c != 0xAD)
_EXTENDED = "".join(chr(c) for c in range(0x100, 0x180) if c not in (0x13F, 0x140, 0x149))
_SIGNS = "‘’“”„‚–—…•†‡€₤№‹›←→✓≤≥≠≈∞ẞșțȘȚ™"

CHARACTERS = "".join(chr(c) for c in range(0x20, 0x7F)) + _LATIN_1 + _EXTENDED + _SIGNS
