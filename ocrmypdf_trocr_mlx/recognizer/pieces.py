"""What a transcriber is given of a line and gives back; without MLX, for processes without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.checkpoints.images import PAPER, ImageProcessor

# Longer lines are cut.  Room is left before the model's image is full: it was trained on few
# lines that fill it.  Models that stretch their images squeeze longer lines too much.
_FILL = 15 / 16
_STRETCHED_ASPECT = 13.0


@dataclass(frozen=True)
class LineImage:
    """A line at the model's height, uint8, of which the first `width` columns are not padding.

    `unusual`: it may be cut out otherwise than lines of pages are.
    """

    pixels: np.ndarray
    width: int
    unusual: bool = False


@dataclass(frozen=True)
class Transcript:
    """What one image says: the text of each token, its log-probability, and its attention.

    `attention` is (T, columns) over columns of patches, of which the last may be cut short by
    the end of the line; `column_share` is the width of one as a share of the line's.
    `agreement` is a hypothesis's.
    """

    texts: list[str]
    logprobs: list[float]
    attention: np.ndarray
    column_share: float
    agreement: float = 1.0


@dataclass(frozen=True)
class Fitting:
    """How a model takes lines: its processor, and the widths, in its parts, to pad them to.

    `unusual` is what its images are.
    """

    processor: ImageProcessor
    widths: tuple[int, ...]
    unusual: bool = False

    @property
    def max_aspect(self) -> float:
        """The widest line to read in one piece, in line heights."""
        if self.processor.pad_to_aspect:
            return _FILL * self.processor.width / self.processor.height
        return _STRETCHED_ASPECT

    def __call__(self, gray: np.ndarray) -> LineImage:
        """Resize a line, uint8 (h, w), for the model, and pad it to one of a few widths.

        The width depends on the line alone, so its reading does not depend on what other lines
        are read with it.
        """
        processor = self.processor
        height, width = gray.shape
        padded = processor.read_width(height, width, self.widths)
        width = processor.fitted_width(height, width)
        size = (width, processor.height)
        resized = Image.fromarray(gray).resize(size, resample=processor.resample)
        pixels = np.full((processor.height, padded), PAPER, np.uint8)
        pixels[:, :width] = np.asarray(resized)
        return LineImage(pixels, width, self.unusual)
