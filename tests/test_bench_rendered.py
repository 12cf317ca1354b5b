"""Clean print and blank crops: what is drawn, and what is counted of what is read."""

from __future__ import annotations

import json
import string
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from training_data import write_checkpoint, write_font

pytest.importorskip("img2pdf", reason="needs the extra bench")
pytest.importorskip("psutil", reason="needs the extra bench")
pytest.importorskip("rapidfuzz", reason="needs the extra bench")
pytest.importorskip("scipy", reason="needs the extra bench")

from typer.testing import CliRunner

from ocrmypdf_trocr_mlx.bench import rendered
from ocrmypdf_trocr_mlx.bench.main import app
from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE
from ocrmypdf_trocr_mlx.recognizer.reading import Reading, ReadWord
from ocrmypdf_trocr_mlx.training.fonts import load_fonts

LETTERS = string.ascii_letters + string.digits + ".,-’—"
TEXT = "The fox’s den, Łódź — 42 miles off.  " * 40


@pytest.fixture
def fonts(tmp_path: Path) -> Path:
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in ("Square", "Display", "Courier"):
        write_font(folder / f"{name}.ttf", LETTERS)
    write_font(folder / "SquareIt.ttf", LETTERS, "Bold Italic")
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT, encoding="utf-8")
    return folder


def upright(fonts: Path) -> list[str]:
    return [Path(f.path).stem for f in load_fonts([fonts], LETTERS).fonts if f.is_upright]


def test_only_upright_print_is_taken(fonts):
    assert upright(fonts) == ["Display", "Square"]
    styles = {"Square": "serif", "SquareIt": "serif", "Display": "display"}
    listing = [{"file": f"{name}.ttf", "style": style} for name, style in styles.items()]
    (fonts / "fonts.json").write_text(json.dumps(listing))
    assert upright(fonts) == ["Square"]
    (fonts / "fonts.json").write_text(json.dumps(listing[1:]))
    with pytest.raises(ValueError, match="none of the fonts is an upright serif or sans"):
        next(rendered.clean_lines([fonts], [], 1, 0))


def test_lines_are_clean_print_of_the_texts(fonts, texts):
    drawn = list(rendered.clean_lines([fonts], [texts], 30, seed=0))
    words = set(TEXT.split())
    for line in drawn:
        assert set(line.text.split()) <= words - {"Łódź"}  # which the fonts have no letters for
        height, width = line.pixels.shape
        margin = round(0.15 * 42)
        assert line.pixels[:margin].min() == line.pixels[:, -margin:].min() == 255
        assert line.pixels.min() == 0
        # A square is half as high as the font's size: 10 to 12 points are 42 to 50 pixels.
        assert 20 + 2 * margin <= height <= 27 + 2 * margin + 4
        assert width < 6.5 * 300 + 20
    assert any("’" in line.text and "—" in line.text for line in drawn)
    assert len({line.pixels.shape[0] for line in drawn}) > 3
    again = list(rendered.clean_lines([fonts], [texts], 2, seed=0))
    other = list(rendered.clean_lines([fonts], [texts], 2, seed=1))
    assert [line.text for line in again] == [line.text for line in drawn[:2]]
    np.testing.assert_array_equal(again[0].pixels, drawn[0].pixels)
    assert [line.text for line in other] != [line.text for line in drawn[:2]]


def test_texts_that_no_font_can_set_are_refused(fonts, texts):
    (texts / "a.txt").write_text("Привет, мир", encoding="utf-8")
    with pytest.raises(ValueError, match="no words that the fonts have letters for"):
        next(rendered.clean_lines([fonts], [texts], 1, 0))


class Talker:
    """Reads nothing, an unsure word, a dash surely, two sure words, in turn."""

    def __init__(self) -> None:
        self.crops: list[np.ndarray] = []

    def submit(self, crop: np.ndarray) -> Future[Reading]:
        sure, unsure = DEFAULT_MIN_CONFIDENCE, DEFAULT_MIN_CONFIDENCE - 0.01
        said = [[], [("the", unsure)], [("----", 1.0)], [("so", sure), ("far", 1.0)]]
        words = said[len(self.crops) % 4]
        self.crops.append(crop)
        future: Future[Reading] = Future()
        future.set_result(Reading(tuple(ReadWord(text, 0, 1, value) for text, value in words)))
        return future


def test_what_is_said_of_blank_crops_is_counted():
    first, again, other = Talker(), Talker(), Talker()
    score = rendered.score_blanks(first, 10, seed=0)
    assert score == rendered.BlankScore(crops=10, with_text=7, kept=2)
    assert score.row() == ["10", "7", "70.00", "2", "20.00"]
    rendered.score_blanks(again, 10, seed=0)
    rendered.score_blanks(other, 10, seed=1)
    for a, b in zip(first.crops, again.crops, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [c.shape for c in first.crops] != [c.shape for c in other.crops]


def test_the_command_prints_both(fonts, texts, tmp_path):
    model, file = write_checkpoint(tmp_path / "model"), tmp_path / "figures.json"
    command = ["rendered", "--texts", str(texts), "--fonts", str(fonts), "--model", str(model)]
    command += ["--lines", "3", "--blanks", "5", "--json", str(file)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    print_, blanks = done.stdout.strip().split("\n\n")
    assert print_.splitlines()[2].startswith("| clean print | 3 ")
    assert blanks.splitlines()[2].startswith("| 5     | ")
    clean, blank = json.loads(file.read_text())
    assert (clean["source"], clean["lines"], clean["case_blind"]) == ("clean print", 3, False)
    assert clean["errors"] > 0  # of random weights
    assert (blank["source"], blank["crops"]) == ("blank crops", 5)
