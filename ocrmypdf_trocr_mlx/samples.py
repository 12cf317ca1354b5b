"""Lines of text that are rendered on the spot: to try a checkpoint where no images are given."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Invoice No. 2041-77, dated 12 March 1998",
    "Dear Sir, we thank you for your letter of the 5th",
    "Total amount due: 1,284.50",
    "and so it was agreed between both parties that",
    "Chapter IV",
    "See also pages 114, 118 and 203.",
    "Signed at the office of the Secretary, Room 9",
)
_HEIGHT = 48


def rendered_line(text: str) -> np.ndarray:
    """Black on white, uint8 (48, w), in Pillow's own font."""
    font = ImageFont.load_default(30)
    width = round(font.getlength(text)) + 24
    image = Image.new("L", (width, _HEIGHT), 255)
    ImageDraw.Draw(image).text((12, _HEIGHT // 2), text, fill=0, font=font, anchor="lm")
    return np.asarray(image)


def rendered_lines(count: int) -> list[np.ndarray]:
    """Lines that are all different."""
    repeats = (f" ({i})" if i >= len(TEXTS) else "" for i in range(count))
    return [rendered_line(TEXTS[i % len(TEXTS)] + more) for i, more in enumerate(repeats)]
