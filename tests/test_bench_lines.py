"""Single lines: by source, cut out of pages, with or without regard to case."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from training_data import write_checkpoint, write_pairs

pytest.importorskip("img2pdf", reason="needs the extra bench")
pytest.importorskip("psutil", reason="needs the extra bench")
pytest.importorskip("rapidfuzz", reason="needs the extra bench")
pytest.importorskip("scipy", reason="needs the extra bench")

from typer.testing import CliRunner

from ocrmypdf_trocr_mlx.bench import lines
from ocrmypdf_trocr_mlx.bench.main import app
from ocrmypdf_trocr_mlx.recognizer.reading import Reading, ReadWord
from ocrmypdf_trocr_mlx.training.data import Line, Problem


class Misreader:
    """Reads every line as "Hello", at once."""

    def submit(self, crop: np.ndarray) -> Future[Reading]:
        future: Future[Reading] = Future()
        future.set_result(Reading((ReadWord("Hello", 0, 1, 1.0),)))
        return future


def test_lines_are_counted_by_source():
    crop = np.zeros((8, 8), np.uint8)
    found = [
        Line("1", "Hello", crop, source="a"),
        Line("2", "hallo", crop, source="a"),
        Line("3", "Help", crop, source="b"),
        Problem("4", "no text", source="b"),
        Line("5", "", crop, source="a"),
    ]
    scored = lines.score_lines(found, Misreader(), limit=2, nocase=False)
    assert scored == {
        "a": lines.Source(lines=2, exact=1, characters=10, errors=2),
        "b": lines.Source(lines=1, exact=0, characters=4, errors=2, unreadable=1),
    }
    assert lines.rows(scored)[0] == ["a", "2", "10", "20.00", "50.00", "0"]
    folded = lines.score_lines(found, Misreader(), limit=None, nocase=True)
    assert folded["a"].errors == 1 + 5


def test_labels_in_capitals_say_nothing_about_case():
    crop = np.zeros((8, 8), np.uint8)
    found = [
        Line("1", "HELLO", crop, source="capitals"),
        Line("2", "12.50", crop, source="capitals"),
        Line("3", "HELLO", crop, source="both"),
        Line("4", "Total", crop, source="both"),
        Line("5", "HELLO", crop, source="told", capitals=True),
        Line("6", "Help", crop, source="told"),
        Line("7", "12.50", crop, source="figures"),
    ]
    # Whether a source is in capitals is told by all its labels, not by those that are read.
    scored = lines.score_lines(found, Misreader(), limit=1, nocase=False)
    assert {name: (s.errors, s.case_blind) for name, s in scored.items()} == {
        "capitals": (0, True),
        "both": (4, False),
        "told": (0, False),
        "figures": (5, False),
    }
    assert [row[0] for row in lines.rows(scored)] == [
        *("both", "capitals, case-blind", "figures", "told")
    ]


def write_page(folder: Path) -> Path:
    """Black boxes on paper, as letters would be, and a page's truth about them."""
    folder.mkdir()
    page = np.full((300, 400), 255, np.uint8)
    page[100:150, 40:340] = 0
    page[298:, :50] = 0
    Image.fromarray(page).save(folder / "page.png")
    boxes = [[40, 100, 340, 150], None, [40, 200, 340, 250], [0, 298, 50, 300], [500, 0, 600, 20]]
    texts = ["Hello  there", "no box", " ", "Foot", "beside the page"]
    data = [{"text": text, "bbox": box} for text, box in zip(texts, boxes, strict=True)]
    (folder / "page.json").write_text(json.dumps({"image": "page.png", "lines": data}))
    return folder


def test_pages_are_cut_at_the_boxes_of_their_truth(tmp_path):
    first, foot, beside = lines.read_source(write_page(tmp_path / "letters"))
    assert isinstance(first, Line) and isinstance(foot, Line) and isinstance(beside, Problem)
    assert (first.text, first.source, first.page) == ("Hello there", "letters", "page")
    assert first.pixels.shape == (54, 304)  # 2 pixels around a line of 50
    assert (first.pixels[2:-2, 2:-2] == 0).all() and first.pixels[:2].min() == 255
    assert foot.pixels.shape == (3, 51)  # no further than the page
    assert (beside.source, beside.reason) == ("letters", "its box is not on the page")


def test_sources_of_several_kinds(tmp_path):
    pairs = write_pairs(tmp_path / "pairs", ["MEAN", "RIVER", "1874"])
    folder, model = write_page(tmp_path / "letters"), write_checkpoint(tmp_path / "model")
    file = tmp_path / "figures.json"
    options = ["--model", str(model), "--limit", "2", "--json", str(file)]
    done = CliRunner().invoke(app, ["lines", str(pairs), str(folder), *options])
    assert done.exit_code == 0, done.output
    rows = [[cell.strip() for cell in row.split("|")] for row in done.stdout.splitlines()[2:]]
    assert [row[1:4] + row[6:7] for row in rows] == [
        ["pairs, case-blind", "2", "9", "0"],
        ["letters", "2", "15", "1"],
    ]
    first, second = json.loads(file.read_text())
    assert (first["source"], first["case_blind"], second["source"]) == ("pairs", True, "letters")
