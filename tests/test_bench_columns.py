"""Rendered pages in two columns, and the layout's order on them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rapidfuzz", reason="needs the extra bench")
pytest.importorskip("scipy", reason="needs the extra bench")

from ocrmypdf_trocr_mlx.bench.columns import write_pages
from ocrmypdf_trocr_mlx.bench.truth import TruthPage, read_folder
from ocrmypdf_trocr_mlx.layout import find_layout
from ocrmypdf_trocr_mlx.result import Box


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[TruthPage]:
    folder = tmp_path_factory.mktemp("columns")
    write_pages(folder, 9)
    return read_folder(folder)


def boxes(page: TruthPage) -> list[Box]:
    return [line.box for line in page.lines if line.box is not None]


def test_lines_are_where_the_ink_is(pages: list[TruthPage]) -> None:
    for page in pages:
        gray = np.array(Image.open(page.image))
        for b in boxes(page):
            gray[int(b.top) : int(b.bottom) + 2, int(b.left) - 2 : int(b.right) + 3] = 255
        assert (gray < 128).sum() < 4000  # the rules over footnotes


def test_the_layout_reads_one_column_after_the_other(pages: list[TruthPage]) -> None:
    for page in pages:
        layout = find_layout(np.asarray(Image.open(page.image).convert("L")))
        truth = boxes(page)
        order = []
        for part in layout.parts:
            line = part.line
            x, y = (line.left + line.right) / 2, line.middle
            hits = [
                i for i, b in enumerate(truth) if b.left <= x < b.right and b.top <= y < b.bottom
            ]
            order += hits[:1]
        # At the smallest gutter a last line, half as long, may stay with its neighbour.
        assert len(set(order)) >= len(truth) - 2, page.name
        assert order == sorted(order), page.name
