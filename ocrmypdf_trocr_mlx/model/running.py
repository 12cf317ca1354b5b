"""Images that are being read, whatever the model and the device: some join while others go on."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Protocol

import mlx.core as mx

from . import cpu_encoder, cpu_layers
from .beam import beam_search
from .checking import check_drafts
from .constraints import Constraints
from .cpu_checking import CpuChecking
from .encoding import encode, memory_of
from .hypothesis import Hypothesis
from .options import GenerateOptions
from .rounds import Rounds
from .stepping import Stepping
from .trocr import TrOCR


class Running(Protocol):
    """What `between` raises, which is called again and again, ends all."""

    def add(self, images: mx.array, max_length: int, between: Callable[[], None]) -> None:
        """Begin with images (B, H, W, C or 1) of one size, numbered in the order they come in.

        Their texts are no longer than `max_length`.
        """

    def step(self, between: Callable[[], None]) -> list[tuple[int, Hypothesis]]:
        """Go on with all; those that are done, with their numbers.  There must be some."""

    def __len__(self) -> int:
        """Images that are not done."""


def run(model: TrOCR, options: GenerateOptions) -> Running:
    """Ready for images."""
    if confirms(model, options):
        return Together(model, options)
    if mixes(model, options):
        return Rounds(model, options)
    return (Beams if options.num_beams > 1 else Stepping)(model, options)


def mixes(model: TrOCR, options: GenerateOptions) -> bool:
    """Whether drafts are checked, for images of all sizes together."""
    return model.has_drafts and options.num_beams == 1 and not Constraints(options)


def confirms(model: TrOCR, options: GenerateOptions) -> bool:
    """Whether a processor checks drafts."""
    by_numpy = cpu_encoder.serves(model) and cpu_layers.serves(model.decoder)
    return by_numpy and mixes(model, options)


class _AtOnce:
    """Reads what it has to the end; no image joins."""

    def __init__(self, model: TrOCR, options: GenerateOptions):
        self._model, self._options = model, options
        self._count = 0
        self._groups: list[tuple[mx.array, int]] = []

    def __len__(self) -> int:
        return sum(len(images) for images, _ in self._groups)

    def add(self, images: mx.array, max_length: int, between: Callable[[], None]) -> None:
        self._groups.append((images, max_length))

    def step(self, between: Callable[[], None]) -> list[tuple[int, Hypothesis]]:
        read = self._read(between)
        self._groups = []
        first, self._count = self._count, self._count + len(read)
        return list(enumerate(read, first))

    def _read(self, between: Callable[[], None]) -> list[Hypothesis]:
        raise NotImplementedError


class Together(_AtOnce):
    """Drafts checked by a processor: a pass costs what it computes, whoever has part in it."""

    def _read(self, between: Callable[[], None]) -> list[Hypothesis]:
        checker, drafts, most = self.drafted(between)
        return check_drafts(checker, drafts, self._options, between, most)

    def drafted(
        self, between: Callable[[], None]
    ) -> tuple[CpuChecking, list[list[int]], list[int]]:
        """Who checks the drafts of all images, the drafts, and how long each text may be."""
        model = self._model
        encoder = cpu_encoder.CpuEncoder(model)
        states = encoder([images for images, _ in self._groups], between)
        memory = encoder.memory(states)
        checker = CpuChecking(model.decoder, memory, self._options.kept_layer(len(memory)))
        most = [[length] * len(images) for images, length in self._groups]
        return checker, encoder.drafts(states), list(itertools.chain(*most))


class Beams(_AtOnce):
    """Beam search, for a group after the other."""

    def _read(self, between: Callable[[], None]) -> list[Hypothesis]:
        read: list[Hypothesis] = []
        for images, length in self._groups:
            options = dataclasses.replace(self._options, max_length=length)
            memory = memory_of(self._model, encode(self._model, images, between))
            read += beam_search(self._model, memory, options, between)
        return read
