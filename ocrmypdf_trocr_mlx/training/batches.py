"""Batches by their number: batch i is the same whoever makes it and whenever.

That makes resuming exact and worker processes free of order: training that stopped after batch
i goes on with batch i + 1.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.checkpoints.images import PAPER, READ_WIDTHS, ImageProcessor

from .augment import augment
from .dataset import Sample
from .workers import pool_for

# Lines that are not to be learned from, and rows that only fill a batch up.
IGNORED = -1
# An x right of every image: where characters begin that a text has not.
BEYOND = math.inf
# Widths of images, in 24ths: fewer of them are fewer compilations.
THIRDS = (8, 16, 24)
# Share of batches that are padded further than they must be: padding tells nothing of the text.
_WIDER = 0.15
# Token sequences are padded to multiples of this: few shapes, few compilations.
_TOKEN_STEP = 16


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 (B, h, w); `tokens` (B, L) what the decoder is given, `targets` (B, L) what
    it is to say next, IGNORED where nothing.

    `edges` (B, L + 1) float32: x in pixels where each target's character begins and, after it,
    where the last one ends, then BEYOND; NaN all along where that is not known.
    """

    pixels: np.ndarray
    tokens: np.ndarray
    targets: np.ndarray
    edges: np.ndarray


class Fitted(NamedTuple):
    """A line in a model's height: image, tokens, and the edges of its characters if known."""

    pixels: np.ndarray
    tokens: Sequence[int]
    edges: np.ndarray | None = None


class BatchSource(Protocol):
    """Pickled to worker processes."""

    def batch(self, index: int) -> Batch: ...


@dataclass(frozen=True)
class Frame:
    """How lines become arrays for a model: its images, its special tokens, the widths used.

    `parts`: the widths in 24ths of a line model's image; models that stretch have one width.
    `max_tokens`: how many the decoder can be given.  `batch_size` counts lines of full width;
    of narrower ones a batch holds as many pixels.
    """

    processor: ImageProcessor
    start: int
    end: int
    pad: int
    max_tokens: int
    batch_size: int
    parts: tuple[int, ...] = READ_WIDTHS

    @property
    def widths(self) -> list[int]:
        """In pixels, from narrow to wide."""
        return self.processor.widths(self.parts)

    def width_of(self, height: int, width: int) -> int:
        """The least of the widths that holds an image of this size and paper after it."""
        return self.processor.read_width(height, width, self.parts)

    def wider(self, width: int, random: np.random.Generator) -> int:
        """Now and then one of the greater widths, else the same."""
        if random.random() >= _WIDER:
            return width
        return int(random.choice([w for w in self.widths if w >= width]))

    def size_of(self, width: int) -> int:
        """Lines in a batch of this width."""
        return max(1, self.batch_size * self.processor.width // width)

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Resized as the recogniser does it, without padding."""
        size = (self.processor.fitted_width(*pixels.shape), self.processor.height)
        return np.asarray(Image.fromarray(pixels).resize(size, self.processor.resample))

    def assemble(
        self,
        lines: Sequence[Fitted],
        width: int,
        rows: int,
        longest: int,
    ) -> Batch:
        """Fitted images and their tokens in a batch of `rows` x `width`, padded."""
        length = min(math.ceil((longest + 1) / _TOKEN_STEP) * _TOKEN_STEP, self.max_tokens)
        pixels = np.full((rows, self.processor.height, width), PAPER, np.uint8)
        tokens = np.full((rows, length), self.pad, np.int32)
        targets = np.full((rows, length), IGNORED, np.int32)
        edges = np.full((rows, length + 1), np.nan, np.float32)
        for row, (image, ids, places) in enumerate(lines):
            pixels[row, :, : image.shape[1]] = image
            tokens[row, 0] = self.start
            tokens[row, 1 : len(ids) + 1] = ids
            targets[row, : len(ids)] = ids
            targets[row, len(ids)] = self.end
            if places is not None:
                edges[row] = BEYOND
                edges[row, : len(ids) + bool(ids)] = places[: len(ids) + bool(ids)]
        return Batch(pixels, tokens, targets, edges)


class Epochs:
    """Every sample once an epoch, in another order each, among lines of about its width."""

    def __init__(self, samples: Sequence[Sample], frame: Frame, seed: int, augmented: bool):
        self._samples = list(samples)
        self._frame = frame
        self._seed = seed
        self._augmented = augmented
        self._widths = np.array([frame.width_of(s.height, s.width) for s in self._samples])
        lengths = np.array([len(s.tokens) for s in self._samples])
        # Of lines that may be in a batch of this width: the same every epoch.
        self._longest = {w: int(lengths[self._widths <= w].max()) for w in set(self._widths)}
        self._count = len(self._plan(0))

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self._count

    def batch(self, index: int) -> Batch:
        epoch, number = divmod(index, len(self))
        members = self._plan(epoch)[number]
        width = int(self._widths[members].max())
        rows = min(self._frame.size_of(width), len(self._samples))
        longest = self._longest[width]
        if self._augmented:
            width = self._frame.wider(width, np.random.default_rng((self._seed, epoch, 0, number)))
        lines = [self._line(int(i), epoch, width) for i in members]
        return self._frame.assemble(lines, width, rows, longest)

    def _line(self, i: int, epoch: int, width: int) -> Fitted:
        sample = self._samples[i]
        pixels = sample.pixels
        if self._augmented:
            pixels = augment(pixels, np.random.default_rng((self._seed, epoch, 1, i)))
        fitted = self._frame.fit(pixels)
        if fitted.shape[1] > width:  # stretched: it stays in its batch all the same
            fitted = np.asarray(Image.fromarray(fitted).resize((width, fitted.shape[0])))
        return Fitted(fitted, sample.tokens)

    def _plan(self, epoch: int) -> list[np.ndarray]:
        """The samples of each batch of an epoch."""
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._samples))
        order = order[np.argsort(-self._widths[order], kind="stable")]
        batches = []
        while len(order):
            size = self._frame.size_of(int(self._widths[order[0]]))
            batches.append(order[:size])
            order = order[size:]
        return [batches[i] for i in random.permutation(len(batches))]


@contextlib.contextmanager
def stream(source: BatchSource, first: int, workers: int) -> Iterator[Iterator[Batch]]:
    """Batches from number `first` on, made ahead by worker processes, or here with 0 of them."""
    if workers <= 0:
        yield (source.batch(i) for i in itertools.count(first))
        return
    with pool_for(source.batch, workers) as submit:
        yield _in_order(submit, first, 2 * workers + 2)


def _in_order(submit: Callable[[int], Future[Batch]], first: int, ahead: int) -> Iterator[Batch]:
    waiting: collections.deque[Future[Batch]] = collections.deque()
    for index in itertools.count(first):
        while len(waiting) < ahead:
            waiting.append(submit(index + len(waiting)))
        yield waiting.popleft().result()
