"""The table of whole documents: the `ocrmypdf` command with each engine on the same PDFs.

A folder of page images with truth becomes one PDF; a PDF is taken as it is, without truth.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import logging
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import img2pdf
import pikepdf
import psutil
from PIL import Image

from .engines import Settings, Unavailable, cpu_seconds
from .figure import drawn
from .report import number, percent
from .scores import TextScore, score
from .truth import TruthPage, is_case_blind, named, read_folder, spread

log = logging.getLogger(__name__)

HEADERS = (
    "PDF",
    "engine",
    "pages",
    "wall s",
    "pages/min",
    "CPU s/page",
    "peak MB",
    "fCER %",
    "CER %",
    "F1 %",
)
ASSUMED_DPI = 300
_POLL_SECONDS = 0.1
_FORK_SECONDS = 1.0

Arguments = list[str]


@dataclass(frozen=True)
class Document:
    """A PDF and the truth of its pages, if there is any, and whether case counts in it."""

    name: str
    path: Path
    pages: int
    truth: list[TruthPage] = field(default_factory=list)
    nocase: bool = False


@dataclass(frozen=True)
class Result:
    """What a run cost; `peak_bytes` is the resident memory of all its processes at one time."""

    document: str
    engine: str
    pages: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    text: TextScore | None

    def row(self) -> list[str]:
        """A row under HEADERS."""
        text = self.text
        return [
            self.document,
            self.engine,
            str(self.pages),
            number(self.seconds, 1),
            number(60 * self.pages / self.seconds, 1),
            number(self.cpu_seconds / self.pages),
            number(self.peak_bytes / 1e6, 0),
            *(percent(s) for s in ((text.fcer, text.cer, text.f1) if text else (None,) * 3)),
        ]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def run(
    sources: list[Path],
    engines: dict[str, Arguments],
    limit: int | None,
    nocase: bool,
    jobs: int | None,
) -> list[Result]:
    """Run the command on each source, with one engine after the other.

    A run that fails is named in the log, with why, and has no result.
    """
    results = []
    with tempfile.TemporaryDirectory(prefix="trocr-bench-") as folder:
        for index, source in enumerate(sources):
            document = _document(source, Path(folder) / f"{index}.pdf", limit, nocase)
            for name, arguments in engines.items():
                log.info("%s: %d pages with %s", document.name, document.pages, name)
                if jobs is not None:
                    arguments = [*arguments, "--jobs", str(jobs)]
                try:
                    result = run_command(document, name, arguments, Path(folder))
                    log.info(
                        "%s", ", ".join(map(" ".join, zip(HEADERS, result.row(), strict=True)))
                    )
                    results.append(result)
                except RuntimeError as e:
                    log.error("%s", e)
    return results


# What is drawn of a result; nothing where it has no such figure.
_DRAWN: dict[str, Callable[[Result], float]] = {
    "pages a minute": lambda r: 60 * r.pages / r.seconds,
    "core seconds a page": lambda r: r.cpu_seconds / r.pages,
    "peak memory, MB": lambda r: r.peak_bytes / 1e6,
    "fCER, %": lambda r: 100 * r.text.fcer if r.text else math.nan,
}


def plot(results: Sequence[Result], path: Path) -> None:
    """Each figure by document, the engines beside each other, as a PNG; ImportError where
    matplotlib is missing."""
    documents, engines = (
        list(dict.fromkeys(names))
        for names in ([r.document for r in results], [r.engine for r in results])
    )
    width = 0.8 / max(1, len(engines))
    with drawn(path, len(_DRAWN), (4 * len(_DRAWN), 4)) as panels:
        for axes, (title, figure) in zip(panels, _DRAWN.items(), strict=True):
            for i, engine in enumerate(engines):
                found = [r for r in results if r.engine == engine]
                at = [documents.index(r.document) + i * width for r in found]
                bars = axes.bar(at, list(map(figure, found)), width, label=engine)
                axes.bar_label(bars, fmt="%.3g", fontsize=7)
            middle = (len(engines) - 1) * width / 2
            axes.set_xticks([k + middle for k in range(len(documents))], documents, rotation=20)
            axes.set_title(title)
        names = panels[0].get_legend_handles_labels()
        panels[0].figure.legend(*names, loc="lower center", bbox_to_anchor=(0.5, 0.97), ncols=9)


def _document(source: Path, target: Path, limit: int | None, nocase: bool) -> Document:
    if source.is_dir():
        every = read_folder(source)
        truth = spread(every, limit)
        blind = nocase or is_case_blind(page.text for page in every)
        write_pdf([page.image for page in truth], target)
        return Document(named(source.name, blind), target, len(truth), truth, blind)
    try:
        with pikepdf.open(source) as pdf:
            pages = len(pdf.pages)
    except (OSError, pikepdf.PdfError) as e:
        raise ValueError(f"{source}: neither a folder nor a PDF that can be read: {e}") from e
    return Document(source.stem, source, pages)


def write_pdf(images: list[Path], target: Path) -> None:
    """A PDF of page images, each as it is; one that tells no resolution is taken for 300 dpi."""
    with pikepdf.new() as pdf:
        for path in images:
            with pikepdf.open(io.BytesIO(_one_page(path))) as page:
                pdf.pages.extend(page.pages)
        pdf.save(target)


def _one_page(path: Path) -> bytes:
    with Image.open(path) as image:
        known = "dpi" in image.info
    if not known:
        log.info("%s tells no resolution, taken for %d dpi", path.name, ASSUMED_DPI)
    fixed = img2pdf.get_fixed_dpi_layout_fun((ASSUMED_DPI, ASSUMED_DPI))
    layout = img2pdf.default_layout_fun if known else fixed
    try:
        return img2pdf.convert(str(path), layout_fun=layout)
    except (img2pdf.ImageOpenError, img2pdf.AlphaChannelError) as e:
        raise ValueError(f"{path}: img2pdf cannot make a PDF of it: {e}") from e


def run_command(document: Document, engine: str, arguments: Arguments, folder: Path) -> Result:
    """Run the command once; raises RuntimeError, one line, where it fails."""
    sidecar, errors = folder / "text.txt", folder / "stderr.txt"
    command = [sys.executable, "-m", "ocrmypdf", "--quiet", *arguments]
    command += ["--sidecar", str(sidecar), str(document.path), str(folder / "output.pdf")]
    cpu, start = cpu_seconds(), time.perf_counter()
    with errors.open("wb") as stderr, subprocess.Popen(command, stderr=stderr) as process:
        peak = _watch_memory(process)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    if process.returncode:
        lines = errors.read_text(errors="replace").strip().splitlines()
        raise RuntimeError(
            f"{document.name} with {engine}: ocrmypdf exits with {process.returncode}: "
            f"{lines[-1] if lines else 'no message'}"
        )
    text = _score(document, sidecar.read_text(encoding="utf-8"))
    return Result(document.name, engine, document.pages, seconds, cpu, peak, text)


def _watch_memory(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process to end; the most memory that it and its children held at one time."""
    peak = 0
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        held = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in (parent, *parent.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    held += 0 if _is_fork(one, parent) else one.memory_info().rss
        peak = max(peak, held)
        time.sleep(_POLL_SECONDS)
    return peak


def _is_fork(child: psutil.Process, parent: psutil.Process) -> bool:
    """Is this a copy of its parent, about to become another program?  The memory is the parent's.

    OCRmyPDF looks for a dozen programs when a document is done: a run that was caught at
    it seemed to hold twice its memory.
    """
    young = time.time() - child.create_time() < _FORK_SECONDS
    return child != parent and young and child.cmdline() == parent.cmdline()


def _score(document: Document, text: str) -> TextScore | None:
    """The pages of the sidecar text against the truth."""
    if not document.truth:
        return None
    pages = text.split("\f")
    pages += [""] * (len(document.truth) - len(pages))
    return sum(
        (
            score([line.text for line in page.lines], read.split("\n"), document.nocase)
            for page, read in zip(document.truth, pages, strict=False)
        ),
        TextScore(),
    )


def _trocr(settings: Settings) -> Arguments:
    arguments = ["--plugin", "ocrmypdf_trocr_mlx", "--ocr-engine", "trocr"]
    return [*arguments, *_trocr_model(settings), "--trocr-device", settings.device]


def _trocr_model(settings: Settings) -> Arguments:
    return [] if settings.model is None else ["--trocr-model", settings.model]


def _tesseract(settings: Settings) -> Arguments:
    if shutil.which("tesseract") is None:
        raise Unavailable("no command tesseract, install it with your package manager")
    return ["--ocr-engine", "tesseract", "--language", settings.language]


def _rapidocr(settings: Settings) -> Arguments:
    if importlib.util.find_spec("ocrmypdf_rapidocr") is None:
        raise Unavailable("pip install ocrmypdf-rapidocr")
    # It has no name for --ocr-engine and goes before our plugin by being named last; where ours
    # is installed, too, its options are still checked.
    arguments = ["--plugin", "ocrmypdf_rapidocr", "--language", settings.language]
    if any(e.name == "trocr_mlx" for e in importlib.metadata.entry_points(group="ocrmypdf")):
        arguments += _trocr_model(settings)
    return arguments


def _easyocr(settings: Settings) -> Arguments:
    if importlib.util.find_spec("ocrmypdf_easyocr") is None:
        raise Unavailable("pip install ocrmypdf-easyocr")
    return ["--ocr-engine", "easyocr", "--language", settings.language]


COMMANDS = {"trocr": _trocr, "tesseract": _tesseract, "rapidocr": _rapidocr, "easyocr": _easyocr}
