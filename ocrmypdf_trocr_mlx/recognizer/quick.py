"""A small model reads every line first, and the large one those that it is not sure of.

Most lines are easy.  A processor needs a fifth of the time for them, while what costs a GPU its
time are calls, not arithmetic.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.model.generate import nothing
from ocrmypdf_trocr_mlx.model.running import confirms

from .pieces import LineImage, Transcript
from .sizes import on_cpu
from .transcribe import ReadsImages, Transcriber, all_of

log = logging.getLogger(__name__)

# The folder in a checkpoint's own that holds its smaller model.
FOLDER = "quick"
# Every character of a text must be likelier than this (natural logarithms), or another may be
# meant; a figure, which no word tells of, and those of a short text much likelier.
_SURE, _SURE_ALONE = -0.2, -0.1
_SHORT = 3


def load_quick(folder: Path, beams: int) -> Checkpoint | None:
    """The smaller model beside a checkpoint, where it has one that is of use on this device."""
    if beams > 1 or not on_cpu() or not (folder / FOLDER).is_dir():
        return None
    quick = load(folder / FOLDER)
    if confirms(quick.model, quick.options):
        return quick
    log.debug("%s: drafts nothing that could be confirmed at once", folder / FOLDER)
    return None


class QuickFirst:
    """A transcriber that asks a smaller model first, one that `load_quick` gives."""

    mixes = True

    def __init__(self, checkpoint: Checkpoint, quick: Checkpoint):
        """Raises CheckpointError where they do not take the same images."""
        self._large = Transcriber(checkpoint)
        self.fitting = self._large.fitting
        shapes = {
            (p.height, p.width, p.pad_to_aspect) for p in (checkpoint.processor, quick.processor)
        }
        if len(shapes) > 1:
            raise CheckpointError(f"{quick.name}: its images are not those of {checkpoint.name}")
        self._quick = Transcriber(quick)

    def __call__(
        self, images: Sequence[LineImage], between: Callable[[], None] = nothing
    ) -> list[Transcript]:
        """As a Transcriber."""
        return all_of(self.begin(), images, between)

    def warm_up(self) -> None:
        """As `Transcriber.warm_up`; there is nothing a processor would gain."""

    def begin(self) -> ReadsImages:
        """As `Transcriber.begin`."""
        return _Reading(self._quick, self._large)


class _Reading:
    """What the smaller model is not sure of waits until it has read all else: hard lines take the
    large one many passes, and these cost less where more lines share them.
    """

    def __init__(self, quick: Transcriber, large: Transcriber):
        self._quick, self._large = quick, large
        self._count = 0
        self._new: list[tuple[int, LineImage]] = []
        self._unsure: list[tuple[int, LineImage]] = []

    def __len__(self) -> int:
        return len(self._new) + len(self._unsure)

    def add(self, images: Sequence[LineImage], between: Callable[[], None]) -> None:
        for number, image in enumerate(images, self._count):
            (self._unsure if image.unusual else self._new).append((number, image))
        self._count += len(images)

    def step(self, between: Callable[[], None]) -> list[tuple[int, Transcript]]:
        """What the smaller model is sure of, of those that it has not seen; else all others."""
        if not self._new:
            # Those of one width are made ready together.
            unsure = sorted(self._unsure, key=lambda each: -each[1].pixels.shape[1])
            self._unsure = []
            read = self._large([image for _, image in unsure], between)
            return [(number, found) for (number, _), found in zip(unsure, read, strict=True)]
        new, self._new = self._new, []
        first = self._quick.confirmed([image for _, image in new], between)
        sure = []
        for (number, image), found in zip(new, first, strict=True):
            if found is not None and is_sure(found):
                sure.append((number, found))
            else:
                self._unsure.append((number, image))
        return sure


def is_sure(transcript: Transcript) -> bool:
    """Whether a text that was said as it was drafted, or none, needs no second reader."""
    short = len("".join(transcript.texts).strip()) < _SHORT
    return all(
        logprob > (_SURE_ALONE if short or text.isdigit() else _SURE)
        for text, logprob in zip(transcript.texts, transcript.logprobs, strict=True)
    )
