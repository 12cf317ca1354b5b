"""Whether everything that reading needs is there and works, and the cure where it does not."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ocrmypdf_trocr_mlx import __version__, backend

State = Literal["ok", "warning", "failed"]

_PACKAGES = ("mlx", "ocrmypdf", "pypdfium2", "pikepdf", "pillow", "numpy", "transformers")
_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python")
_LEAST_MEMORY = 1.5 * 2**30
_LINE = "The quick brown fox jumps over the lazy dog."
_ALIKE = 0.8
_SECONDS = 10


@dataclass(frozen=True)
class Check:
    """What was looked at and found; `cure` says what to do where it is not well."""

    name: str
    state: State
    found: str
    cure: str = ""


def examine(model: str | None = None, device: str = "auto") -> Iterator[Check]:
    """All checks, one after the other; none raises."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("plugin", _plugin),
        ("device", lambda: _device(device)),
        ("matrix products", _blas),
        ("memory", _memory),
        ("PDFium", _pdfium),
        ("Ghostscript", _ghostscript),
        ("model", lambda: _model(model)),
        ("reading", lambda: _reading(model, device)),
    ]
    for name, check in checks:
        try:
            yield check()
        except Exception as e:
            reason = " ".join(str(e).split()) or type(e).__name__
            yield Check(name, "failed", reason, "install the package again: pip install --force")


def _python() -> Check:
    found = f"{platform.python_version()}, {platform.platform()}"
    if sys.platform == "darwin" and platform.machine() != "arm64":
        return Check("Python", "failed", found, "MLX needs Apple silicon and an arm64 Python")
    return Check("Python", "ok", found)


def _packages() -> Check:
    versions, missing = [f"ocrmypdf-trocr-mlx {__version__}"], []
    opencv = next(filter(_version, _OPENCV), _OPENCV[0])
    for name in (*_PACKAGES, opencv):
        version = _version(name)
        versions += [f"{name} {version}"] if version else []
        missing += [] if version else [name]
    found = ", ".join(versions)
    if missing:
        cure = f"pip install {' '.join(missing)}"
        return Check("packages", "failed", f"missing: {', '.join(missing)}", cure)
    return Check("packages", "ok", found)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plugin() -> Check:
    entries = importlib.metadata.entry_points(group="ocrmypdf")
    if any(entry.value.startswith("ocrmypdf_trocr_mlx") for entry in entries):
        return Check("plugin", "ok", "OCRmyPDF finds it by itself")
    cure = "install the package with pip, or run ocrmypdf --plugin ocrmypdf_trocr_mlx"
    return Check("plugin", "warning", "OCRmyPDF does not find it by itself", cure)


def _device(device: str) -> Check:
    try:
        backend.prepare(device)
    except ValueError as e:
        return Check("device", "failed", str(e), "leave --device out, or see above")
    import mlx.core as mx

    on_gpu = mx.default_device().type == mx.gpu
    if not on_gpu and device != "cpu" and shutil.which("nvidia-smi"):
        cure = "pip install 'ocrmypdf-trocr-mlx[cuda]' to use the NVIDIA GPU"
        return Check("device", "warning", "CPU, though there is an NVIDIA driver", cure)
    count = f"CPU, {backend.available_cpus()} processors"
    return Check("device", "ok", "GPU" if on_gpu else count)


def _blas() -> Check:
    fast = backend.load_blas()
    speed = max(backend.matmul_gflops() for _ in range(3))
    found = f"{speed:.0f} GF/s"
    if speed >= backend.SLOW_GFLOPS:
        return Check("matrix products", "ok", found)
    load = os.getloadavg()[0]
    if fast or load > backend.available_cpus():
        cure = f"try again when other programs use the processors less (load now {load:.0f})"
    else:
        cure = "install OpenBLAS: apt install libopenblas0"
    return Check("matrix products", "warning", f"{found}, slow", cure)


def _memory() -> Check:
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    found = f"{total / 2**30:.1f} GiB"
    free = total
    if "SC_AVPHYS_PAGES" in os.sysconf_names:
        free = page * os.sysconf("SC_AVPHYS_PAGES")
        found += f", {free / 2**30:.1f} GiB free"
    if total < _LEAST_MEMORY:
        cure = "read with --batch-size 4, and ocrmypdf with --jobs 1"
        return Check("memory", "warning", found, cure)
    return Check("memory", "ok", found)


def _pdfium() -> Check:
    import pypdfium2

    pdf = pypdfium2.PdfDocument.new()
    pdf.new_page(72, 72)
    width, _ = pdf[0].render(scale=2).to_pil().size
    if width != 144:
        return Check("PDFium", "failed", f"renders {width} pixels for 144", "pip install pypdfium2")
    return Check("PDFium", "ok", str(pypdfium2.PDFIUM_INFO))


def _ghostscript() -> Check:
    path = shutil.which("gs")
    if path is None:
        cure = (
            "install ghostscript for --output-type pdfa; without that option OCRmyPDF makes "
            "PDF/A by itself where it can"
        )
        return Check("Ghostscript", "warning", "not there", cure)
    done = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=True
    )
    return Check("Ghostscript", "ok", done.stdout.strip())


def _model(model: str | None) -> Check:
    from ocrmypdf_trocr_mlx.checkpoints.describe import describe
    from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
    from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

    try:
        found = describe(resolve(model))
    except CheckpointError as e:
        cure = "choose another with --model, or `trocr-mlx inspect NAME` to download it"
        return Check("model", "failed", str(e), cure)
    millions = found.parameters["total"] / 1e6
    stored = found.stored["dtype"]
    return Check("model", "ok", f"{found.source}, {millions:.1f} M parameters in {stored}")


def _reading(model: str | None, device: str) -> Check:
    """A line whose text is known."""
    from ocrmypdf_trocr_mlx.recognizer import shared
    from ocrmypdf_trocr_mlx.samples import rendered_line

    start = time.perf_counter()
    try:
        recognizer = shared(model, device)
    except (RuntimeError, ValueError) as e:
        return Check("reading", "failed", str(e), "cure what is named above first")
    loaded = time.perf_counter()
    text = recognizer.read([rendered_line(_LINE)])[0].text
    seconds = time.perf_counter() - loaded
    found = f"{text!r} in {seconds:.2f} s, loaded in {loaded - start:.2f} s"
    if difflib.SequenceMatcher(None, text.lower(), _LINE.lower()).ratio() < _ALIKE:
        cure = f"it should be {_LINE!r}: try --device cpu and the bundled model"
        return Check("reading", "failed", found, cure)
    return Check("reading", "ok", found)
