"""What the layout sees on the way from a page image to its lines, as pictures."""

from __future__ import annotations

import cv2
import numpy as np

from .lines import TextLine
from .page import look
from .segments import Segment

_PALE = 0.5
# Blue, green, red.
_FILL, _RULE, _SEGMENT, _LINE, _BASE = (
    (210, 210, 140),
    (0, 150, 255),
    (255, 90, 90),
    (0, 150, 0),
    (255, 0, 255),
)


def draw_stages(gray: np.ndarray) -> dict[str, np.ndarray]:
    """Pictures by stage, uint8 (h, w, 3) in OpenCV's order of colours, of an image (H, W).

    "ink": letters black, rules orange, dark fills blue, and the segments that letters form;
    "lines": the upright page, pale, with the boxes and baselines of its lines, before any is read.
    Both at the layout's working scale; empty where the page has no letters.
    """
    sight = look(gray)
    if sight is None:
        return {}
    ink = sight.ink
    colours = np.full((*ink.mask.shape, 3), 255, np.uint8)
    colours[ink.dark > 0] = _FILL
    colours[ink.rules > 0] = _RULE
    colours[ink.mask > 0] = 0
    _draw_segments(colours, sight.segments)
    small = cv2.resize(sight.sheet.gray, ink.mask.shape[::-1], interpolation=cv2.INTER_AREA)
    page = cv2.cvtColor(cv2.addWeighted(small, _PALE, small, 0, 255 * _PALE), cv2.COLOR_GRAY2BGR)
    _draw_lines(page, list(map(sight.surface.bent_line, sight.lines_and_initials()[0])))
    return {"ink": colours, "lines": page}


def _draw_segments(picture: np.ndarray, segments: list[Segment]) -> None:
    for s in segments:
        corners = (int(s.left), int(s.top)), (int(s.right), int(s.bottom))
        cv2.rectangle(picture, *corners, _SEGMENT, 1)


def _draw_lines(picture: np.ndarray, lines: list[TextLine]) -> None:
    for t in lines:
        corners = (int(t.left), int(t.top)), (int(t.right), int(t.bottom))
        cv2.rectangle(picture, *corners, _LINE, 1)
        cv2.polylines(picture, [np.array(t.ends).astype(np.int32)], False, _BASE, 1)
