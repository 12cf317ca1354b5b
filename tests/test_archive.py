"""Archives: what is done, what is left alone, and what is never overwritten."""

from __future__ import annotations

import csv
import os
import queue
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ocrmypdf_trocr_mlx.archive import journal as journals
from ocrmypdf_trocr_mlx.archive import report
from ocrmypdf_trocr_mlx.archive.convert import _examine
from ocrmypdf_trocr_mlx.archive.job import FAILED, USAGE, ArchiveError, Job, Outcome, State
from ocrmypdf_trocr_mlx.archive.journal import Entry, open_journal
from ocrmypdf_trocr_mlx.archive.options import fingerprint, parse
from ocrmypdf_trocr_mlx.archive.run import Result, make_rules, open_archive, planned, read_tree

DONE = Outcome(State.DONE, pages=1)


def copy(job: Job) -> Outcome:
    """In place of OCR."""
    Path(job.output).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(job.source, job.output)
    read = _examine(Path(job.source))
    return Outcome(State.DONE, "", 1, 0.5, read.size, read.mtime_ns, read.sha256, "stub")


@dataclass
class StubPool:
    """Does the jobs in the driver, one at a time, with `convert`."""

    convert: Callable[[Job], Outcome] = copy
    jobs: list[Job] = field(default_factory=list)
    results: queue.SimpleQueue[Result] = field(default_factory=queue.SimpleQueue)

    def capacity(self) -> int:
        return 2

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        try:
            self.results.put((job, self.convert(job)))
        except BaseException as e:
            self.results.put((job, e))

    def result(self) -> Result:
        return self.results.get(timeout=5)

    def close(self) -> None:
        pass


@dataclass
class Tree:
    """A source and a destination, converted by `run`."""

    source: Path
    destination: Path

    def add(self, name: str, content: str = "a scan") -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def run(
        self, convert: Callable[[Job], Outcome] = copy, args: tuple[str, ...] = (), **rules: bool
    ) -> list[str]:
        """The files that were handed out, relative to the source."""
        pool = StubPool(convert)
        made = make_rules(self.source, self.destination, args, **rules)
        with open_archive(made, args, lambda: pool, lambda *_: None) as archive:
            read_tree(archive.journal, made)
            archive.work()
        return [str(Path(job.source).relative_to(self.source)) for job in pool.jobs]

    def entries(self) -> dict[str, Entry]:
        with journals.read_journal(self.destination) as journal:
            return {entry.path: entry for entry in journal.entries()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "scans").mkdir()
    return Tree(tmp_path / "scans", tmp_path / "out")


def test_only_pdfs_and_images_are_taken(tree: Tree) -> None:
    names = ["a.pdf", "B.PDF", "deep/er/c.tif", "d.jpeg"]
    for name in [*names, "notes.txt", ".hidden.pdf", "deep/._c.tif", ".trash/e.pdf"]:
        tree.add(name)

    assert sorted(tree.run()) == sorted(names)
    made = {str(p.relative_to(tree.destination)) for p in tree.destination.rglob("[!.]*.*")}
    assert made == {"a.pdf", "B.PDF", "deep/er/c.tif.pdf", "d.jpeg.pdf"}


def test_a_second_run_does_what_is_new_changed_or_without_output(tree: Tree) -> None:
    for name in ("same.pdf", "touched.pdf", "changed.pdf", "lost.pdf"):
        tree.add(name)
    tree.run()
    os.utime(tree.source / "touched.pdf", (1, 1))
    tree.add("changed.pdf", "another scan")
    tree.add("new.pdf")
    (tree.destination / "lost.pdf").unlink()

    with planned(make_rules(tree.source, tree.destination, ())) as journal:
        reasons = {entry.path: entry.reason for entry in journal.entries(State.PENDING)}
    assert reasons == {
        "changed.pdf": "changed",
        "lost.pdf": "output is gone",
        "new.pdf": "new",
    }
    assert set(tree.run()) == set(reasons)
    assert (tree.destination / "changed.pdf").read_text() == "another scan"
    assert tree.run() == []


def test_planning_writes_nothing(tree: Tree) -> None:
    tree.add("a.pdf")
    with planned(make_rules(tree.source, tree.destination, ())) as journal:
        assert journal.counts() == {State.PENDING: 1}
    assert not tree.destination.exists()


def test_other_options_are_a_reason_unless_they_only_say_how(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.run()
    assert tree.run(args=("--jobs", "1", "--trocr-batch-size", "4")) == []
    assert tree.run(args=("--deskew",)) == ["a.pdf"]
    assert fingerprint(["--skip-text"]) == fingerprint(["--mode", "skip"]) != fingerprint([])
    assert fingerprint(["--trocr-beams", "2"]) != fingerprint([])


def test_failures_are_tried_again_so_many_times(tree: Tree) -> None:
    tree.add("a.pdf")

    def fail(job: Job) -> Outcome:
        return Outcome(State.FAILED, "no luck")

    assert [tree.run(fail, tries=2) for _ in range(3)] == [["a.pdf"], ["a.pdf"], []]
    assert tree.entries()["a.pdf"].message == "no luck"
    assert tree.run(retry_failed=True) == ["a.pdf"]
    assert tree.entries()["a.pdf"].state is State.DONE


def test_refusals_wait_for_a_change(tree: Tree) -> None:
    path = tree.add("a.pdf")

    def refuse(job: Job) -> Outcome:
        read = _examine(path)
        return Outcome(State.ENCRYPTED, "", 0, 0, read.size, read.mtime_ns, read.sha256)

    assert tree.run(refuse) == ["a.pdf"]
    assert tree.run(refuse) == []
    tree.add("a.pdf", "decrypted")
    assert tree.run() == ["a.pdf"]


def test_a_file_that_kills_workers_comes_last_and_is_given_up(tree: Tree) -> None:
    tree.add("a poison.pdf")
    tree.add("b.pdf")
    tree.add("c.pdf")

    def convert(job: Job) -> Outcome:
        if "poison" in job.source:
            return Outcome(State.FAILED, "the worker process was killed", crashed=True)
        return copy(job)

    assert tree.run(convert) == ["a poison.pdf", "b.pdf", "c.pdf", "a poison.pdf", "a poison.pdf"]
    entry = tree.entries()["a poison.pdf"]
    assert (entry.state, entry.tries) == (State.FAILED, 3)


def test_a_run_that_ends_early_loses_nothing(tree: Tree) -> None:
    for name in ("a.pdf", "b.pdf", "c.pdf"):
        tree.add(name)

    def convert(job: Job) -> Outcome:
        if job.source.endswith("b.pdf"):
            Path(job.output).with_name(f"{job.part_prefix}x.pdf").write_text("half")
            raise ArchiveError("disk full")
        return copy(job)

    with pytest.raises(ArchiveError, match="disk full"):
        tree.run(convert)
    states = {path: entry.state for path, entry in tree.entries().items()}
    assert states == {"a.pdf": State.DONE, "b.pdf": State.PENDING, "c.pdf": State.PENDING}
    assert not (tree.destination / "b.pdf").exists()
    assert not list(tree.destination.glob(".trocr-mlx-*"))
    assert tree.run() == ["b.pdf", "c.pdf"]


def test_what_a_killed_run_left_is_cleared_and_done_again(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.run()
    [entry] = tree.entries().values()
    with open_journal(tree.destination) as journal:
        journal.start(entry.id)
    job = Job(entry.id, "", str(tree.destination / "a.pdf"))
    part = tree.destination / f"{job.part_prefix}0123.pdf"
    part.write_text("half")

    assert tree.run() == ["a.pdf"]
    assert not part.exists()


def test_files_of_others_are_not_overwritten(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.add("b.tif")
    tree.add("b.tif.pdf")
    tree.destination.mkdir()
    (tree.destination / "a.pdf").write_text("precious")

    for _ in range(2):
        assert "a.pdf" not in tree.run()
        assert (tree.destination / "a.pdf").read_text() == "precious"
    entries = tree.entries()
    assert "exists and is not from this program" in entries["a.pdf"].message
    assert "rename one of them" in entries["b.tif"].message
    assert entries["b.tif.pdf"].state is State.DONE


def test_an_output_made_by_hand_after_a_failure_stays(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.run(lambda job: Outcome(State.FAILED, "no luck"))
    (tree.destination / "a.pdf").write_text("by hand")

    assert tree.run() == []
    assert (tree.destination / "a.pdf").read_text() == "by hand"


def test_sidecars_of_others_are_not_overwritten(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.destination.mkdir()
    (tree.destination / "a.pdf.txt").write_text("notes")
    assert tree.run(args=("--sidecar",)) == []


def test_a_link_from_destination_to_source_costs_no_input(tree: Tree) -> None:
    scan = tree.add("box/a.pdf")
    tree.destination.mkdir()
    (tree.destination / "box").symlink_to(tree.source / "box")

    assert tree.run() == []
    assert scan.read_text() == "a scan"
    assert "link out of the destination" in tree.entries()["box/a.pdf"].message


def test_destinations_inside_the_source_are_left_out(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.destination = tree.source / "searchable"
    assert tree.run() == ["a.pdf"]
    tree.destination = tree.source / "again"
    assert tree.run() == ["a.pdf"]


def test_loops_of_links_end(tree: Tree) -> None:
    tree.add("box/a.pdf")
    (tree.source / "box" / "up").symlink_to("..")
    (tree.source / "loop.pdf").symlink_to("loop.pdf")
    (tree.source / "link.pdf").symlink_to("box/a.pdf")
    (tree.source / "folder.pdf").mkdir()
    os.mkfifo(tree.source / "pipe.pdf")

    def convert(job: Job) -> Outcome:
        return copy(job) if Path(job.source).exists() else Outcome(State.VANISHED)

    assert sorted(tree.run(convert)) == ["box/a.pdf", "link.pdf", "loop.pdf"]


def test_names_may_be_any_bytes(tree: Tree) -> None:
    names = [
        "-rf.pdf",
        "line\nbreak.pdf",
        "ümlaut 漢.pdf",
        os.fsdecode(b"bad\xff.pdf"),
        "%3f#?.pdf",
    ]
    for name in names:
        tree.add(name)
    assert sorted(tree.run()) == sorted(names)
    assert sorted(p.name for p in tree.destination.glob("*.pdf")) == sorted(names)
    assert tree.run() == []


@pytest.mark.parametrize("inside", ["", "deep/scans"])
def test_a_destination_that_holds_the_source_is_refused(tmp_path: Path, inside: str) -> None:
    source = tmp_path / inside
    source.mkdir(parents=True, exist_ok=True)
    with pytest.raises(ArchiveError, match="must not be the source or hold it") as error:
        make_rules(source, tmp_path, ())
    assert error.value.exit_code == USAGE


def test_wrong_folders_are_named(tree: Tree) -> None:
    with pytest.raises(ArchiveError, match="nowhere: no such folder"):
        make_rules(tree.source / "nowhere", tree.destination, ())
    with pytest.raises(ArchiveError, match="is not a folder"):
        make_rules(tree.add("a.pdf"), tree.destination, ())
    with pytest.raises(ArchiveError, match="no PDFs or images here"):
        (tree.source / "a.pdf").unlink()
        tree.run()
    with pytest.raises(ArchiveError, match=r"a\.pdf/out: cannot write here: Not a directory"):
        tree.destination = tree.add("a.pdf") / "out"
        tree.run()


def test_another_source_is_refused(tree: Tree, tmp_path: Path) -> None:
    tree.add("a.pdf")
    tree.run()
    tree.source.rename(tmp_path / "other")
    tree.source = tmp_path / "other"
    with pytest.raises(ArchiveError, match="choose another destination"):
        tree.run()


def test_a_source_without_scans_does_not_take_the_destination(tree: Tree, tmp_path: Path) -> None:
    scans, tree.source = tree.source, tmp_path
    with pytest.raises(ArchiveError, match="no PDFs or images here"):
        tree.run()
    tree.source = scans
    tree.add("a.pdf")
    assert tree.run() == ["a.pdf"]


def test_two_runs_at_once_are_refused(tree: Tree) -> None:
    tree.add("a.pdf")
    with open_journal(tree.destination), pytest.raises(ArchiveError, match="another run") as error:
        tree.run()
    assert error.value.exit_code == FAILED
    assert tree.run() == ["a.pdf"]


def test_a_journal_that_is_none_is_named(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.destination.mkdir()
    (tree.destination / journals.NAME).write_text("this is not a database, but long enough" * 9)
    with pytest.raises(ArchiveError, match="the journal cannot be used: file is not a database"):
        tree.run()


def test_nothing_is_finished_twice(tree: Tree) -> None:
    tree.add("a.pdf")
    tree.run()
    [entry] = tree.entries().values()
    with open_journal(tree.destination) as journal:
        assert journal.finish(entry.id, DONE, "", max_tries=3, ours=True) is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["in.pdf"], "unrecognized arguments"),
        (["--sidecar", "all.txt"], "--sidecar: every file has its own"),
        (["--output-type", "none"], "--output-type none"),
        (["--skip-text", "--force-ocr"], "Choose only one"),
        (["--help"], "ask ocrmypdf itself"),
    ],
)
def test_wrong_options_are_named(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ArchiveError, match=f"OCRmyPDF's options: .*{message}") as error:
        parse(args, "/in.pdf", "/out.pdf")
    assert "\n" not in str(error.value)
    assert error.value.exit_code == USAGE


def test_reports_account_for_every_file(tree: Tree, tmp_path: Path) -> None:
    names = ["<b>.pdf", "line\nbreak.pdf", os.fsdecode(b"bad\xff.pdf")]
    for name in names:
        tree.add(name)
    tree.run(lambda job: copy(job) if "<b>" in job.source else Outcome(State.SIGNED, "a & b"))
    with journals.read_journal(tree.destination) as journal:
        report.write(journal, tmp_path / "r.csv")
        report.write(journal, tmp_path / "r.html")

    with (tmp_path / "r.csv").open(newline="", errors="surrogateescape") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted(names)
    assert (rows["<b>.pdf"]["state"], rows["<b>.pdf"]["pages"]) == ("done", "1")
    page = (tmp_path / "r.html").read_text()
    assert "&lt;b&gt;.pdf" in page and "a &amp; b" in page and "bad\\udcff.pdf" in page
    with pytest.raises(ArchiveError, match=r"name a \.csv or an \.html"):
        report.check_name(tmp_path / "r.txt")
