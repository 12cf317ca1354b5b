"""The fonts that lines are rendered in: those of folders the user names, or the system's."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import random
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

from .errors import TrainingError

log = logging.getLogger(__name__)

STYLES = ("print", "type", "hand")
# What a rendered line is in, by share; styles without a font leave theirs to the others.
_SHARES = {"print": 0.67, "type": 0.13, "hand": 0.20}
_SUFFIXES = (".ttf", ".otf")
_SYSTEM = {
    "darwin": ("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    "linux": ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
}
# Names in fonts.json that mean one of STYLES; all others are print.
_STYLE_NAMES = {
    **{"handwriting": "hand", "hand": "hand"},
    **{"typewriter": "type", "type": "type", "dotmatrix": "type"},
}
_HAND = re.compile(r"hand|script|brush|cursive|kalam|caveat", re.I)
_TYPE = re.compile(r"typewriter|courier|mono|prestige|elite", re.I)
# Names of what running text is printed in; fonts that no style is told of are taken for such.
_TEXT_FACES = ("serif", "sans", "print", "")
_SLANTED = re.compile(r"ital|obli|slant", re.I)
# Without these a font is not for text.
_BASIC = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,-")


@dataclass(frozen=True)
class Font:
    """A font file: what it looks like, how often to take it, the characters it has.

    `listed`: its style as fonts.json names it, where there is one.
    """

    path: str
    style: str
    weight: float
    characters: frozenset[str]
    listed: str = ""

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        return _open(self.path, size)

    @property
    def is_upright(self) -> bool:
        """Is it an upright serif or sans, as far as fonts.json and its own name tell?"""
        if self.style != "print" or self.listed not in _TEXT_FACES:
            return False
        return not _SLANTED.search(self.at(20).getname()[1] or "")


# As many as there may be: FreeType maps fonts into memory, and holds no file open.
@functools.lru_cache(maxsize=1024)
def _open(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


class FontSet:
    """Fonts to choose from at random."""

    def __init__(self, fonts: Sequence[Font]):
        self.fonts = fonts
        self._by_style = {s: [f for f in fonts if f.style == s] for s in STYLES}
        self._styles = [s for s in STYLES if self._by_style[s]]
        self._weights = {
            style: list(itertools.accumulate(f.weight for f in members))
            for style, members in self._by_style.items()
        }

    def choose(self, rng: random.Random, text: str) -> Font:
        """A font that has the text's characters if one is found in a few tries."""
        (style,) = rng.choices(self._styles, [_SHARES[s] for s in self._styles])
        fonts, weights = self._by_style[style], self._weights[style]
        wanted = set(text)
        for _ in range(8):
            (font,) = rng.choices(fonts, cum_weights=weights)
            if wanted <= font.characters:
                break
        return font


def load_fonts(folders: Sequence[Path], characters: str) -> FontSet:
    """Fonts in the folders and below, else the system's, as far as they have letters.

    A folder may hold fonts.json: a list of {"file", "style", "weight"}; fonts that it does not
    list are left out.  Raises TrainingError where there is none.
    """
    named = [Path(f) for f in folders]
    for folder in named:
        if not folder.is_dir():
            raise TrainingError(f"{folder}: no such folder of fonts")
    system = _SYSTEM.get(sys.platform, ())
    places = named or [p for p in (Path(s).expanduser() for s in system) if p.is_dir()]
    wanted = frozenset(characters)
    fonts = [font for place in places for font in _read_folder(place, wanted)]
    if not fonts:
        where = ", ".join(map(str, places)) or "the system"
        raise TrainingError(f"{where}: no TrueType or OpenType font with letters: name a folder")
    return FontSet(fonts)


def _read_folder(folder: Path, wanted: frozenset[str]) -> Iterator[Font]:
    listing = folder / "fonts.json"
    if listing.is_file():
        try:
            entries = json.loads(listing.read_text(encoding="utf-8"))
            found = [
                (folder / e["file"], str(e.get("style") or ""), e.get("weight", 1)) for e in entries
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise TrainingError(f"{listing}: not a list of fonts: {e}") from e
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
        found = [(path, _style_of(path), 1.0) for path in files]
    for path, listed, weight in found:
        style = _STYLE_NAMES.get(listed, "print")
        has = _characters(path) & wanted
        if _BASIC & wanted <= has and weight > 0:
            yield Font(str(path), style, float(weight), has | {" "}, listed)


def _style_of(path: Path) -> str:
    if _HAND.search(path.stem):
        return "hand"
    return "type" if _TYPE.search(path.stem) else "print"


def _characters(path: Path) -> frozenset[str]:
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with TTFont(path, lazy=True) as font:
            table = font.getBestCmap() or {}
        ImageFont.truetype(str(path), 20)
    except (TTLibError, OSError, ValueError, KeyError, AssertionError) as e:
        log.warning("%s: not a font that can be used: %s", path, e)
        return frozenset()
    return frozenset(map(chr, table))
