"""Batches by their number: batch i is the same whoever makes it and whenever.

That makes resuming exact and worker processes free of order: training that stopped after batch
i goes on with batch i + 1.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import math
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.checkpoints.images import PAPER, ImageProcessor

from .augment import augment
from .dataset import Sample

# Lines that are not to be learned from, and rows that only fill a batch up.
IGNORED = -1
# Token sequences are padded to multiples of this: few shapes, few compilations.
_TOKEN_STEP = 16


@dataclass(frozen=True)
class Batch:
    """`pixels` uint8 (B, h, w); `tokens` (B, L) what the decoder is given, `targets` (B, L) what
    it is to say next, IGNORED where nothing."""

    pixels: np.ndarray
    tokens: np.ndarray
    targets: np.ndarray


class BatchSource(Protocol):
    """Pickled to worker processes."""

    def batch(self, index: int) -> Batch: ...


@dataclass(frozen=True)
class Frame:
    """How lines become arrays for a model: its images, its special tokens, the widths used.

    `max_tokens`: how many the decoder can be given.  `batch_size` counts lines of full width;
    of narrower ones a batch holds as many pixels.
    """

    processor: ImageProcessor
    start: int
    end: int
    pad: int
    max_tokens: int
    batch_size: int

    @property
    def widths(self) -> list[int]:
        """Thirds of a line model's image; models that stretch have one width."""
        full, step = self.processor.width, self.processor.patch_width
        if not self.processor.pad_to_aspect:
            return [full]
        return sorted({math.ceil(full * n / 3 / step) * step for n in (1, 2, 3)})

    def width_of(self, height: int, width: int) -> int:
        """The least of the widths that holds an image of this size."""
        fitted = self.processor.fitted_width(height, width)
        return next(w for w in self.widths if w >= fitted)

    def size_of(self, width: int) -> int:
        """Lines in a batch of this width."""
        return max(1, self.batch_size * self.processor.width // width)

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Resized as the recogniser does it, without padding."""
        size = (self.processor.fitted_width(*pixels.shape), self.processor.height)
        return np.asarray(Image.fromarray(pixels).resize(size, self.processor.resample))

    def assemble(
        self,
        lines: Sequence[tuple[np.ndarray, Sequence[int]]],
        width: int,
        rows: int,
        longest: int,
    ) -> Batch:
        """Fitted images and their tokens in a batch of `rows` x `width`, padded."""
        length = min(math.ceil((longest + 1) / _TOKEN_STEP) * _TOKEN_STEP, self.max_tokens)
        pixels = np.full((rows, self.processor.height, width), PAPER, np.uint8)
        tokens = np.full((rows, length), self.pad, np.int32)
        targets = np.full((rows, length), IGNORED, np.int32)
        for row, (image, ids) in enumerate(lines):
            pixels[row, :, : image.shape[1]] = image
            tokens[row, 0] = self.start
            tokens[row, 1 : len(ids) + 1] = ids
            targets[row, : len(ids)] = ids
            targets[row, len(ids)] = self.end
        return Batch(pixels, tokens, targets)


class Epochs:
    """Every sample once an epoch, in another order each, among lines of about its width."""

    def __init__(self, samples: Sequence[Sample], frame: Frame, seed: int, augmented: bool):
        self._samples = list(samples)
        self._frame = frame
        self._seed = seed
        self._augmented = augmented
        self._groups: dict[int, list[int]] = collections.defaultdict(list)
        for i, sample in enumerate(self._samples):
            self._groups[frame.width_of(sample.height, sample.width)].append(i)
        self._longest = {
            width: max(len(self._samples[i].tokens) for i in members)
            for width, members in self._groups.items()
        }

    def __len__(self) -> int:
        """Batches in an epoch."""
        return sum(math.ceil(len(g) / self._frame.size_of(w)) for w, g in self._groups.items())

    def batch(self, index: int) -> Batch:
        epoch, number = divmod(index, len(self))
        width, members = self._plan(epoch)[number]
        lines = []
        for i in members:
            sample = self._samples[i]
            pixels = sample.pixels
            if self._augmented:
                pixels = augment(pixels, np.random.default_rng((self._seed, epoch, i)))
            # Widened or not, it stays in its batch: at most it is squeezed a little.
            fitted = self._frame.fit(pixels)
            if fitted.shape[1] > width:
                fitted = np.asarray(Image.fromarray(fitted).resize((width, fitted.shape[0])))
            lines.append((fitted, sample.tokens))
        rows = min(self._frame.size_of(width), len(self._groups[width]))
        return self._frame.assemble(lines, width, rows, self._longest[width])

    def _plan(self, epoch: int) -> list[tuple[int, list[int]]]:
        """(width, samples) of each batch of an epoch."""
        random = np.random.default_rng((self._seed, epoch))
        batches = []
        for width, group in sorted(self._groups.items()):
            order = [group[i] for i in random.permutation(len(group))]
            size = self._frame.size_of(width)
            batches += [(width, order[i : i + size]) for i in range(0, len(order), size)]
        return [batches[i] for i in random.permutation(len(batches))]


_source: BatchSource | None = None


def _begin_worker(source: BatchSource) -> None:
    global _source
    _source = source
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the trainer's business


def _make(index: int) -> Batch:
    assert _source is not None
    return _source.batch(index)


@contextlib.contextmanager
def stream(source: BatchSource, first: int, workers: int) -> Iterator[Iterator[Batch]]:
    """Batches from number `first` on, made ahead by worker processes, or here with 0 of them."""
    if workers <= 0:
        yield (source.batch(i) for i in itertools.count(first))
        return
    # Not forked: a child forked from a process that uses MLX hangs.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin_worker, (source,))
    try:
        yield _in_order(pool, first, 2 * workers + 2)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _in_order(pool: ProcessPoolExecutor, first: int, ahead: int) -> Iterator[Batch]:
    waiting: collections.deque[Future[Batch]] = collections.deque()
    for index in itertools.count(first):
        while len(waiting) < ahead:
            waiting.append(pool.submit(_make, index + len(waiting)))
        yield waiting.popleft().result()
