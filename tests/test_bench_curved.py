"""The benchmark of bent pages: its truth, and what it makes of what an engine found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rapidfuzz", reason="needs the extra bench")
pytest.importorskip("scipy", reason="needs the extra bench")

from ocrmypdf_trocr_mlx.bench import curved
from ocrmypdf_trocr_mlx.bench.curved_pages import MARGIN, WIDTH, write_pages
from ocrmypdf_trocr_mlx.bench.engines import Found, Item
from ocrmypdf_trocr_mlx.result import Box


def test_words_are_where_the_ink_is_and_stand_on_the_baselines(tmp_path: Path) -> None:
    for _, path, baselines in write_pages(tmp_path, 9):
        gray = np.array(Image.open(path.with_suffix(".png")))
        lines = json.loads(path.read_text())["lines"]
        ink = (gray < 128).sum()
        x, y = np.concatenate(baselines).round().astype(int).T
        standing, hanging = (gray[y - 3, x] < 128).mean(), (gray[y + 4, x] < 128).mean()
        assert standing > 0.3 and hanging < 0.1
        for line in lines:
            for word in line["words"]:
                left, top, right, bottom = (round(v) for v in word["bbox"])
                gray[top - 1 : bottom + 2, left - 1 : right + 2] = 255
        assert (gray < 128).sum() < 0.002 * ink


def test_the_strengths_are_told(tmp_path: Path) -> None:
    pages = write_pages(tmp_path, 3)
    assert [bent for bent, *_ in pages] == ["0.5 lines", "1.5 lines", "3 lines"]
    rises = [np.ptp(baselines[0][:, 1]) for *_, baselines in pages]
    assert rises == pytest.approx([0.5 * 37.8, 1.5 * 37.8, 3 * 37.8], rel=0.15)


def test_errors_of_baselines() -> None:
    truth = [np.array([[0.0, 100.0], [50.0, 110.0], [100.0, 120.0]])]
    exact = np.array([[0.0, 100.0], [100.0, 120.0]])
    assert curved.baseline_errors(truth, [exact], 10) == pytest.approx([0, 0, 0])
    assert curved.baseline_errors(truth, [exact + np.array([0, 5])], 10) == pytest.approx([0.5] * 3)
    several = [exact + np.array([0, 50]), exact[:1], exact]
    assert curved.baseline_errors(truth, several, 10).max() == 0
    half = np.array([[0.0, 100.0], [50.0, 110.0]])
    assert curved.baseline_errors(truth, [half], 10) == pytest.approx([0, 0, 1])
    assert curved.baseline_errors(truth, [], 10).tolist() == [1, 1, 1]


def test_a_row_for_each_strength_and_engine() -> None:
    def reader(baseline: bool):
        def read(path: Path) -> Found:
            lines = json.loads(path.with_suffix(".json").read_text())["lines"]
            words = [Item(w["text"], Box(*w["bbox"])) for x in lines for w in x["words"]]
            level = ((0.0, -100.0), (float(WIDTH), -100.0)) if baseline else ()
            box = Box(MARGIN, MARGIN, WIDTH, 2 * MARGIN)
            return Found([Item(x["text"], box, level) for x in lines], words)

        return read

    results = curved.run({"level": reader(True), "silent": reader(False)}, 4)
    assert len(results) == len(curved.to_json(results)) == 8
    table = [row[:8] for row in curved.rows(results)]
    read = ["0.00", "100.00", "100.00"]
    assert table[:2] == [
        ["0.5 lines", "level", "2", *read, "1.00", "1.00"],
        ["0.5 lines", "silent", "2", *read, "-", "-"],
    ]
    assert [row[0] for row in table[2:]] == ["1.5 lines"] * 2 + ["3 lines"] * 2
    assert len(curved.HEADERS) == len(curved.rows(results)[0])
