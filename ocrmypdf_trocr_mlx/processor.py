"""The Python API: read pages, lines and documents with a checkpoint, in two lines of code.

processor = load_processor("microsoft/trocr-base-printed")
text = processor.process_image("page.png")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.apart import page_reader
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.documents import DEFAULT_DPI, page_images
from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE
from ocrmypdf_trocr_mlx.gray import to_gray
from ocrmypdf_trocr_mlx.pipeline import map_ahead
from ocrmypdf_trocr_mlx.places import word_of
from ocrmypdf_trocr_mlx.printable import clean, printable
from ocrmypdf_trocr_mlx.reader import is_line
from ocrmypdf_trocr_mlx.recognizer import Reading, Recognizer, shared
from ocrmypdf_trocr_mlx.result import Block, Box, Line, Page, Paragraph

ImageSource = str | Path | Image.Image | np.ndarray
"""The path of an image file, a picture, or an array uint8 (H, W), (H, W, 3) or (H, W, 4)."""


class Processor:
    """Reads images with one recognizer; may be used from many threads at once."""

    def __init__(
        self,
        recognizer: Recognizer,
        min_confidence: float = DEFAULT_MIN_CONFIDENCE,
        characters: bool = False,
    ) -> None:
        self._recognizer = recognizer
        self._characters = characters
        self._reader = page_reader(recognizer, min_confidence, characters)

    @property
    def at_once(self) -> int:
        """Pages that are worth being read at a time."""
        return self._reader.at_once

    def close(self) -> None:
        """End at once what any thread reads, which raises there; nothing is read any more.

        It ends for all processors of the same checkpoint and options, which share one model; the
        next `load_processor` loads it again.
        """
        self._recognizer.close()

    def process_image(self, image: ImageSource, *, line: bool | None = None) -> str:
        """The text of a page, or of a single line; `line` None: whichever the image shows."""
        picture = _picture(image)
        if line is None:
            line = is_line(picture)
        return self.read_lines([picture])[0].text if line else self._read(picture).text

    def process_batch(
        self, images: Iterable[ImageSource], *, line: bool | None = None
    ) -> list[str]:
        """`process_image` of each, faster than one by one: their lines share batches."""
        if line:
            return [reading.text for reading in self.read_lines(list(images))]
        if line is None:
            return list(map_ahead(self.process_image, images, self._reader.at_once))
        return [page.text for page in self.read_pages(images)]

    def read_page(self, image: ImageSource) -> Page:
        """Read a page: its words with places and confidences, in reading order.

        Raises DocumentError for a file that is no image and ValueError for an array that is
        none.  Of files with several pages it reads the first: see `read_document`.  The page
        keeps the image, to be shown in notebooks.
        """
        picture = _picture(image)
        return dataclasses.replace(self._read(picture), image=picture)

    def read_pages(self, images: Iterable[ImageSource]) -> Iterator[Page]:
        """`read_page` of each image, in order, several at work at a time; no image is kept."""
        return map_ahead(self._read, images, self.at_once)

    def _read(self, image: ImageSource) -> Page:
        return clean(self._reader.read(_picture(image)))

    def read_lines(self, crops: Sequence[ImageSource]) -> list[Reading]:
        """Read images of single lines: words with their extent in the image and confidences.

        A reading has no words where there is no ink.  Nothing is left out for being unsure.
        """
        images = [to_gray(_picture(crop)) for crop in crops]
        readings = self._recognizer.read(images, characters=self._characters)
        return [_clean_reading(reading) for reading in readings]

    def read_line_as_page(self, crop: ImageSource) -> Page:
        """A line's reading in the form of a page, for the formats that know nothing else.

        Its words are as high as the image; so is the line, whose baseline nobody looked for.
        """
        picture = _picture(crop)
        (reading,) = self.read_lines([picture])
        width, height = picture.size
        page = Page(width, height)
        if reading.words:
            words = [
                word_of(w, lambda left, right, _: Box(left, 0, right, height))
                for w in reading.words
            ]
            ends = ((words[0].box.left, float(height)), (words[-1].box.right, float(height)))
            page.blocks.append(Block([Paragraph([Line(words, ends, float(height), 0.0)])]))
        return page

    def read_document(self, path: str | Path, dpi: float = DEFAULT_DPI) -> Iterator[Page]:
        """The pages of a PDF, a TIFF stack or an image, read and given one after the other.

        A PDF's pages are rendered at `dpi`.  Few are in memory at a time.  Raises DocumentError.
        """
        return self.read_pages(page.image for page in page_images(Path(path), dpi))


def load_processor(
    model: str | None = None,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    beams: int = 1,
    min_confidence: float = DEFAULT_MIN_CONFIDENCE,
    characters: bool = False,
) -> Processor:
    """A processor for the bundled checkpoint, or the one that `model` names.

    That is a folder, a file of weights in one, or a Hugging Face id, which is downloaded the
    first time; "id@revision" stays with that branch, tag or commit.  The model is loaded once
    for each checkpoint and kept.  `batch_size` lines are read at once, by default as many as suit
    the device.  Lines that are read on pages with less than `min_confidence` are left out.  With
    `characters` words know where each of theirs is.  Raises ValueError, one line, for a checkpoint
    or a device that cannot be used.
    """
    folder = resolve(model, download=True)
    return Processor(shared(str(folder), device, batch_size, beams), min_confidence, characters)


def read_page(image: ImageSource, model: str | None = None) -> Page:
    """`Processor.read_page` with a checkpoint, by default the bundled one."""
    return load_processor(model).read_page(image)


def read_lines(crops: Sequence[ImageSource], model: str | None = None) -> list[Reading]:
    """`Processor.read_lines` with a checkpoint, by default the bundled one."""
    return load_processor(model).read_lines(crops)


def read_document(
    path: str | Path, model: str | None = None, dpi: float = DEFAULT_DPI
) -> Iterator[Page]:
    """`Processor.read_document` with a checkpoint, by default the bundled one."""
    return load_processor(model).read_document(path, dpi)


def _picture(image: ImageSource) -> Image.Image:
    if isinstance(image, str | Path):
        pages = page_images(Path(image))
        return next(pages).image
    if isinstance(image, np.ndarray):
        return Image.fromarray(image if image.ndim == 3 and image.shape[2] == 3 else to_gray(image))
    return image


def _clean_reading(reading: Reading) -> Reading:
    words = (
        dataclasses.replace(
            word,
            text=printable(word.text),
            characters=tuple(c for c in word.characters if printable(c.text)),
        )
        for word in reading.words
    )
    return Reading(tuple(w for w in words if w.text))
