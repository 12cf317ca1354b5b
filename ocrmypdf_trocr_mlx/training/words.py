"""Where the words of labelled lines stand, as a model that reads them sees it.

The model is given each label, and where its decoder looks at each token is where that is; the
gaps in the ink do the rest, as for the words of a page.  What it does not recognise is left out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.checkpoints.images import END_MARGIN, PAPER
from ocrmypdf_trocr_mlx.recognizer.align import place_words
from ocrmypdf_trocr_mlx.recognizer.ink import ink_profile

from .batches import Frame
from .dataset import Sample
from .regroup import Place
from .workers import mapped

# Mean log-probability of a label's tokens from which the model is taken to have read this line.
_LEAST_LOGPROB = -0.8
# Words cut narrower than this, in line heights, were not found.
_NARROWEST = 0.05


class Followed(NamedTuple):
    """How a model follows a text that it is given: log-probabilities (T,) of the tokens, and
    where it looked at each, attention (T, columns) over the columns of patches of its image."""

    logprobs: np.ndarray
    attention: np.ndarray


class Follower(Protocol):
    def __call__(self, pixels: np.ndarray, texts: Sequence[Sequence[int]]) -> list[Followed]:
        """Images uint8 (B, h, w), and the tokens of what each says."""


Places = tuple[Place, ...]


class _Recognised(NamedTuple):
    """A line whose label the model reads: the strings of its tokens, how the model follows them,
    and the columns of the model's image that it fills."""

    sample: Sample
    texts: list[str]
    seen: Followed
    width: int


def find_words(
    samples: Sequence[Sample],
    frame: Frame,
    pieces: Callable[[Sequence[int]], list[str]],
    follow: Follower,
    workers: int = 0,
) -> list[Places | None]:
    """The words of each sample, left to right; None where the model does not read the label.

    `pieces` is the tokenizer's: the string that each token is.  `workers`: processes that place
    the words of many samples.
    """
    found: list[Places | None] = [None] * len(samples)
    recognised: list[int] = []

    def lines() -> Iterator[_Recognised]:
        for members, pixels, widths in batches_of(samples, frame):
            followed = follow(pixels, [samples[i].tokens for i in members])
            for i, width, seen in zip(members, widths, followed, strict=True):
                if seen.logprobs.mean() >= _LEAST_LOGPROB:
                    recognised.append(i)
                    yield _Recognised(samples[i], pieces(samples[i].tokens), seen, width)

    place = functools.partial(_place, patch=frame.processor.patch_width)
    for k, places in enumerate(mapped(place, lines(), workers)):
        found[recognised[k]] = places
    return found


def batches_of(
    samples: Sequence[Sample], frame: Frame
) -> Iterator[tuple[list[int], np.ndarray, list[int]]]:
    """All samples, some of a width at a time: which, uint8 (B, h, w), and how wide each is."""
    widths = [frame.width_of(s.height, s.width) for s in samples]
    for width in sorted(set(widths)):
        same = [i for i, w in enumerate(widths) if w == width]
        for k in range(0, len(same), frame.size_of(width)):
            members = same[k : k + frame.size_of(width)]
            images = [_fitted(frame, samples[i].pixels) for i in members]
            pixels = np.full((len(members), frame.processor.height, width), PAPER, np.uint8)
            for row, image in zip(pixels, images, strict=True):
                row[:, : image.shape[1]] = image
            yield members, pixels, [image.shape[1] for image in images]


def _fitted(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """In the model's height; a line that is too long is squeezed, with paper after it."""
    fitted = frame.fit(pixels)
    widest = frame.processor.width - END_MARGIN
    if fitted.shape[1] <= widest:
        return fitted
    return np.asarray(Image.fromarray(fitted).resize((widest, fitted.shape[0])))


def _place(line: _Recognised, patch: int) -> Places | None:
    """The words of a line, if all of them are found; `patch` is as wide in pixels."""
    sample, texts, seen, width = line
    profile = ink_profile(sample.pixels)
    attention = seen.attention[:, : -(-width // patch)]
    column = patch / width * len(profile.columns)
    words = place_words(texts, seen.logprobs.tolist(), attention, column, profile)
    places = tuple(Place(w.text, w.left * profile.scale, w.right * profile.scale) for w in words)
    whole = [p.text for p in places] == sample.text.split()
    wide = all(p.right - p.left > _NARROWEST * sample.height for p in places)
    apart = all(a.right <= b.left for a, b in itertools.pairwise(places))
    return places if whole and wide and apart else None
