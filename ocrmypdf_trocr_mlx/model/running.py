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


# Images of one size, and how long their texts may be.
Group = tuple[mx.array, int]


def run(model: TrOCR, options: GenerateOptions) -> Running:
    """Ready for images."""
    if confirms(model, options):
        return AtOnce(model, options, check_together)
    if options.num_beams > 1:
        return AtOnce(model, options, search_beams)
    return (Rounds if mixes(model, options) else Stepping)(model, options)


def mixes(model: TrOCR, options: GenerateOptions) -> bool:
    """Whether drafts are checked, for images of all sizes together."""
    return model.has_drafts and options.num_beams == 1 and not Constraints(options)


def confirms(model: TrOCR, options: GenerateOptions) -> bool:
    """Whether a processor checks drafts."""
    by_numpy = cpu_encoder.serves(model) and cpu_layers.serves(model.decoder)
    return by_numpy and mixes(model, options)


class AtOnce:
    """Reads what it has to the end; no image joins."""

    def __init__(
        self,
        model: TrOCR,
        options: GenerateOptions,
        read: Callable[[TrOCR, GenerateOptions, list[Group], Callable[[], None]], list[Hypothesis]],
    ):
        self._model, self._options, self._read = model, options, read
        self._count = 0
        self._groups: list[Group] = []

    def __len__(self) -> int:
        return sum(len(images) for images, _ in self._groups)

    def add(self, images: mx.array, max_length: int, between: Callable[[], None]) -> None:
        self._groups.append((images, max_length))

    def step(self, between: Callable[[], None]) -> list[tuple[int, Hypothesis]]:
        read = self._read(self._model, self._options, self._groups, between)
        self._groups = []
        first, self._count = self._count, self._count + len(read)
        return list(enumerate(read, first))


def check_together(
    model: TrOCR, options: GenerateOptions, groups: list[Group], between: Callable[[], None]
) -> list[Hypothesis]:
    """By drafts on a processor: a pass costs what it computes, whoever has part in it."""
    checker, drafts, most = drafted(model, options, groups, between)
    return check_drafts(checker, drafts, options, between, most)


def drafted(
    model: TrOCR, options: GenerateOptions, groups: list[Group], between: Callable[[], None]
) -> tuple[CpuChecking, list[list[int]], list[int]]:
    """Who checks the drafts of all images, the drafts, and how long each text may be."""
    encoder = cpu_encoder.CpuEncoder(model)
    states = encoder([images for images, _ in groups], between)
    memory = encoder.memory(states)
    checker = CpuChecking(model.decoder, memory, options.kept_layer(len(memory)))
    most = [[length] * len(images) for images, length in groups]
    return checker, encoder.drafts(states), list(itertools.chain(*most))


def search_beams(
    model: TrOCR, options: GenerateOptions, groups: list[Group], between: Callable[[], None]
) -> list[Hypothesis]:
    """Beam search, in one group after the other."""
    read: list[Hypothesis] = []
    for images, length in groups:
        memory = memory_of(model, encode(model, images, between))
        read += beam_search(model, memory, dataclasses.replace(options, max_length=length), between)
    return read
