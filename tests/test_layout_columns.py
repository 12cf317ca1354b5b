"""Tight gutters: lines stay in their columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from test_layout import parts_of

from ocrmypdf_trocr_mlx.bench.columns import MARGIN, WIDTH, write_pages
from ocrmypdf_trocr_mlx.layout import find_layout


def test_a_few_lines_of_footnotes_stay_in_their_columns(tmp_path: Path) -> None:
    write_pages(tmp_path, 1)
    with Image.open(tmp_path / "columns-001.png") as image:
        parts = parts_of(find_layout(np.asarray(image)))
    heading, *lines = parts
    assert heading.line.size > 1.5 * lines[0].line.size
    assert max(part.line.width for part in lines) < (WIDTH - 2 * MARGIN) / 2
