"""One document through OCRmyPDF: the output appears whole in its place, or not at all."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import ocrmypdf
import pikepdf
from ocrmypdf import exceptions as refusals
from ocrmypdf.exceptions import ExitCode, ExitCodeException
from PIL import Image

from ocrmypdf_trocr_mlx.archive.job import (
    UNUSABLE,
    USAGE,
    ArchiveError,
    Job,
    Outcome,
    State,
    display,
    one_line,
)
from ocrmypdf_trocr_mlx.archive.options import parse

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_FULL_BYTES = 1 << 16  # less than this free is full: no PDF fits
_MESSAGE_CHARACTERS = 500
_WORK_COPY = re.compile(
    r"[^\s']*/ocrmypdf\.io\.[^/\s]+/origin(\.pdf)?"
)  # OCRmyPDF's link to the file
# An output that is no PDF/A is a good PDF all the same; what OCRmyPDF logs of it is noted.
_GOOD_CODES = (ExitCode.ok, ExitCode.pdfa_conversion_failed)
_UNREADABLE = (
    refusals.UnsupportedImageFormatError,
    refusals.DpiError,
    pikepdf.PdfError,
    Image.UnidentifiedImageError,
    Image.DecompressionBombError,
)


class Converter:
    """Converts documents one after the other, with one engine, in the thread that calls."""

    def __init__(self, args: Sequence[str]):
        self._args = list(args)

    def prepare(self) -> str:
        """Convert a blank page, which loads the model; gives the device that computes.

        Raises ArchiveError for what would make every document fail.
        """
        with tempfile.TemporaryDirectory() as folder:
            page, output = Path(folder, "blank.png"), Path(folder, "blank.pdf")
            Image.new("L", (620, 877), "white").save(page, dpi=(150, 150))
            options = parse(self._args, str(page), str(output))
            try:
                ocrmypdf.ocr(options, plugins=options.plugins)
            except ExitCodeException as e:
                usage = e.exit_code == ExitCode.bad_args
                raise ArchiveError(_describe(e, str(page)), USAGE if usage else UNUSABLE) from e
            except Exception as e:
                problem = f"OCRmyPDF cannot convert a blank page: {_describe(e, str(page))}"
                raise ArchiveError(problem, UNUSABLE) from e
        return _device(options)

    def convert(self, job: Job) -> Outcome:
        """Make one document searchable; raises ArchiveError only where no other could be."""
        begin = time.monotonic()
        outcome = Outcome(State.RUNNING)
        try:
            outcome = _examine(Path(job.source))
            outcome = self._ocr(job, outcome)
        except Exception as e:
            _raise_if_full(e, job)
            state = _state_of(e) if Path(job.source).exists() else State.VANISHED
            outcome = replace(outcome, state=state, message=_describe(e, job.source))
        finally:
            job.remove_parts()
        return replace(outcome, seconds=round(time.monotonic() - begin, 3))

    def _ocr(self, job: Job, examined: Outcome) -> Outcome:
        if not examined.size:
            return replace(examined, state=State.UNREADABLE, message="the file is empty")
        source, output = Path(job.source), Path(job.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        # Not .pdf: others may watch the destination for PDFs.
        part = output.parent / f"{job.part_prefix}{secrets.token_hex(4)}.part"
        with _nameable(part.parent) as folder, _warnings() as said:
            options = parse(self._args, job.source, str(folder / part.name))
            text = part.with_suffix(".text.part") if options.sidecar else None
            options.sidecar = folder / text.name if text else None
            try:
                code = ocrmypdf.ocr(options, plugins=options.plugins)
            except ExitCodeException as e:
                if not str(e) and said:  # the reason was logged
                    e.args = (said[0],)
                raise
        if code not in _GOOD_CODES:
            problem = _shorten("; ".join(said) or f"OCRmyPDF's exit code {code}")
            return replace(examined, state=State.FAILED, message=problem)
        now = source.stat()
        if (now.st_size, now.st_mtime_ns) != (examined.size, examined.mtime_ns):
            problem = "the file changed while it was converted"
            return replace(examined, state=State.FAILED, message=problem)
        with _pdf(part) as pdf:
            pages = len(pdf.pages)
        if text:
            _publish(text, Path(f"{output}.txt"))
        _publish(part, output)
        message = _shorten("; ".join([*_lost_lock(source), *said]))
        return replace(examined, state=State.DONE, message=message, pages=pages)


def _examine(source: Path) -> Outcome:
    """The file as it is before OCR."""
    with source.open("rb") as file:
        stat = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Outcome(State.RUNNING, size=stat.st_size, mtime_ns=stat.st_mtime_ns, sha256=digest)


def _lost_lock(source: Path) -> Iterator[str]:
    """What to say of a PDF that opens without a password but forbids copying or the like.

    OCRmyPDF converts it, and what it writes forbids nothing.
    """
    with suppress(pikepdf.PdfError), _pdf(source) as pdf:  # PdfError: it is an image
        if pdf.is_encrypted:
            yield "its restrictions (owner password) are not in the searchable copy"


@contextmanager
def _pdf(path: Path) -> Iterator[pikepdf.Pdf]:
    """pikepdf itself takes no names but UTF-8."""
    with path.open("rb") as file, pikepdf.open(file) as pdf:
        yield pdf


def _publish(part: Path, output: Path) -> None:
    """Put a whole file in its place, safe against power failure."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(output)
    folder = os.open(output.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _state_of(error: BaseException) -> State:
    """OCRmyPDF's exceptions, whose exit codes alone do not tell a signature from damage."""
    code = getattr(error, "exit_code", None)
    if code == ExitCode.already_done_ocr:
        return State.SEARCHABLE
    if code == ExitCode.encrypted_pdf:
        return State.ENCRYPTED
    if isinstance(error, refusals.DigitalSignatureError):
        return State.SIGNED
    if isinstance(error, _UNREADABLE) or type(error) is refusals.InputFileError:
        return State.UNREADABLE
    return State.FAILED


def _describe(error: BaseException, source: str) -> str:
    """What is wrong, in one line that names no temporary file."""
    if isinstance(error, refusals.EncryptedPdfError):
        return "decrypt it first, for instance with qpdf --decrypt"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error) or str(error.__cause__ or "")
    if not isinstance(error, ExitCodeException):
        text = f"{type(error).__name__}: {text}"
    return _shorten(_WORK_COPY.sub(lambda _: source, text) or type(error).__name__)


def _shorten(text: str) -> str:
    line = display(one_line(text))
    return line if len(line) <= _MESSAGE_CHARACTERS else f"{line[:_MESSAGE_CHARACTERS]}…"


def _raise_if_full(error: BaseException, job: Job) -> None:
    """A full disk would fail every other document too."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in _FULL:
            _raise_full(chain.strerror or "full", chain.filename)
        chain = chain.__cause__ or chain.__context__
    for folder in (Path(job.output).parent, Path(tempfile.gettempdir())):
        if folder.exists() and shutil.disk_usage(folder).free < _FULL_BYTES:
            _raise_full(os.strerror(errno.ENOSPC), folder)


def _raise_full(problem: str, where: object) -> None:
    raise ArchiveError(
        f"{problem}: {display(str(where or 'the destination or the temporary folder'))}: "
        "make room and start again, what is done stays done"
    )


@contextmanager
def _nameable(folder: Path) -> Iterator[Path]:
    """A path to the folder that is UTF-8: OCRmyPDF opens what it wrote by a name, see `_pdf`."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as temporary:
            link = Path(temporary, "folder")
            link.symlink_to(folder)
            yield link
    else:
        yield folder


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What OCRmyPDF and this package warn of meanwhile, such as a page that could not be read."""
    handler = _Listener(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("ocrmypdf", "ocrmypdf_trocr_mlx")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield handler.said
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class _Listener(logging.Handler):
    """Keeps what is logged, without the time and place."""

    def __init__(self, level: int):
        super().__init__(level)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _device(options: ocrmypdf.OcrOptions) -> str:
    if "mlx.core" not in sys.modules:
        return "cpu"
    import mlx.core as mx

    gpu = mx.is_available(mx.gpu) and options.extra_attrs.get("trocr_device") != "cpu"
    info = mx.device_info(mx.gpu if gpu else mx.cpu)
    return f"{'gpu' if gpu else 'cpu'} {info.get('device_name', '')}".strip()
