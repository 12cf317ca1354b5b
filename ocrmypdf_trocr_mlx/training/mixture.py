"""Batches of real lines, augmented, and rendered ones, without end."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.checkpoints.images import END_MARGIN

from .augment import augment
from .batches import Batch, Fitted, Frame
from .dataset import Sample
from .labels import LabelEncoder
from .regroup import Regrouper
from .render import LineRenderer

# Were only real lines changed by `augment`, what it leaves would mean that there is text: so many
# of the crops that say nothing are changed, too.
_BLANKS_CHANGED = 0.5
# No script has narrower characters, in pixels of the model's image.
_LEAST_PITCH = 5
# A rendered line that fills less of its batch's width is drawn anew, a few times.
_LEAST_FILL, _TRIES = 0.45, 4
_WIDEST = 1.3
# Of the real lines, where the words of some are known: share that is made of such words anew.
_ANEW = 0.45
# A batch of all widths would hold ever more lines the narrower it is, and lines of a word or two
# would be nearly all that is seen: batches of a width are as frequent as this power of it.
_WIDE = 1.5


class Mixture:
    """Batch i is drawn from the seed and i alone; `real_share` of its lines are samples, or, with
    `words`, lines made of the words of samples."""

    def __init__(
        self,
        samples: Sequence[Sample],
        real_share: float,
        renderer: LineRenderer,
        encode: LabelEncoder,
        frame: Frame,
        seed: int,
        words: Regrouper | None = None,
    ):
        self._samples = list(samples)
        self._real_share = real_share
        self._renderer = renderer
        self._encode = encode
        self._frame = frame
        self._seed = seed
        self._words = words
        widths = [frame.width_of(s.height, s.width) for s in self._samples]
        self._members = {
            width: [i for i, w in enumerate(widths) if w == width] for width in frame.widths
        }

    def batch(self, index: int) -> Batch:
        rng = random.Random(f"{self._seed}/{index}")
        noise = np.random.default_rng((self._seed, index))
        frame = self._frame
        bounds = list(itertools.pairwise([0, *frame.widths]))
        ((below, width),) = rng.choices(bounds, [width**_WIDE for _, width in bounds])
        longest = min(frame.max_tokens - 1, width // _LEAST_PITCH)
        rows = frame.size_of(width)
        lines: list[Fitted] = []
        while len(lines) < rows:
            line = None
            if rng.random() < self._real_share:
                line = self._real(rng, noise, below, width)
            if line is None:
                line = self._rendered(rng, noise, below, width)
            if len(line.tokens) <= longest:
                lines.append(_squeezed(line, width))
        return frame.assemble(lines, width, rows, longest)

    def _real(
        self, rng: random.Random, noise: np.random.Generator, below: int, width: int
    ) -> Fitted | None:
        """A sample of about this width, or a line of words; None where there is none so wide."""
        members = self._members[width]
        if self._words is not None and (not members or rng.random() < _ANEW):
            return self._anew(rng, noise, below, width)
        if not members:
            return None
        sample = self._samples[rng.choice(members)]
        return Fitted(self._frame.fit(augment(sample.pixels, noise)), sample.tokens)

    def _anew(
        self, rng: random.Random, noise: np.random.Generator, below: int, width: int
    ) -> Fitted | None:
        assert self._words is not None
        height = self._frame.processor.height
        for _ in range(_TRIES):
            pixels, text = self._words.line(rng, rng.uniform(below, width - END_MARGIN) / height)
            fitted = self._frame.fit(augment(pixels, noise))
            if _LEAST_FILL * below <= fitted.shape[1] <= _WIDEST * width:
                return Fitted(fitted, self._encode(text))
        return None

    def _rendered(
        self, rng: random.Random, noise: np.random.Generator, below: int, width: int
    ) -> Fitted:
        """A line for a batch of this width, wider than `below` if its text is long enough."""
        height = self._frame.processor.height
        for _ in range(_TRIES):
            aspect = rng.uniform(max(0.8, below / height), width / height)
            drawn = self._renderer.line(rng, aspect)
            fitted = self._frame.processor.fitted_width(*drawn.pixels.shape)
            if _LEAST_FILL * below <= fitted <= _WIDEST * width:
                break
        if not drawn.text and rng.random() < _BLANKS_CHANGED:
            drawn = drawn._replace(pixels=augment(drawn.pixels, noise))
        pixels = self._frame.fit(drawn.pixels)
        tokens = self._encode(drawn.text) if drawn.text else []
        # Where a token is more than a character, its place is not told.
        told = len(tokens) == len(drawn.text)
        edges = drawn.edges * (pixels.shape[1] / drawn.pixels.shape[1]) if told else None
        return Fitted(pixels, tokens, edges)


def _squeezed(line: Fitted, width: int) -> Fitted:
    pixels, tokens, edges = line
    if pixels.shape[1] <= width:
        return line
    squeezed = np.asarray(Image.fromarray(pixels).resize((width, pixels.shape[0])))
    return Fitted(squeezed, tokens, None if edges is None else edges * (width / pixels.shape[1]))
