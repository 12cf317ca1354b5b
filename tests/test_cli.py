"""The console script: what it writes, where, and its exit codes."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import FakeReader, fixed_page
from PIL import Image
from typer.testing import CliRunner

from ocrmypdf_trocr_mlx import cli
from ocrmypdf_trocr_mlx.batch import Journal, load_results
from ocrmypdf_trocr_mlx.cli import app, common
from ocrmypdf_trocr_mlx.documents import page_images

TEXT = "Searchable text\nin two lines\n"


class FakeProcessor:
    """Reads `conftest.TEXT` everywhere; a page 13 pixels wide is its end."""

    at_once = 2

    def __init__(self) -> None:
        self.count = 0
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def read_page(self, image):
        self.count += 1
        if image.width == 13:
            raise RuntimeError("bad luck")
        return FakeReader().read(image)

    def read_line_as_page(self, image):
        return fixed_page(image.width, 7)

    def read_document(self, path):
        return (self.read_page(page.image) for page in page_images(path))


@pytest.fixture
def processor(monkeypatch) -> FakeProcessor:
    fake = FakeProcessor()
    monkeypatch.setattr(common, "processor", lambda *options: fake)
    return fake


@pytest.fixture
def run(processor, monkeypatch, tmp_path):
    """Runs a command line in a folder with a few images; gives its result."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (100, 80)).save("a.png")
    Image.new("L", (200, 90)).save("b.png")
    Image.new("L", (13, 13)).save("unlucky.png")
    Path("broken.png").write_bytes(b"no picture")

    def invoke(*arguments: str):
        return CliRunner().invoke(app, arguments)

    return invoke


@pytest.fixture
def main(run, monkeypatch, capsys):
    """Runs the script itself; gives exit code and stderr."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["trocr-mlx", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, capsys.readouterr().err

    return call


def test_text_goes_to_stdout(run) -> None:
    result = run("read", "a.png", "b.png")
    assert (result.exit_code, result.stdout) == (0, f"{TEXT}\f{TEXT}")


def test_a_bad_file_costs_no_other(run) -> None:
    result = run("read", "broken.png", "a.png", "unlucky.png", "absent.png")
    assert (result.exit_code, result.stdout) == (1, TEXT)
    lines = sorted(result.stderr.splitlines())
    assert [line.split(": ")[1] for line in lines] == ["absent.png", "broken.png", "unlucky.png"]
    assert lines[2] == "trocr-mlx: unlucky.png: page 1: bad luck"


@pytest.mark.parametrize(
    "format, start",
    [
        *(("json", "["), ("hocr", "<?xml"), ("alto", "<?xml"), ("page", "<?xml")),
        *(("csv", "file,page"), ("overlay", "\x89PNG")),
    ],
)
def test_formats(run, format, start) -> None:
    result = run("read", "--format", format, "a.png")
    assert result.exit_code == 0
    assert result.stdout_bytes.startswith(start.encode("latin-1"))


def test_lines(run) -> None:
    result = run("read", "--line", "--format", "json", "a.png")
    assert json.loads(result.stdout)[0]["height"] == 7


def test_files_in_a_folder(run, scan) -> None:
    scan("one", "two")
    result = run("read", "-o", "out/deep", "scan.pdf", "broken.png", "a.png")
    assert (result.exit_code, result.stdout) == (1, "")
    out = Path("out/deep")
    assert sorted(p.name for p in out.iterdir()) == ["a.txt", "scan.txt"]
    assert (out / "scan.txt").read_text() == f"{TEXT}\f{TEXT}"
    assert run("read", "-o", "out", "-f", "page", "scan.pdf", "a.png").exit_code == 0
    names = [p.name for p in Path("out").iterdir() if p.is_file()]
    assert sorted(names) == ["a.page.xml", "scan-0001.page.xml", "scan-0002.page.xml"]


def test_a_document_that_failed_in_part_leaves_no_file(run) -> None:
    pages = [Image.new("L", size) for size in ((100, 80), (13, 13), (100, 80))]
    pages[0].save("stack.tif", save_all=True, append_images=pages[1:])
    result = run("read", "-o", "out", "stack.tif", "a.png")
    assert result.exit_code == 1 and "stack.tif: page 2: bad luck" in result.stderr
    assert [p.name for p in Path("out").iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    "command", [("read", "a.png", "b.png"), ("batch", ".", "--output-csv", "r.csv")]
)
def test_ctrl_c_ends_what_is_read(main, processor, monkeypatch, command) -> None:
    def interrupted(image):
        if image.width == 200:
            raise KeyboardInterrupt
        return FakeReader().read(image)

    monkeypatch.setattr(processor, "read_page", interrupted)
    code, message = main(*command)
    assert (code, message.count("\n")) == (130, 1) and "trocr-mlx: stopped" in message
    assert processor.closed and not Path("r.csv").exists()
    if command[0] == "batch":
        with closing(Journal(Path("r.csv.partial"))) as journal:
            assert [row.file for row in journal.load()] == ["a.png"]


def test_usage(run) -> None:
    for arguments, message in [
        (("read", "-f", "page", "a.png", "b.png"), "give --output DIR"),
        (("read", "-f", "nonsense", "a.png"), "nonsense"),
        (("read", "-o", "out", "a.png", "./a.png"), "same name"),
        (("read", "--characters", "a.png"), "--format text has no place"),
        (("read",), "Missing argument"),
        (("batch", "."), "--output-csv"),
        (("batch", ".", "--output-csv", "absent/r.csv"), "no folder absent"),
        (("batch", "absent", "--output-csv", "r.csv"), "absent: no such folder"),
        (("batch", "a.png", "--output-csv", "r.csv"), "a.png: not a folder"),
        (("batch", ".", "--output-csv", "."), ".: not a file"),
        (("batch", ".", "--output-csv", "r", "--output-json", "./r"), "a file of its own"),
        (("batch", ".", "--output-csv", "r.csv", "--pattern", "/*.png"), "not a pattern"),
        (("batch", ".", "--output-csv", "r.csv", "--pattern", "../*"), "not a pattern"),
        (("batch", ".", "--output-csv", "r.csv", "--pattern", ""), "an empty pattern"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2 and message in result.stderr, arguments
        assert "Traceback" not in result.stderr


def test_one_line_for_what_goes_wrong(main, monkeypatch) -> None:
    code, message = main("batch", ".", "--pattern", "*.tif", "--output-csv", "r.csv")
    assert (code, message) == (1, "trocr-mlx: .: no file matches *.tif\n")
    code, message = main("read", "-o", "a.png/out", "b.png")
    assert code == 1 and message.count("\n") == 1 and "a.png/out" in message

    def surprise(*options):
        raise KeyError("never\nthought of")

    monkeypatch.setattr(common, "processor", surprise)
    code, message = main("read", "a.png")
    assert (code, message.count("\n")) == (4, 1) and "KeyError" in message


def test_a_model_that_is_not_there(monkeypatch, tmp_path) -> None:
    result = CliRunner().invoke(app, ["read", "--model", str(tmp_path / "absent"), "a.png"])
    assert result.exit_code == 3
    assert result.stderr == f"trocr-mlx: {tmp_path / 'absent'}: no such checkpoint folder\n"


def test_batch(run, processor) -> None:
    arguments = ("batch", ".", "--pattern", "*.png", "--output-csv", "r.csv")
    result = run(*arguments, "--output-json", "r.json")
    assert result.exit_code == 1
    rows = load_results("r.csv")
    assert rows == load_results("r.json")
    assert [row.file for row in rows] == ["a.png", "b.png", "broken.png", "unlucky.png"]
    assert [bool(row.error) for row in rows] == [False, False, True, True]
    assert processor.count == 3 and not Path("r.csv.partial").exists()
    with Path("r.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["text"] == TEXT.strip()

    Image.new("L", (30, 30)).save("c.png")
    Path("unlucky.png").unlink()
    Path("broken.png").unlink()
    assert run(*arguments).exit_code == 0
    assert processor.count == 4, "only the new one was read"
    assert [row.file for row in load_results("r.csv")] == ["a.png", "b.png", "c.png"]
    assert run(*arguments, "--restart").exit_code == 0
    assert processor.count == 7


def test_batch_does_not_read_its_own_results(run) -> None:
    for name in ("broken.png", "unlucky.png"):
        Path(name).unlink()
    outputs = ("--output-csv", "r.csv", "--output-json", "r.json")
    for _ in range(2):
        assert run("batch", ".", *outputs).exit_code == 0
    assert [row.file for row in load_results("r.csv")] == ["a.png", "b.png"]


def test_batch_goes_on_where_it_was_cut_off(run, processor) -> None:
    run("batch", ".", "--pattern", "a.png", "--output-csv", "first.csv")
    journal = Journal(Path("r.json.partial"))
    journal.add(load_results("first.csv")[0])
    journal.close()
    assert run("batch", ".", "--pattern", "[ab].png", "--output-json", "r.json").exit_code == 0
    assert processor.count == 2, "a.png was read by the first run alone"
    assert [row.file for row in load_results("r.json")] == ["a.png", "b.png"]
    assert not Path("r.json.partial").exists()


@pytest.mark.parametrize("restart", [(), ("--restart",)])
def test_batch_never_overwrites_what_is_not_its_own(main, processor, restart) -> None:
    Path("notes.json").write_text('["precious"]')
    Path("notes.csv").write_text("precious")
    for outputs in (
        ("--output-csv", "notes.csv"),
        ("--output-csv", "r.csv", "--output-json", "notes.json"),
    ):
        code, message = main("batch", ".", "--pattern", "a.png", *outputs, *restart)
        assert code == 1 and ": not the result of an earlier run" in message
    assert Path("notes.csv").read_text() == "precious"
    assert Path("notes.json").read_text() == '["precious"]'
    assert processor.count == 0 and not list(Path().glob("*.partial"))


def test_two_batches_at_once_are_refused(main, processor) -> None:
    arguments = ("batch", ".", "--pattern", "a.png", "--output-csv", "r.csv")
    with closing(Journal(Path("r.csv.partial"))):
        code, message = main(*arguments)
    assert (code, message) == (
        1,
        "trocr-mlx: r.csv.partial: another run is at work: wait until it ends\n",
    )
    assert processor.count == 0 and not Path("r.csv").exists()


def test_a_file_that_vanishes_is_a_row(run, processor, monkeypatch) -> None:
    read = processor.read_document

    def read_document(path):
        Path("b.png").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(processor, "read_document", read_document)
    monkeypatch.setattr(processor, "at_once", 1)
    result = run("batch", ".", "--pattern", "[ab].png", "--output-csv", "r.csv")
    assert result.exit_code == 1
    assert [row.error for row in load_results("r.csv")] == ["", "No such file or directory"]
    assert result.stderr == "trocr-mlx: b.png: No such file or directory\n"
