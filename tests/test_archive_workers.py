"""Archives through OCRmyPDF in worker processes: damaged files, crashes, kills, full disks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from conftest import TEXT
from PIL import Image
from typer.testing import CliRunner

from ocrmypdf_trocr_mlx.archive import journal as journals
from ocrmypdf_trocr_mlx.archive.job import ArchiveError, Outcome, State
from ocrmypdf_trocr_mlx.archive.journal import Entry
from ocrmypdf_trocr_mlx.archive.run import LocalPool, make_rules, open_archive, read_tree
from ocrmypdf_trocr_mlx.cli import app

FAKE = str(Path(__file__).with_name("fake_reader_plugin.py"))
OPTIONS = ["--plugin", FAKE, "--output-type", "pdf", "--jobs", "1"]
CLI = [sys.executable, "-c", "from ocrmypdf_trocr_mlx.cli import main; main()"]
Scan = Callable[..., Path]


def states(destination: Path) -> dict[str, State]:
    with journals.read_journal(destination) as journal:
        return {entry.path: entry.state for entry in journal.entries()}


def text_of(pdf: Path) -> list[str]:
    return [page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(pdf)]


def digests(folder: Path) -> dict[Path, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_a_tree_of_all_sorts(source: Path, scan: Scan, tmp_path: Path) -> None:
    good = scan("one", "two").rename(source / "line\nbreak ü.pdf")
    box = source / os.fsdecode(b"b\xffx")
    box.mkdir()
    Image.new("L", (850, 550), "white").save(
        box / os.fsdecode(b"-stack\xff.tif"),
        dpi=(150, 150),
        save_all=True,
        append_images=[Image.new("L", (400, 300), "white")],
    )
    Image.new("L", (850, 550), "white").save(source / "no resolution.png")
    (source / "empty.pdf").touch()
    (source / "truncated.pdf").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (source / "text.pdf").write_text("no PDF")
    noise = Image.frombytes("L", (400, 300), os.urandom(120_000))
    noise.save(source / "truncated.jpg", dpi=(150, 150))
    (source / "truncated.jpg").write_bytes((source / "truncated.jpg").read_bytes()[:20_000])
    (source / "dangling.pdf").symlink_to("nowhere.pdf")
    with pikepdf.open(good) as pdf:
        pdf.save(source / "encrypted.pdf", encryption=pikepdf.Encryption(user="u", owner="o"))
        pdf.save(source / "locked.pdf", encryption=pikepdf.Encryption(user="", owner="o"))
        pdf.Root.AcroForm = pikepdf.Dictionary(SigFlags=3, Fields=[])
        pdf.save(source / "signed.pdf")
    before = digests(source)
    out = tmp_path / "out"
    args = ["archive", str(source), str(out), "--report", str(tmp_path / "r.csv")]

    result = CliRunner().invoke(app, [*args, "--", *OPTIONS, "--sidecar"])
    assert result.exit_code == 1, result.output
    stack = os.fsdecode(b"b\xffx/-stack\xff.tif")
    assert states(out) == {
        "line\nbreak ü.pdf": State.DONE,
        stack: State.DONE,
        "no resolution.png": State.UNREADABLE,
        "empty.pdf": State.UNREADABLE,
        "truncated.pdf": State.UNREADABLE,
        "text.pdf": State.UNREADABLE,
        "truncated.jpg": State.FAILED,
        "dangling.pdf": State.VANISHED,
        "encrypted.pdf": State.ENCRYPTED,
        "locked.pdf": State.DONE,
        "signed.pdf": State.SIGNED,
    }
    for made in (out / good.name, out / f"{stack}.pdf"):
        assert [TEXT[0][0] in page for page in text_of(made)] == [True, True]
        assert TEXT[0][0] in Path(f"{made}.txt").read_text()
    assert "locked.pdf: done: its restrictions (owner password) are not in" in result.stderr
    assert not pikepdf.open(out / "locked.pdf").is_encrypted
    assert digests(source) == before
    assert not list(out.rglob(".trocr-mlx-*"))

    searchable = source / "searchable.pdf"
    searchable.write_bytes((out / good.name).read_bytes())
    again = CliRunner().invoke(app, [*args, "--json", "--", *OPTIONS, "--sidecar"])
    assert again.exit_code == 1  # what failed was tried again
    assert json.loads(again.stdout)["run"] == {"failed": 1, "searchable": 1}
    assert states(out)["searchable.pdf"] is State.SEARCHABLE


@pytest.fixture
def poison(tmp_path: Path) -> str:
    """A plugin that kills the process which converts poison.pdf."""
    path = tmp_path / "poison_plugin.py"
    path.write_text(
        "import os, signal\nfrom ocrmypdf import hookimpl\n\n@hookimpl\n"
        "def validate(pdfinfo, options):\n"
        "    if 'poison' in str(options.input_file):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    return str(path)


def convert_all(
    source: Path, out: Path, args: list[str], hours: float | None = None
) -> list[tuple[str, State, Outcome]]:
    heard = []

    def listen(entry: Entry, state: State, outcome: Outcome) -> None:
        heard.append((entry.path, state, outcome))

    rules = make_rules(source, out, args, tries=2)
    with open_archive(rules, args, lambda: LocalPool(args, 1, hours), listen) as archive:
        read_tree(archive.journal, rules)
        archive.work()
    return heard


def test_a_file_that_kills_its_worker_costs_no_other(
    source: Path, scan: Scan, poison: str, tmp_path: Path
) -> None:
    scan("a").rename(source / "a poison.pdf")
    scan("b").rename(source / "b.pdf")
    heard = convert_all(source, tmp_path / "out", [*OPTIONS, "--plugin", poison])

    assert [path for path, _, _ in heard] == ["a poison.pdf", "b.pdf", "a poison.pdf"]
    assert heard[-1][2].message == "the worker process was killed by SIGKILL"
    assert states(tmp_path / "out") == {"a poison.pdf": State.FAILED, "b.pdf": State.DONE}


def test_a_file_that_hangs_costs_its_time_and_no_other(
    source: Path, scan: Scan, poison: str, tmp_path: Path
) -> None:
    Path(poison).write_text(
        Path(poison).read_text().replace("os.kill(os.getpid(), signal.SIGKILL)", "signal.pause()")
    )
    scan("a").rename(source / "a poison.pdf")
    scan("b").rename(source / "b.pdf")
    heard = convert_all(source, tmp_path / "out", [*OPTIONS, "--plugin", poison], 10 / 3600)

    assert [path for path, _, _ in heard] == ["a poison.pdf", "b.pdf"]
    assert heard[0][2].message == "it took more than 0.00277778 hours"
    assert states(tmp_path / "out") == {"a poison.pdf": State.FAILED, "b.pdf": State.DONE}
    assert not list((tmp_path / "out").glob("*.part"))


def test_what_would_fail_every_file_ends_the_run(source: Path, scan: Scan, tmp_path: Path) -> None:
    scan("a").rename(source / "a.pdf")
    with pytest.raises(ArchiveError, match=r"--trocr-model: .*/no/such: .*") as error:
        convert_all(source, tmp_path / "out", ["--trocr-model", "/no/such"])
    assert "\n" not in str(error.value)
    assert states(tmp_path / "out") == {"a.pdf": State.PENDING}


def test_sigkill_loses_only_the_files_in_hand(source: Path, scan: Scan, tmp_path: Path) -> None:
    for name in "abcdef":
        scan(name).rename(source / f"{name}.pdf")
    out, command = tmp_path / "out", [*CLI, "archive", str(source), str(tmp_path / "out")]
    run = subprocess.Popen([*command, "--", *OPTIONS], env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        wait_for(lambda: (out / "b.pdf").exists() or run.poll() is not None)
    finally:
        run.kill()
        run.wait()
    first = states(out)
    assert first["a.pdf"] is State.DONE and first["f.pdf"] is not State.DONE
    made = (out / "a.pdf").stat().st_mtime_ns
    wait_for(lambda: not list(tmp_path.glob("trocr-mlx-*")), 20)  # the worker has ended too

    assert subprocess.run([*command, "--", *OPTIONS], check=False).returncode == 0
    assert set(states(out).values()) == {State.DONE}
    assert (out / "a.pdf").stat().st_mtime_ns == made
    assert not list(out.rglob(".trocr-mlx-*"))


def children(pid: int) -> list[int]:
    """Of a process on Linux."""
    stats = (path.read_text() for path in Path("/proc").glob("[0-9]*/stat"))
    fields = [(int(s.split()[0]), int(s.rpartition(")")[2].split()[1])) for s in stats]
    return [child for child, parent in fields if parent == pid]


def ended(pid: int) -> bool:
    command_line = Path(f"/proc/{pid}/cmdline")
    return not command_line.exists() or not command_line.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_what_driver_and_worker_leave_when_both_are_killed_is_removed_by_the_next(
    source: Path, scan: Scan, poison: str, tmp_path: Path
) -> None:
    Path(poison).write_text(
        Path(poison).read_text().replace("os.kill(os.getpid(), signal.SIGKILL)", "signal.pause()")
    )
    scan("a").rename(source / "poison.pdf")
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    (temporary / "trocr-mlx-of-others").mkdir()
    command = [*CLI, "archive", str(source), str(out), "--", *OPTIONS]
    env = {**os.environ, "TMPDIR": str(temporary)}
    run = subprocess.Popen([*command, "--plugin", poison], env=env)
    wait_for(lambda: list(temporary.glob("trocr-mlx-*/ocrmypdf.io.*")))
    [worker] = children(run.pid)
    os.kill(worker, signal.SIGSTOP)  # or it would see its driver die, and clear up
    run.kill()
    run.wait()
    left = {path.name for path in temporary.iterdir()} - {"trocr-mlx-of-others"}
    assert len(left) == 1

    try:
        (source / "poison.pdf").rename(source / "a.pdf")
        assert subprocess.run(command, env=env, check=False).returncode == 1  # one has vanished
        assert left < {path.name for path in temporary.iterdir()}, "in use by the worker still"
        os.killpg(worker, signal.SIGKILL)
        wait_for(lambda: ended(worker))
        scan("b").rename(source / "b.pdf")
        assert subprocess.run(command, env=env, check=False).returncode == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker, signal.SIGKILL)
    assert [path.name for path in temporary.iterdir()] == ["trocr-mlx-of-others"]
    assert states(out)["b.pdf"] is State.DONE


def test_sigterm_stops_a_run_in_order(source: Path, scan: Scan, tmp_path: Path) -> None:
    for name in "abcd":
        scan(name).rename(source / f"{name}.pdf")
    out = tmp_path / "out"
    command = [*CLI, "archive", str(source), str(out), "--", *OPTIONS]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (out / "a.pdf").exists() or run.poll() is not None)
    run.send_signal(signal.SIGTERM)
    _, said = run.communicate(timeout=60)

    assert (run.returncode, said.splitlines()[-1]) == (
        130,
        "trocr-mlx: stopped: what is done stays done, start again to go on",
    )
    assert State.RUNNING not in states(out).values()


def test_a_full_disk_ends_the_run_and_leaves_no_half_file(
    source: Path, small_disk: Path, tmp_path: Path
) -> None:
    noise = Image.frombytes("L", (400, 300), os.urandom(120_000))
    noise.save(source / "a.png", dpi=(150, 150))
    with pytest.raises(ArchiveError, match=r"No space left on device.*make room") as error:
        convert_all(source, small_disk, OPTIONS)
    assert "\n" not in str(error.value)
    assert states(small_disk) == {"a.png": State.PENDING}
    assert {path.name for path in small_disk.iterdir()} == {journals.NAME, f"{journals.NAME}.lock"}

    remount = ["mount", "-o", "remount,size=10m", str(small_disk)]
    subprocess.run(remount, check=True)
    convert_all(source, small_disk, OPTIONS)
    assert states(small_disk) == {"a.png": State.DONE}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and three workers, each a process of its own."""
    pytest.importorskip("distributed")
    file = tmp_path / "scheduler.json"
    module = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    ]
    processes = [subprocess.Popen([*module, *options], **quiet)]
    try:
        wait_for(file.exists)
        module = [sys.executable, "-m", "distributed.cli.dask_worker"]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--scheduler-file", str(file)]
        folder = ["--local-directory", str(tmp_path / "dask")]
        for _ in range(3):
            processes.append(subprocess.Popen([*module, *options, *folder], **quiet))
        from distributed import Client

        with Client(scheduler_file=str(file), set_as_default=False, timeout=60) as client:
            client.wait_for_workers(3, 120)
            address = client.scheduler.address
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_a_dask_worker_dies_and_every_file_is_done_once(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], source: Path, scan: Scan, tmp_path: Path
) -> None:
    from ocrmypdf_trocr_mlx.archive.cluster import ClusterPool

    address, workers = cluster
    for i in range(12):
        scan(str(i)).rename(source / f"{i:02d}.pdf")
    out, finished = tmp_path / "out", Counter[str]()

    def listen(entry: Entry, state: State, outcome: Outcome) -> None:
        if not finished:
            workers[0].kill()  # it has a file in hand: each worker has from the start
        finished[entry.path] += 1
        assert (state, outcome.pages) == (State.DONE, 1)
        assert " cpu" in outcome.worker or " gpu" in outcome.worker

    rules = make_rules(source, out, OPTIONS)
    pool = lambda: ClusterPool(address, OPTIONS, rules.source)  # noqa: E731
    with open_archive(rules, OPTIONS, pool, listen) as archive:
        read_tree(archive.journal, rules)
        archive.work()

    assert finished == Counter(f"{i:02d}.pdf" for i in range(12))
    assert set(states(out).values()) == {State.DONE}
    assert all(TEXT[0][0] in text_of(out / name)[0] for name in finished)
    assert not list(out.rglob(".trocr-mlx-*"))
    with sqlite3.connect(out / journals.NAME) as db:
        assert db.execute("SELECT count(DISTINCT worker) >= 2 FROM file").fetchone() == (1,)


def test_a_missing_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    from ocrmypdf_trocr_mlx.archive import cluster as library

    monkeypatch.setattr(library, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(ArchiveError, match=r"--scheduler tcp://127.0.0.1:1: no Dask scheduler"):
        library.ClusterPool("tcp://127.0.0.1:1", [], Path("/"))
