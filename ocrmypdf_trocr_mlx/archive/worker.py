"""A process that converts documents: what crashes it costs one document, not the run.

The driver starts `python -m ocrmypdf_trocr_mlx.archive.worker` and they talk in lines of JSON.
The worker ends when its standard input does, even in the middle of a document: a driver that
was killed leaves no worker behind.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import IO, Any

from ocrmypdf_trocr_mlx.archive.job import INTERRUPTED, UNUSABLE, ArchiveError, Job, Outcome, State
from ocrmypdf_trocr_mlx.archive.options import parse
from ocrmypdf_trocr_mlx.archive.scratch import Scratch, make_scratch
from ocrmypdf_trocr_mlx.backend import available_cpus

log = logging.getLogger(__name__)

_MODULE = "ocrmypdf_trocr_mlx.archive.worker"
_SECONDS_TO_END = 10.0


class WorkerProcess:
    """The driver's end of a worker: for one thread, which others stop by `kill`
    and then `close`."""

    def __init__(self, args: Sequence[str], hours: float | None = None):
        """`hours`: the time that a document may take, None for any."""
        self._args = list(args)
        self._hours = hours
        self._process: subprocess.Popen[str] | None = None
        self._scratch: Scratch | None = None
        self._lock = threading.Lock()
        self._killed = False
        self._overdue = False
        self.name = ""  # host, process and device

    def convert(self, job: Job) -> Outcome:
        """Have a job done, by a new process if the last one died.

        Raises ArchiveError if the worker cannot work at all.
        """
        if self._process is None:
            self._start()
        with self._time_limit():
            answer = self._ask(asdict(job))
        if answer is not None:
            return Outcome(**{**answer, "state": State(answer["state"]), "worker": self.name})
        reason = self.close()
        job.remove_parts()
        if self._overdue:  # another try would take as long
            message = f"it took more than {self._hours:g} hours"
            return Outcome(State.FAILED, message, worker=self.name)
        message = f"the worker process {reason}"
        return Outcome(State.FAILED, message, worker=self.name, crashed=True)

    def kill(self) -> None:
        """End the process whatever it is doing, and start no other; from any thread."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                _kill(self._process)

    def close(self) -> str:
        """End the process and remove what it left; tells how it ended."""
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return "was stopped"
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()  # has it end by itself
        with suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_END)
        _kill(process)  # and its children
        code = process.wait()
        assert process.stdout is not None
        process.stdout.close()
        if self._scratch is not None:
            self._scratch.remove()
        if code >= 0:
            return f"ended with exit code {code}"
        return f"was killed by {signal.Signals(-code).name}"

    @contextmanager
    def _time_limit(self) -> Iterator[None]:
        """Ends the process, but not this object, if what is done meanwhile takes too long."""
        self._overdue = False
        if self._hours is None:
            yield
            return
        timer = threading.Timer(3600 * self._hours, self._end_overdue)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end_overdue(self) -> None:
        with self._lock:
            if self._process is not None:
                self._overdue = True
                _kill(self._process)

    def _start(self) -> None:
        with self._lock:
            if self._killed:
                raise ArchiveError("the run was stopped", INTERRUPTED)
            self._scratch = make_scratch()
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "TMPDIR": str(self._scratch.folder)},
                pass_fds=(self._scratch.lock,),
                encoding="utf-8",
                start_new_session=True,  # the terminal's Ctrl-C is for the driver
            )
            pid = self._process.pid
        answer = self._ask(self._args)
        if answer is None:
            raise ArchiveError(f"A worker process {self.close()} while it started", UNUSABLE)
        self.name = f"{socket.gethostname()}:{pid} {answer['device']}"

    def _ask(self, request: Any) -> dict[str, Any] | None:
        """None if the process died."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):  # ValueError: closed meanwhile
            return None
        if not line.endswith("\n"):
            return None
        answer = json.loads(line)
        if "fatal" in answer:
            raise ArchiveError(answer["fatal"], answer["exit_code"])
        return answer


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def share_processors(args: Sequence[str], workers: int) -> list[str]:
    """OCRmyPDF's options for each of so many workers of one machine."""
    if parse(args, os.devnull, "out.pdf").jobs:
        return [*args]
    return ["--jobs", str(max(1, available_cpus() // workers)), *args]


def main() -> None:
    """The worker's end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing that some library prints may come between the answers
    logging.captureWarnings(True)
    for name in ("", "ocrmypdf", "py.warnings"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    with suppress(RuntimeError):
        multiprocessing.set_start_method("forkserver")  # as ocrmypdf's own command does
    with suppress(OSError):
        os.nice(5)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin, requests), daemon=True).start()
    try:
        _serve(requests, answers)
    except ArchiveError as e:
        _answer(answers, {"fatal": str(e), "exit_code": e.exit_code})


def _listen(stdin: IO[str], requests: queue.SimpleQueue[str]) -> None:
    for line in stdin:
        requests.put(line)
    # The driver is gone.  A process of its own removes our temporary folder (ours alone, see
    # WorkerProcess) when nothing writes there any more, for all of our group dies now, with
    # Ghostscript and the like.
    remove = ["/bin/sh", "-c", 'sleep 1; rm -rf -- "$0"', tempfile.gettempdir()]
    subprocess.Popen(remove, stdin=subprocess.DEVNULL, start_new_session=True)
    os.killpg(0, signal.SIGKILL)


def _serve(requests: queue.SimpleQueue[str], answers: IO[str]) -> None:
    from ocrmypdf_trocr_mlx.archive.convert import Converter

    converter = Converter(json.loads(requests.get()))
    _answer(answers, {"device": converter.prepare()})
    while True:
        outcome = converter.convert(Job(**json.loads(requests.get())))
        _answer(answers, asdict(outcome))


def _answer(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
