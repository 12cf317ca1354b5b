"""Lines made ready for training: labels encoded, images small, what cannot be used set aside."""

from __future__ import annotations

import collections
import functools
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from .data import FoundUnread, Line, Problem, Unread, read_undecoded
from .errors import TrainingError
from .labels import UnknownCharacters
from .workers import mapped

log = logging.getLogger(__name__)

# Kept twice as high as the bundled model reads: room for augmentation, a few kB a line.
KEPT_HEIGHT = 96
_NAMED = 5


@dataclass(frozen=True)
class Sample:
    """A line in memory: `encoded` is a grey PNG of `height` x `width` pixels."""

    name: str
    text: str
    tokens: tuple[int, ...]
    encoded: bytes
    height: int
    width: int
    page: str = ""
    source: str = ""

    @property
    def pixels(self) -> np.ndarray:
        """uint8 (height, width)."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.encoded, np.uint8), cv2.IMREAD_GRAYSCALE))


@dataclass
class Dataset:
    """Samples to learn from, and the lines that were left out.

    `sources` counts all lines by the source that a manifest names, those not asked for too.
    """

    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sources: collections.Counter[str] = field(default_factory=collections.Counter)

    def summary(self) -> str:
        """How many lines were left out for each reason, with some of their names."""
        reasons = collections.defaultdict(list)
        for problem in self.problems:
            reasons[problem.reason].append(problem.name)
        parts = []
        for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
            more = ", ..." if len(names) > _NAMED else ""
            parts.append(f"{len(names)}: {reason} ({', '.join(names[:_NAMED])}{more})")
        return "; ".join(parts)


@dataclass(frozen=True)
class Limits:
    """What a line must keep to: tokens with start and end, and width in line heights."""

    max_tokens: int
    max_aspect: float | None = None


def load_dataset(
    sources: Sequence[Path],
    encode: Callable[[str], Sequence[int]],
    limits: Limits,
    *,
    only: Iterable[str] = (),
    refuse_bad: bool = False,
    read: Callable[[Path], FoundUnread] = read_undecoded,
    workers: int = 0,
) -> Dataset:
    """Read all lines of the sources; `only` keeps those whose manifest names one of these.
    `workers`: processes that make many lines ready.

    With `refuse_bad` a single line that cannot be used raises TrainingError; else it is set
    aside.  Raises TrainingError where nothing can be used, and for a source in `only` that has
    no line.
    """
    dataset, wanted = Dataset(), frozenset(only)

    def asked_for() -> FoundUnread:
        for found in itertools.chain.from_iterable(map(read, sources)):
            dataset.sources[found.source] += 1
            if not wanted or found.source in wanted:
                yield found

    prepare = functools.partial(_prepare, encode=encode, limits=limits)
    for prepared in mapped(prepare, asked_for(), workers):
        if isinstance(prepared, Sample):
            dataset.samples.append(prepared)
        elif refuse_bad:
            raise TrainingError(f"{prepared}: correct it, or have such lines skipped")
        else:
            dataset.problems.append(prepared)
    names = ", ".join(map(str, sources))
    if missing := wanted - dataset.sources.keys():
        there = ", ".join(sorted(filter(None, dataset.sources))) or "no sources named"
        raise TrainingError(
            f"{names}: no line is of source {', '.join(sorted(missing))}: there are {there}"
        )
    if not dataset.samples:
        raise TrainingError(f"{names}: no line to learn from: {dataset.summary() or 'none found'}")
    if dataset.problems:
        total = len(dataset.samples) + len(dataset.problems)
        log.warning(
            "%s: %d of %d lines left out: %s",
            names,
            len(dataset.problems),
            total,
            dataset.summary(),
        )
    return dataset


def _prepare(
    found: Line | Unread | Problem, encode: Callable[[str], Sequence[int]], limits: Limits
) -> Sample | Problem:
    line = found.line() if isinstance(found, Unread) else found
    if isinstance(line, Problem):
        return line
    try:
        tokens = tuple(encode(line.text))
    except UnknownCharacters as e:
        return Problem(line.name, str(e))
    pixels = _trim(line.pixels)
    if pixels is None:
        return Problem(line.name, "the image is blank")
    if len(tokens) + 2 > limits.max_tokens:
        return Problem(line.name, f"its text has more than {limits.max_tokens - 2} tokens")
    height, width = pixels.shape
    if limits.max_aspect is not None and width > limits.max_aspect * height:
        return Problem(line.name, f"it is wider than {limits.max_aspect:.0f} line heights: cut it")
    if height > KEPT_HEIGHT:
        size = (max(2, round(width * KEPT_HEIGHT / height)), KEPT_HEIGHT)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    height, width = pixels.shape
    return Sample(line.name, line.text, tokens, encoded, height, width, line.page, line.source)


def _trim(pixels: np.ndarray) -> np.ndarray | None:
    """A line without the blank ends that the recogniser does not look at; None if all is blank."""
    from ocrmypdf_trocr_mlx.recognizer.ink import ink_profile
    from ocrmypdf_trocr_mlx.recognizer.split import split_line

    profile = ink_profile(pixels)
    pieces = split_line(profile, max_aspect=pixels.shape[1])
    if not pieces:
        return None
    left, right = pieces[0].left * profile.scale, pieces[-1].right * profile.scale
    return pixels[:, round(left) : max(round(left) + 2, round(right))]


def split(samples: list[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Samples to learn from and to hold out: whole pages where there are enough of them.

    Lines of a page resemble one another: held out with their page, they measure what a new page
    will give.  Raises TrainingError where either part would be empty.
    """
    if not 0 < share < 1:
        raise TrainingError(f"holdout {share}: give a share of the lines between 0 and 1")
    pages = sorted({s.page for s in samples})
    by_page = len(pages) * min(share, 1 - share) >= 1
    random = np.random.default_rng(seed)
    held: set[int] = set()
    if by_page:
        members = collections.defaultdict(list)
        for i, sample in enumerate(samples):
            members[sample.page].append(i)
        for page in random.permutation(len(pages)):
            if len(held) >= share * len(samples):
                break
            held.update(members[pages[page]])
    else:
        count = max(1, round(share * len(samples)))
        held.update(int(i) for i in random.permutation(len(samples))[:count])
    train = [s for i, s in enumerate(samples) if i not in held]
    if not train:
        raise TrainingError(
            f"{len(samples)} lines are too few to hold any out: give more, or others to test on"
        )
    return train, [s for i, s in enumerate(samples) if i in held]
