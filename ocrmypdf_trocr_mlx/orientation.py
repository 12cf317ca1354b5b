"""Which way up a page is, and how far it is turned, told by layout and recogniser."""

from __future__ import annotations

from concurrent.futures import Future

import numpy as np
from PIL import Image

from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE
from ocrmypdf_trocr_mlx.gray import to_gray
from ocrmypdf_trocr_mlx.layout import find_layout, find_page_skew
from ocrmypdf_trocr_mlx.recognizer import Reading, Recognizer

SAMPLES = 8
# Puts OCRmyPDF's threshold of 14 at a lead of 0.14.  The bundled model took none of 90 turned
# pages of ten kinds wrong, handwriting among them, and led by 0.15 to 0.41.
SCALE = 100.0


def find_orientation(image: Image.Image | np.ndarray, recognizer: Recognizer) -> tuple[int, float]:
    """(angle, confidence): turning the page clockwise by `angle` makes it upright.

    `angle`: 0, 90, 180 or 270.  `confidence`: 0 for a toss-up, above 14 when sure.  A few lines
    found on the page and on the page turned by 90 degrees are read both ways up.
    """
    gray = to_gray(image)
    futures: dict[int, list[Future[Reading]]] = {}
    for quarter in (0, 1):
        sample = _sample(np.ascontiguousarray(np.rot90(gray, -quarter)))
        turned = [np.ascontiguousarray(c[::-1, ::-1]) for c in sample]
        futures[90 * quarter] = recognizer.submit_all(sample)
        futures[90 * quarter + 180] = recognizer.submit_all(turned)
    scores = {angle: _score([f.result() for f in own]) for angle, own in futures.items()}
    best, second = sorted(scores, key=lambda a: -scores[a])[:2]
    if scores[best] < DEFAULT_MIN_CONFIDENCE:  # pictures are surer one way up, too
        return best, 0.0
    return best, SCALE * (scores[best] - scores[second])


def find_skew(image: Image.Image | np.ndarray) -> float:
    """Degrees counter-clockwise, in PIL's sense, that make the page upright."""
    return find_page_skew(to_gray(image))


def _sample(gray: np.ndarray) -> list[np.ndarray]:
    """Crops of the longest text lines of a page, cut short to save time."""
    layout = find_layout(gray)
    parts = [p for b in layout.blocks for par in b for row in par for p in row]
    parts.sort(key=lambda p: -min(p.crop.shape[1] / p.crop.shape[0], 8.0))
    return [p.crop[:, : 8 * p.crop.shape[0]] for p in parts[:SAMPLES]]


def _score(readings: list[Reading]) -> float:
    """Mean confidence by character, of words of more than one letter; 0 for empty lines."""
    if not readings:
        return 0.0
    per_line = []
    for reading in readings:
        words = [w for w in reading.words if len(w.text) > 1]
        length = sum(len(w.text) for w in words)
        total = sum(w.confidence * len(w.text) for w in words)
        # A few sure marks on a long line are no text.
        per_line.append(total / max(length, 6))
    return float(np.mean(per_line))
