"""The benchmark's commands: turned pages, whole documents, what the command line says."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pikepdf
import pytest
from conftest import TEXT
from PIL import Image, ImageDraw, ImageFont
from training_data import write_checkpoint

pytest.importorskip("img2pdf", reason="needs the extra bench")
pytest.importorskip("psutil", reason="needs the extra bench")
pytest.importorskip("rapidfuzz", reason="needs the extra bench")
pytest.importorskip("scipy", reason="needs the extra bench")

from ocrmypdf_trocr_mlx.bench import (
    command,
    engines,
    figure,
    layout_time,
    pages,
    scaling,
    turned,
    whole,
)
from ocrmypdf_trocr_mlx.bench.scores import TextScore
from ocrmypdf_trocr_mlx.orientation import find_skew

FAKE = str(Path(__file__).with_name("fake_reader_plugin.py"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pages of printed lines, with truth."""
    folder = tmp_path / "letters"
    folder.mkdir()
    for name in ("one", "two"):
        page = Image.new("L", (1000, 800), "white")
        lines = []
        for i in range(10):
            text = f"Line {i} of the page, printed level and in one column"
            box = [80, 80 + 60 * i, 920, 120 + 60 * i]
            ImageDraw.Draw(page).text(box[:2], text, font=ImageFont.load_default(32))
            lines.append({"text": text, "bbox": box})
        page.save(folder / f"{name}.png")
        data = {"image": f"{name}.png", "lines": lines}
        (folder / f"{name}.json").write_text(json.dumps(data))
    return folder


def run_score(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ocrmypdf_trocr_mlx.bench", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_figures_of_an_engine(folder):
    def half(path: Path) -> engines.Found:
        """Reads and finds the first five lines."""
        lines = json.loads(path.with_suffix(".json").read_text())["lines"][:5]
        found = [engines.Item(line["text"], engines.Box(*line["bbox"])) for line in lines]
        smudge = engines.Item("~~~~", engines.Box(0, 700, 50, 710))
        return engines.Found([*found, smudge], found)

    table = pages.run([folder], {"half": half})
    (key, result), *rest = table.totals().items()
    assert (key, rest, result.pages) == (("letters", "half"), [], 2)
    assert result.boxes.line_recall == 0.5
    assert result.text.fcer == pytest.approx(0.5, abs=0.01)
    assert result.off_truth == 8
    assert len(table.to_json()) == 2


def in_capitals(folder: Path) -> Path:
    """The folder, its truth keyed in capitals whatever is printed."""
    for path in folder.glob("*.json"):
        data = json.loads(path.read_text())
        data["lines"] = [{**line, "text": line["text"].upper()} for line in data["lines"]]
        path.write_text(json.dumps(data))
    return folder


def test_truth_in_capitals_is_scored_case_blind(folder):
    printed = {p.stem: json.loads(p.read_text())["lines"] for p in folder.glob("*.json")}

    def exact(path: Path) -> engines.Found:
        lines = printed[path.stem]
        return engines.Found([engines.Item(x["text"], engines.Box(*x["bbox"])) for x in lines])

    table = pages.run([folder], {"exact": exact})
    assert list(table.totals()) == [("letters", "exact")]
    table = pages.run([in_capitals(folder)], {"exact": exact}, limit=1)
    ((key, result),) = table.totals().items()
    assert key == ("letters, case-blind", "exact")
    assert (result.pages, result.text.fcer) == (1, 0.0)
    found = pages.run([folder], {"exact": exact}, reading=False)
    assert list(found.totals()) == [("letters", "exact")]


def test_layout_finds_printed_lines_without_a_recogniser(folder, tmp_path):
    done = run_score("layout", folder, "--engine", "trocr", "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    row = done.stdout.splitlines()[2].split("|")
    assert [cell.strip() for cell in row[1:5]] == ["letters", "trocr", "2", "100.00"]
    assert len(json.loads((tmp_path / "figures.json").read_text())) == 2


def test_angles_fill_the_range():
    angles = sorted(turned.skew_at(i) for i in range(20))
    assert -10 <= angles[0] < -8
    assert 8 < angles[-1] <= 10
    assert max(np.diff(angles)) < 2


def test_the_skew_asked_for_is_the_one_that_levels_the_page(folder):
    with Image.open(folder / "one.png") as page:
        leaning = turned.turn(np.asarray(page), 3.0)
    assert find_skew(leaning) == pytest.approx(-3.0, abs=0.1)
    if shutil.which("tesseract"):
        tesseract = turned.TURNERS["tesseract"](engines.Settings())
        assert tesseract.skew(leaning) == pytest.approx(-3.0, abs=0.2)


def test_errors_of_turned_pages(folder):
    lazy = turned.Turner(skew=lambda gray: 0.0, orientation=lambda gray: (0, 20.0))
    results = turned.run([folder], {"lazy": lazy}, limit=1, turns=3)
    (row,) = turned.rows(results)
    angles = sorted(turned.skew_at(k) for k in range(3))
    worst = max(angles[2] - angles[1], angles[1] - angles[0])
    assert float(row[4]) == pytest.approx(worst, abs=0.006)
    assert row[6:10] == ["25.00", "25.00", "3 of 4", "0 of 4"]
    shy = turned.Turner(skew=lambda gray: 0.0, orientation=lambda gray: (0, turned.SURE))
    (row,) = turned.rows(turned.run([folder], {"shy": shy}, limit=1, turns=2))
    assert row[6:10] == ["25.00", "0.00", "0 of 4", "4 of 4"]


def test_orientation_asked_for_is_clockwise(folder):
    seen = []

    def upright(gray: np.ndarray) -> tuple[int, float]:
        """Tells the clockwise turn by trying all against the page itself."""
        with Image.open(folder / "one.png") as page:
            level = np.asarray(page)
        fits = [k for k in range(4) if np.array_equal(np.rot90(gray, -k), level)]
        seen.append(90 * fits[0])
        return seen[-1], 20.0

    turner = turned.Turner(skew=lambda gray: 0.0, orientation=upright)
    (row,) = turned.rows(turned.run([folder], {"x": turner}, limit=1, turns=2))
    assert row[6:9] == ["100.00", "100.00", "0 of 4"]
    assert seen == [0, 90, 180, 270]


def test_images_without_resolution_are_taken_for_300_dpi(folder, tmp_path):
    with Image.open(folder / "two.png") as page:
        page.save(folder / "two.png", dpi=(100, 100))
    target = tmp_path / "pages.pdf"
    command.write_pdf([folder / "one.png", folder / "two.png"], target)
    with pikepdf.open(target) as pdf:
        sizes = [[float(v) for v in page.mediabox[2:]] for page in pdf.pages]
    assert sizes[0] == pytest.approx([240, 192], abs=0.1)
    assert sizes[1] == pytest.approx([720, 576], abs=0.5)


def test_a_whole_command_is_measured_and_scored(folder):
    arguments = ["--plugin", FAKE, "--ocr-engine", "trocr"]
    (result,) = command.run([folder], {"fake": arguments}, None, nocase=False, jobs=1)
    assert (result.pages, result.document) == (2, "letters")
    assert result.seconds > 0.2
    assert result.cpu_seconds > 0.2
    assert 2e7 < result.peak_bytes < 4e9
    read = sum(len(line) for line in TEXT)
    assert result.text is not None
    assert result.text.read_words == 2 * read


def test_a_command_on_truth_in_capitals_is_scored_case_blind(folder, tmp_path):
    read = "\n".join(f"Line {i} of the page, printed level and in one column" for i in range(10))
    document = command._document(folder, tmp_path / "a.pdf", 1, nocase=False)
    assert (document.name, command._score(document, read).fcer) == ("letters", 0.0)
    document = command._document(in_capitals(folder), tmp_path / "b.pdf", 1, nocase=False)
    assert (document.name, command._score(document, read).fcer) == ("letters, case-blind", 0.0)


def test_a_command_that_fails_is_named(folder, caplog):
    assert command.run([folder], {"bad": ["--no-such-option"]}, 1, False, None) == []
    assert "letters with bad: ocrmypdf exits with" in caplog.text


def test_memory_of_a_process():
    code = "import time; x = bytearray(300_000_000); time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        assert 3e8 < command._watch_memory(process) < 5e8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_memory_of_a_fork_is_its_parents(monkeypatch):
    monkeypatch.setattr(command, "_FORK_SECONDS", 60)
    code = "import os, time; x = bytearray(200_000_000); os.fork(); time.sleep(0.7)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        peak = command._watch_memory(process)
    assert 200e6 < peak < 350e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("layout", "nowhere", "--engine", "trocr"), "nowhere: not a folder"),
        (("layout", ".", "--engine", "other"), "--engine other: choose from trocr"),
        (("table", ".", "--engine", "other"), "--engine other: choose from trocr"),
        (("command", "nowhere.pdf", "--engine", "tesseract"), "nowhere.pdf: neither a folder"),
        (("pages", ".", "--model", "nowhere/at/all"), "nowhere/at/all"),
    ],
)
def test_bad_input_is_one_line(arguments, message):
    if "tesseract" in arguments and not shutil.which("tesseract"):
        pytest.skip("needs Tesseract")
    done = run_score(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_whole_table_comes_section_by_section(folder, monkeypatch):
    asked = []

    def reader(name: str) -> engines.Engine:
        def read(path: Path) -> engines.Found:
            asked.append(name)
            return engines.Found()

        return read

    def turner(name: str) -> turned.Turner:
        return turned.Turner(lambda gray: asked.append("turns") or 0.0, lambda gray: (0, 20.0))

    readers = {name: lambda settings, name=name: reader(name) for name in ("blind", "trocr")}
    monkeypatch.setattr(whole, "READERS", readers)
    monkeypatch.setattr(turned, "TURNERS", {"trocr": turner, "not asked for": turner})
    found = whole.sections([folder], ["blind", "trocr"], engines.Settings(), limit=1)
    first = next(found)
    assert asked == ["blind", "trocr"]
    assert [row[:3] for row in first.rows] == [["letters", name, "1"] for name in readers]
    second = next(found)
    assert asked == 2 * ["blind", "trocr"]
    assert [row[:3] for row in second.rows] == [["two columns", name, "1"] for name in readers]
    third = next(found)
    assert asked == 3 * ["blind", "trocr"]
    assert [row[:3] for row in third.rows] == [["0.5 lines", name, "1"] for name in readers]
    fourth, last = found
    assert asked.count("turns") == 5
    assert [row[:3] for row in fourth.rows] == [["letters", "trocr", "1"]]
    assert [row[:3] for row in last.rows] == [["letters", "trocr", "1"]]
    for section in (first, second, third, fourth, last):
        assert all(len(row) == len(section.headers) for row in section.rows)
    keys = [section.key for section in whole.sections([folder], ["blind"], engines.Settings(), 1)]
    assert keys == ["pages", "columns", "curved"]


def test_the_command_prints_the_whole_table(folder, tmp_path):
    file, model = tmp_path / "figures.json", write_checkpoint(tmp_path / "model")
    options = ["--engine", "trocr", "--model", model, "--limit", 1, "--json", file]
    done = run_score("table", folder, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| letters ") == 3
    assert done.stdout.count("| two columns ") == 1
    assert done.stdout.count("| 0.5 lines ") == 1
    assert "fCER %" in done.stdout and "worst °" in done.stdout and "s: median" in done.stdout
    figures = json.loads(file.read_text())
    assert {key: len(records) for key, records in figures.items()} == {
        **{"pages": 1, "columns": 1, "curved": 1},
        **{"turned": 1, "layout": 1},
    }


def test_the_layout_is_timed_at_the_size_of_a4(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        layout_time, "find_layout", lambda gray: seen.append((gray.shape, cv2.getNumThreads()))
    )
    before = cv2.getNumThreads()
    results = layout_time.run([folder], None)
    assert cv2.getNumThreads() == before
    for (height, width), threads in seen:
        assert threads == 1
        assert height * width == pytest.approx(2480 * 3508, rel=1e-3)
        assert width / height == pytest.approx(1000 / 800, rel=1e-3)
    (row,) = layout_time.rows(results)
    assert row[:3] == ["letters", "trocr", "2"]


def test_scaling_measures_documents_of_more_and_more_pages(tmp_path):
    arguments = ["--plugin", FAKE, "--ocr-engine", "trocr"]
    one, two = scaling.run([2, 1, 2], 3, arguments, jobs=1)
    assert (one.pages, two.pages) == (1, 2) and one.seconds > 0.2 and two.peak_bytes > 2e7
    table = scaling.rows([one, two], 3)
    assert [row[0] for row in table] == ["1", "2"] and table[0][-1] == "-"
    assert float(table[1][-1]) == pytest.approx(100 * (two.peak_bytes / one.peak_bytes - 1), abs=1)


def test_pages_of_scaling_are_full_and_all_different(tmp_path):
    paths = scaling.write_pages(tmp_path / "pages", 4, 5)
    pages = [np.asarray(Image.open(path)) for path in paths]
    assert len({page.tobytes() for page in pages}) == 4
    for page in pages:
        inked = (~page).any(axis=1)
        assert np.count_nonzero(np.diff(inked.astype(int)) == 1) == 5


def test_the_plot_of_scaling_shows_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
    flat = [command.Result("", "", n, n, n, 10**8, None) for n in (1, 10)]
    scaling.plot(flat, tmp_path / "flat.png")
    scaling.plot([flat[0], command.Result("", "", 10, 10, 10, 10**9, None)], tmp_path / "up.png")
    with Image.open(tmp_path / "flat.png") as a, Image.open(tmp_path / "up.png") as b:
        assert a.format == "PNG" and a.tobytes() != b.tobytes()


def test_the_plot_of_engines_shows_what_was_measured(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
    panels = {}

    @contextlib.contextmanager
    def kept(*arguments):
        with figure.drawn(*arguments) as axes:
            yield axes
            for each in axes:
                labels = [text.get_text() for text in each.get_xticklabels()]
                bars = {c.get_label(): [bar.get_height() for bar in c] for c in each.containers}
                panels[each.get_title()] = labels, bars

    monkeypatch.setattr(command, "drawn", kept)
    text = TextScore(characters=200, flexible_errors=3)
    results = [
        command.Result("letters", "ours", 4, 8.0, 12.0, 300_000_000, text),
        command.Result("letters", "other", 4, 2.0, 4.0, 100_000_000, None),
        command.Result("forms", "ours", 2, 10.0, 5.0, 200_000_000, None),
    ]
    command.plot(results, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.format == "PNG"
    assert {tuple(labels) for labels, _ in panels.values()} == {("letters", "forms")}
    bars = {title: found for title, (_, found) in panels.items()}
    assert bars["pages a minute"] == {"ours": [30, 12], "other": [120]}
    assert bars["core seconds a page"] == {"ours": [3, 2.5], "other": [1]}
    assert bars["peak memory, MB"] == {"ours": [300, 200], "other": [100]}
    errors = bars["fCER, %"]
    assert errors["ours"][0] == pytest.approx(1.5)
    assert np.isnan([errors["ours"][1], *errors["other"]]).all()
