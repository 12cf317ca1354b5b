"""A checkpoint at work: images of lines in, their tokens and where each was seen out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx.checkpoints.images import GPU_WIDTHS, PAPER, READ_WIDTHS
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint
from ocrmypdf_trocr_mlx.model.generate import Hypothesis, confirm_together, nothing
from ocrmypdf_trocr_mlx.model.running import mixes, run

from .align import columns_of
from .pieces import Fitting, LineImage, Transcript

# No script of ours has characters narrower than this, in pixels of the model's image.
_LEAST_PITCH = 4


class ReadsImages(Protocol):
    """Images that are being read; what `between` raises ends all."""

    def add(self, images: Sequence[LineImage], between: Callable[[], None]) -> None:
        """Begin with images; they are numbered in the order they come in."""

    def step(self, between: Callable[[], None]) -> list[tuple[int, Transcript]]:
        """Go on with all; those that are done, with their numbers.  There must be some."""

    def __len__(self) -> int:
        """Images that are not done."""


class Transcriber:
    """Reads batches with a checkpoint, of images that its `fitting` made."""

    def __init__(self, checkpoint: Checkpoint, beams: int = 1):
        self._checkpoint = checkpoint
        self._options = dataclasses.replace(
            checkpoint.options, num_beams=beams, keep_attention=True
        )
        on_cpu = mx.default_device() == mx.Device(mx.cpu)
        widths = READ_WIDTHS if on_cpu else GPU_WIDTHS
        self.fitting = Fitting(checkpoint.processor, tuple(widths))

    def __call__(
        self, images: Sequence[LineImage], between: Callable[[], None] = nothing
    ) -> list[Transcript]:
        """Read images, in their order; what `between` raises ends it."""
        return all_of(self.begin(), images, between)

    def begin(self) -> ReadsImages:
        """Ready for images, of one padded width unless it `mixes`."""
        return _Running(self)

    def warm_up(self) -> None:
        """Begin a short text for a blank: a GPU loads and compiles what it is asked for first."""
        width = self.fitting.processor.width
        running = run(self._checkpoint.model, self._options)
        running.add(self._pixels([self.fitting(np.full((1, width), PAPER, np.uint8))]), 3, nothing)
        while running:
            running.step(nothing)

    def confirmed(
        self, images: Sequence[LineImage], between: Callable[[], None] = nothing
    ) -> list[Transcript | None]:
        """As a call, where it `mixes`; None for images whose drafts are not what is read."""
        model, (pixels, lengths) = self._checkpoint.model, self._groups(images)
        read = confirm_together(model, pixels, lengths, self._options, between)
        return [
            None if found is None else self._transcript(found, x.width, x.pixels.shape[1])
            for found, x in zip(read, images, strict=True)
        ]

    def _groups(self, images: Sequence[LineImage]) -> tuple[list[mx.array], list[int]]:
        """Images that follow each other and are equally wide, and how long their texts may be."""
        groups = [list(g) for _, g in itertools.groupby(images, lambda x: x.pixels.shape[1])]
        pixels = [self._pixels(group) for group in groups]
        return pixels, [self._max_length(x.shape[2]) for x in pixels]

    @property
    def mixes(self) -> bool:
        """Whether images of several padded widths are read together as fast as of one."""
        return mixes(self._checkpoint.model, self._options)

    def _max_length(self, width: int) -> int:
        """How many tokens an image can hold, at most."""
        if not self._checkpoint.processor.pad_to_aspect:
            return self._options.max_length
        return min(self._options.max_length, width // _LEAST_PITCH + 16)

    def _pixels(self, images: Sequence[LineImage]) -> mx.array:
        """What the processor makes of images; a GPU is sent bytes and makes numbers of them."""
        processor = self._checkpoint.processor
        levels = mx.array(processor.levels([image.pixels for image in images]))
        channels = [mx.array(processor.values[c])[levels[..., c]] for c in range(levels.shape[-1])]
        return mx.stack(channels, axis=-1)

    def _transcript(self, hypothesis: Hypothesis, width: int, padded_width: int) -> Transcript:
        encoder = self._checkpoint.config.encoder
        patch_width = encoder.patch_size[1]
        grid = (encoder.grid[0], padded_width // patch_width)
        tokens = without_loop(hypothesis.tokens, self._options.eos)
        assert hypothesis.attention is not None
        return Transcript(
            self._checkpoint.tokenizer.pieces(tokens),
            hypothesis.logprobs[: len(tokens)],
            columns_of(
                hypothesis.attention[: len(tokens)],
                encoder.num_prefix_tokens,
                grid,
                -(-width // patch_width),
            ),
            patch_width / width,
            hypothesis.agreement,
        )


class _Running:
    """What a Transcriber has begun: as `model.running.Running`, with its images and texts."""

    def __init__(self, transcriber: Transcriber):
        self._transcriber = transcriber
        self._running = run(transcriber._checkpoint.model, transcriber._options)
        self._images: dict[int, LineImage] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._images)

    def add(self, images: Sequence[LineImage], between: Callable[[], None]) -> None:
        for pixels, length in zip(*self._transcriber._groups(images), strict=True):
            self._running.add(pixels, length, between)
        self._images |= enumerate(images, self._count)
        self._count += len(images)

    def step(self, between: Callable[[], None]) -> list[tuple[int, Transcript]]:
        read = []
        for number, found in self._running.step(between):
            image = self._images.pop(number)
            text = self._transcriber._transcript(found, image.width, image.pixels.shape[1])
            read.append((number, text))
        return read


def all_of(
    reading: ReadsImages, images: Sequence[LineImage], between: Callable[[], None]
) -> list[Transcript]:
    """What images say, in their order, where nothing else is being read."""
    found: dict[int, Transcript] = {}
    reading.add(images, between)
    while reading:
        found |= reading.step(between)
    return [found[i] for i in range(len(images))]


def without_loop(tokens: list[int], eos: Sequence[int]) -> list[int]:
    """Tokens that never came to an end, cut after the first turn of the loop they end in.

    Tokens that did end are left alone: a row of dots is no loop.
    """
    if not tokens or tokens[-1] in eos:
        return tokens
    for period in range(1, len(tokens) // 3 + 1):
        start = len(tokens) - period
        while start > 0 and tokens[start - 1] == tokens[start - 1 + period]:
            start -= 1
        if len(tokens) - start >= 3 * period:
            return tokens[: start + period]
    return tokens
