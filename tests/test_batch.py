"""Folders of images: every file is a row, and no work is done twice."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from conftest import fixed_page
from PIL import Image

from ocrmypdf_trocr_mlx.batch import (
    BatchProcessor,
    FileResult,
    Journal,
    export_results_csv,
    export_results_json,
    find_files,
    load_results,
)
from ocrmypdf_trocr_mlx.documents import page_images


class FakeProcessor:
    """Reads `conftest.TEXT` on each page, and notes the files."""

    at_once = 2

    def __init__(self) -> None:
        self.read: list[str] = []

    def read_document(self, path: Path):
        self.read.append(path.name)
        return (fixed_page(*page.image.size) for page in page_images(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "deeper").mkdir(parents=True)
    for name in ("b.jpg", "a.jpg", "-r.jpg", "new\nline é.jpg", "deeper/c.jpg", ".hidden.jpg"):
        Image.new("L", (100, 80), "white").save(folder / name, "JPEG")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    (folder / "notes.txt").write_text("not asked for")
    stack = [Image.new("L", (60, 40))] * 2
    stack[0].save(folder / "stack.tif", save_all=True, append_images=stack[1:])
    return folder


def test_a_row_for_each_file(folder) -> None:
    rows = BatchProcessor(FakeProcessor()).process_directory(folder, "*.[jt][pi]*")
    assert [row.file for row in rows] == [
        *("-r.jpg", "a.jpg", "b.jpg", "broken.jpg", "new\nline é.jpg", "stack.tif")
    ]
    by_name = {row.file: row for row in rows}
    good, broken, stack = (by_name[n] for n in ("a.jpg", "broken.jpg", "stack.tif"))
    assert (good.text, good.lines, good.pages) == ("Searchable text\nin two lines", 2, 1)
    assert (good.mean_confidence, good.min_confidence, good.error) == (0.9, 0.9, "")
    assert stack.text == f"{good.text}\f{good.text}" and (stack.pages, stack.lines) == (2, 4)
    assert "neither an image nor a PDF" in broken.error and broken.text == ""
    assert broken.mean_confidence is None


def test_exports_read_back(folder, tmp_path) -> None:
    rows = BatchProcessor(FakeProcessor()).process_directory(folder)
    odd = os.fsdecode(b"not utf-8 \xff.jpg")
    rows.append(FileResult(odd, 'quotes " and,\r\ncommas', 0.25, 0.125, 1, 2, 0.5, "", 7, 8))
    export_results_csv(rows, tmp_path / "r.csv")
    export_results_json(rows, tmp_path / "r.json")
    assert load_results(tmp_path / "r.csv") == load_results(tmp_path / "r.json") == rows
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv: not the result of an earlier run"):
        load_results(tmp_path / "other.csv")


def test_only_what_is_new_or_changed_is_read(folder) -> None:
    rows = BatchProcessor(FakeProcessor()).process_directory(folder, "*.jpg")
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes() + b"\0")
    Image.new("L", (9, 9)).save(folder / "z.jpg")
    (folder / "-r.jpg").unlink()
    processor = FakeProcessor()
    again = BatchProcessor(processor).process_directory(folder, "*.jpg", known=rows)
    assert sorted(processor.read) == ["b.jpg", "broken.jpg", "z.jpg"]
    assert [row.file for row in again] == [
        *("a.jpg", "b.jpg", "broken.jpg", "new\nline é.jpg", "z.jpg")
    ]


def test_a_journal_that_was_cut_off(tmp_path) -> None:
    path = tmp_path / "r.csv.partial"
    journal = Journal(path)
    assert journal.load() == []
    rows = [FileResult("a\n", "text"), FileResult("b", error="no")]
    for row in rows:
        journal.add(row)
    journal.close()
    path.write_bytes(path.read_bytes() + b'{"file": "c", "te')  # killed here
    journal = Journal(path)
    assert journal.load() == rows
    journal.add(FileResult("d"))
    assert [row.file for row in journal.load()] == ["a\n", "b", "d"]
    with pytest.raises(ValueError, match=r"r\.csv\.partial: another run is at work"):
        Journal(path)
    journal.clear()
    assert journal.load() == []
    journal.remove()
    assert not path.exists()
    Journal(path).close()
    assert not path.exists(), "there was nothing in it"


def test_a_full_disk_is_named_and_what_is_read_is_kept(small_disk) -> None:
    path = small_disk / "r.csv.partial"
    journal = Journal(path)
    row = FileResult("a.png", "text " * 5000)
    with pytest.raises(OSError) as full:
        for _ in range(100):
            journal.add(row)
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(path))
    journal.close()
    journal = Journal(path)
    rows = journal.load()
    journal.close()
    assert rows and set(rows) == {row}
    with pytest.raises(OSError) as full:
        export_results_csv(rows * 9, small_disk / "r.csv")
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(small_disk / "r.csv"))
    assert [p.name for p in small_disk.iterdir()] == ["r.csv.partial"]


def test_finding_files(folder, tmp_path) -> None:
    assert [p.name for p in find_files(folder, "c.jpg")] == []
    assert [p.name for p in find_files(folder, "c.jpg", recursive=True)] == ["c.jpg"]
    (folder / "deeper" / "loop").symlink_to(folder)
    (folder / ".trash").mkdir()
    (folder / ".trash" / "a.jpg").touch()
    assert len(find_files(folder, "a.jpg", recursive=True)) == 1
    with pytest.raises(FileNotFoundError):
        find_files(tmp_path / "absent")
