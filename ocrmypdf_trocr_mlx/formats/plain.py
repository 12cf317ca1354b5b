"""Text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

from ocrmypdf_trocr_mlx.result import mean_confidence

from .sheet import Sheet

CSV_COLUMNS = (
    *("file", "page", "block", "paragraph", "line", "text", "confidence"),
    *("left", "top", "right", "bottom"),
)


def write_text(sheets: Iterable[Sheet]) -> Iterator[str]:
    """Lines of text; a form feed between pages, as pdftotext does."""
    for i, sheet in enumerate(sheets):
        text = sheet.page.text
        yield ("\f" if i else "") + (f"{text}\n" if text else "")


def write_json(sheets: Iterable[Sheet]) -> Iterator[str]:
    """A list with an object for each page."""
    start = "[\n"
    for sheet in sheets:
        place = {"file": sheet.source, "page": sheet.number + 1}
        content = {**place, "text": sheet.page.text, **sheet.page.to_dict()}
        yield start + json.dumps(content, ensure_ascii=False)
        start = ",\n"
    yield "[]\n" if start == "[\n" else "\n]\n"


def write_csv(sheets: Iterable[Sheet]) -> Iterator[str]:
    """A row for each line; pages, blocks, paragraphs and lines count from 1, boxes in pixels."""
    yield csv_row(CSV_COLUMNS)
    for sheet in sheets:
        number = 0
        for b, block in enumerate(sheet.page.blocks, start=1):
            for p, paragraph in enumerate(block.paragraphs, start=1):
                for line in paragraph.lines:
                    number += 1
                    box = line.box
                    place = (sheet.source, sheet.number + 1, b, p, number)
                    corners = (round(v) for v in (box.left, box.top, box.right, box.bottom))
                    confidence = mean_confidence(line.words)
                    yield csv_row((*place, line.text, f"{confidence or 0:.4f}", *corners))


def csv_row(values: Iterable[Any]) -> str:
    """One line of CSV as RFC 4180 has it."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(values)
    return buffer.getvalue()
