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
from .transcribe import AtOnce, ReadsImages, Transcriber

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
        usual = [i for i, image in enumerate(images) if not image.unusual]
        first = self._quick.confirmed([images[i] for i in usual], between) if usual else []
        pairs = zip(usual, first, strict=True)
        sure = {i: found for i, found in pairs if found is not None and is_sure(found)}
        rest = [i for i in range(len(images)) if i not in sure]
        if rest:
            read = self._large([images[i] for i in rest], between)
            sure |= dict(zip(rest, read, strict=True))
        return [sure[i] for i in range(len(images))]

    def warm_up(self) -> None:
        """As `Transcriber.warm_up`; there is nothing a processor would gain."""

    def begin(self) -> ReadsImages:
        """As `Transcriber.begin`."""
        return AtOnce(self)


def is_sure(transcript: Transcript) -> bool:
    """Whether a text that was said as it was drafted, or none, needs no second reader."""
    short = len("".join(transcript.texts).strip()) < _SHORT
    return all(
        logprob > (_SURE_ALONE if short or text.isdigit() else _SURE)
        for text, logprob in zip(transcript.texts, transcript.logprobs, strict=True)
    )
