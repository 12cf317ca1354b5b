"""What rendered lines say: running text of the user's, and what stands in forms and receipts.

A tab in a text is a wide gap; the label has a space there.
"""

from __future__ import annotations

import itertools
import random
import re
import string
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import TrainingError

_RUNNING = 0.55
_SNIPPET = 900


def _items(text: str) -> list[str]:
    return text.split("|")


_MONTHS = _items(
    "January|February|March|April|May|June|July|August|September|October|November|December|"
    "janvier|février|mars|avril|juin|août|décembre|März|Mai|Juni|Oktober|Dezember|enero|marzo"
)
_LABELS = _items(
    "Name|Address|City|Date|Signature|Subject|To|From|Re|Telephone|Fax|Amount|Account No.|"
    "Invoice No.|Order No.|Customer|Reference|Page|Total|Subtotal|Tax|VAT|Cash|Change|Qty|"
    "Description|Unit Price|Remarks|Datum|Betreff|Nom|Prénom|Objet|Fecha|Nombre|Telefon|Straße"
)
_UNITS = _items("kg|g|mg|lb|oz|m|cm|mm|km|in|ft|ml|L|°C|°F|%|kW|V|A|Hz|m²|km²|N°|mph|km/h|ppm|MB")
_CURRENCIES = ("$", "£", "€", "RM ", "USD ", "EUR ", "Fr. ", "kr ", "")
_QUOTES = ('"%s"', "“%s”", "‘%s’", "(%s)", "[%s]", "«%s»", "„%s“", "'%s'", "*%s*", "%s;", "%s:")
_BULLETS = ("•", "-", "–", "·", "*", "—", "»")
_DIGITS = string.digits


class Texts:
    """Draws lines of text; the files are read once, and held."""

    def __init__(self, corpora: Sequence[str], characters: str):
        self._characters = frozenset(characters) | {"\t"}
        self._rare = [c for c in characters if not c.isascii()]
        self._corpora = [c for c in corpora if c.strip()]
        # Large files more often, but not in proportion: they are of different languages.
        self._weights = list(itertools.accumulate(len(c) ** 0.5 for c in self._corpora))
        self._kinds: list[Callable[[random.Random], str]] = [
            *2 * [self._receipt],
            *2 * [self._field],
            *2 * [self._table],
            *2 * [self._words],
            *2 * [self._capitals],
            self._heading,
            self._leader,
            self._quoted,
            self._bullet,
            self._single,
            self._sprinkled,
            self._address,
            _date,
            _money,
            _number,
            _phone,
            _code,
            _measure,
        ]

    def draw(self, rng: random.Random) -> str:
        """A text, longer or shorter than a line, of the known characters alone."""
        while True:
            if rng.random() < _RUNNING:
                text = self.running(rng)
            else:
                text = rng.choice(self._kinds)(rng)
                if rng.random() < 0.2:
                    text += rng.choice(("\t", " ", ", ")) + self.draw(rng)
            if not self._characters.issuperset(text):
                words = re.split(r"( |\t)", text)
                text = "".join(filter(self._characters.issuperset, words))
            if "\t" in text:
                text = re.sub(r"\s*\t\s*", "\t", text)
            text = text.strip()
            if text:
                return text

    def running(self, rng: random.Random) -> str:
        """From the beginning of some word, not beyond the end of the paragraph."""
        (corpus,) = rng.choices(self._corpora, cum_weights=self._weights)
        start = rng.randrange(len(corpus))
        part = corpus[start : start + _SNIPPET]
        begin = part.find("\n" if rng.random() < 0.2 and "\n" in part[:-60] else " ") + 1
        line = part[begin:].split("\n", 1)[0]
        words = line.split()
        return " ".join(words[:-1]) if len(words) > 2 else line.strip()

    def _some(self, rng: random.Random, low: int, high: int) -> list[str]:
        words = self.running(rng).split()
        return words[: rng.randint(low, high)] or ["the"]

    def _words(self, rng: random.Random) -> str:
        return " ".join(self._some(rng, 1, 4))

    def _capitals(self, rng: random.Random) -> str:
        words = self._some(rng, 1, 9)
        return " ".join(words).upper() if rng.random() < 0.6 else " ".join(words).title()

    def _heading(self, rng: random.Random) -> str:
        number = rng.choice(
            (
                f"{rng.randint(1, 30)}.",
                f"{rng.randint(1, 9)}.{rng.randint(1, 9)}",
                f"§ {rng.randint(1, 300)}",
                rng.choice(("I.", "IV.", "XII.", "A.")),
                f"({rng.choice('abcdef')})",
                f"Fig. {rng.randint(1, 40)}.",
            )
        )
        return f"{number} {' '.join(self._some(rng, 1, 7))}"

    def _leader(self, rng: random.Random) -> str:
        dots = rng.choice((".", ". ", "…")) * rng.randint(3, 24)
        return f"{' '.join(self._some(rng, 1, 5))} {dots.strip()} {rng.randint(1, 480)}"

    def _quoted(self, rng: random.Random) -> str:
        words = self._some(rng, 2, 12)
        i = rng.randrange(len(words))
        words[i] = rng.choice(_QUOTES) % words[i]
        return " ".join(words)

    def _bullet(self, rng: random.Random) -> str:
        return f"{rng.choice(_BULLETS)} {self.running(rng)}"

    def _single(self, rng: random.Random) -> str:
        return rng.choice(string.ascii_letters + 3 * _DIGITS + "$%&#*@?!+=")

    def _sprinkled(self, rng: random.Random) -> str:
        """Words with characters in them that running text hardly ever has."""
        words = self._some(rng, 1, 10)
        for _ in range(rng.randint(1, 3)):
            i = rng.randrange(len(words))
            if not self._rare:
                break
            character = rng.choice(self._rare)
            at = rng.randint(0, len(words[i])) if character.isalpha() else len(words[i])
            words[i] = words[i][:at] + character + words[i][at:]
        return " ".join(words)

    def _address(self, rng: random.Random) -> str:
        name = self._some(rng, 1, 1)[0].title()
        street = rng.choice(("Street", "St.", "Ave.", "Road", "Lane", "straße", "Blvd", "Place"))
        return f"{rng.randint(1, 999)} {name} {street}, {_digits(rng, 5)} {name}"

    def _field(self, rng: random.Random) -> str:
        label = rng.choice(_LABELS)
        label = label.upper() if rng.random() < 0.3 else label
        return label + rng.choice((": ", ":", " : ", ":\t", "\t")) + self._value(rng)

    def _value(self, rng: random.Random) -> str:
        kinds = (_date, _money, _number, _phone, _code, self._words, self._address)
        return rng.choice(kinds)(rng)

    def _receipt(self, rng: random.Random) -> str:
        item = " ".join(self._some(rng, 1, 4))
        item = item.upper() if rng.random() < 0.7 else item
        columns = [item, *(_money(rng) for _ in range(rng.randint(1, 3)))]
        if rng.random() < 0.3:
            columns.insert(rng.randint(0, 1), str(rng.randint(1, 12)))
        return "\t".join(columns)

    def _table(self, rng: random.Random) -> str:
        cell = rng.choice((_money, _number, _measure, _code, self._words))
        return "\t".join(cell(rng) for _ in range(rng.randint(2, 6)))


def read_corpora(folders: Sequence[Path]) -> list[str]:
    """The .txt files of folders, or such files; raises TrainingError where there is no text."""
    corpora = []
    for place in folders:
        files = sorted(place.rglob("*.txt")) if place.is_dir() else [place]
        for path in files:
            try:
                corpora.append(path.read_text(encoding="utf-8-sig"))
            except (OSError, UnicodeDecodeError) as e:
                raise TrainingError(f"{path}: not a text in UTF-8: {e}") from e
    if not any(c.strip() for c in corpora):
        raise TrainingError(f"{', '.join(map(str, folders))}: no text in .txt files")
    return corpora


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(_DIGITS) for _ in range(count))


def _number(rng: random.Random) -> str:
    number = str(rng.randrange(10 ** rng.randint(1, 6)))
    return rng.choice(
        (
            number,
            number,
            f"{number}.{_digits(rng, 1)}",
            f"{number},{_digits(rng, 2)}",
            f"{number}%",
            f"({number})",
            f"-{number}",
            f"No. {number}",
        )
    )


def _money(rng: random.Random) -> str:
    whole = rng.randrange(10 ** rng.randint(1, 6))
    amount = rng.choice(
        (f"{whole}.{_digits(rng, 2)}", f"{whole:,}.{_digits(rng, 2)}", f"{whole},{_digits(rng, 2)}")
    )
    return rng.choice(_CURRENCIES) + amount if rng.random() < 0.5 else amount


def _date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 31), rng.randint(1, 12), rng.randint(1840, 2029)
    name = rng.choice(_MONTHS)
    return rng.choice(
        (
            f"{day:02}/{month:02}/{year}",
            f"{day}.{month}.{year}",
            f"{name} {day}, {year}",
            f"{day} {name} {year}",
            f"{year}-{month:02}-{day:02}",
            f"{day:02}-{name[:3].upper()}-{year % 100:02}",
            f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}",
        )
    )


def _phone(rng: random.Random) -> str:
    three, four = _digits(rng, 3), _digits(rng, 4)
    return rng.choice(
        (
            f"({three}) {three}-{four}",
            f"+{_digits(rng, 2)} {three} {four}",
            f"0{three}/{four}{three}",
            f"{three}-{three}-{four}",
        )
    )


def _code(rng: random.Random) -> str:
    alphabet = rng.choice((string.ascii_uppercase + _DIGITS, _DIGITS, string.ascii_letters))
    code = "".join(rng.choice(alphabet) for _ in range(rng.randint(3, 12)))
    at = rng.randrange(len(code))
    return code[:at] + rng.choice(("", "", "-", "/", ".", "_", "@", "#")) + code[at:]


def _measure(rng: random.Random) -> str:
    number = f"{rng.randrange(1000)}" + rng.choice(("", f".{_digits(rng, 1)}"))
    return rng.choice(
        (
            f"{number} {rng.choice(_UNITS)}",
            f"{number} ± {rng.randint(1, 9)}",
            f"{number} × {rng.randint(1, 99)}",
            f"{number}–{rng.randint(1000, 1999)}",
        )
    )
