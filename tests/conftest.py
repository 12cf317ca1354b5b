"""Scans, and stand-ins for page reader and model: the plugin's tests are about what is around."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ocrmypdf import OcrOptions
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx.options import TrOcrOptions
from ocrmypdf_trocr_mlx.result import Block, Box, Line, Page, Paragraph, Word

TEXT = (("Searchable", "text"), ("in", "two", "lines"))


def fixed_page(width: int, height: int) -> Page:
    """A page of `TEXT`, whatever the image shows."""
    lines = []
    for i, texts in enumerate(TEXT):
        y, words = 0.2 * height + 0.1 * height * i, []
        for j, text in enumerate(texts):
            left = 0.1 * width + 0.3 * width * j
            box = Box(left, y - 0.04 * height, left + 0.25 * width, y + 0.01 * height)
            words.append(Word(text, box, 0.9))
        baseline = ((words[0].box.left, y), (words[-1].box.right, y))
        lines.append(Line(words, baseline, 0.04 * height, 0.01 * height))
    return Page(width, height, [Block([Paragraph(lines)])])


class FakeReader:
    """Reads `TEXT` on every page, and remembers the images, gray."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []

    def read(self, image: Image.Image) -> Page:
        from ocrmypdf_trocr_mlx.gray import to_gray

        self.images.append(to_gray(image))
        return fixed_page(*image.size)


class FakeRecognizer:
    """Knows what it was made with, and whether it was closed."""

    def __init__(self, *asked: object) -> None:
        self.asked = asked
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def fake_shared(monkeypatch: pytest.MonkeyPatch, shared: Callable[..., object]) -> None:
    monkeypatch.setattr("ocrmypdf_trocr_mlx.recognizer.shared", shared)


def make_options(**trocr: object) -> OcrOptions:
    OcrOptions.register_plugin_models({"trocr": TrOcrOptions})
    made = OcrOptions(input_file="in.pdf", output_file="out.pdf")
    made.extra_attrs.update({f"trocr_{name}": value for name, value in trocr.items()})
    return made


def save(folder: Path, image: Image.Image, name: str = "000003_ocr.png", **info: object) -> Path:
    path = folder / name
    image.save(path, **info)
    return path


@pytest.fixture(autouse=True)
def own_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the engine its reader back if a test loads `fake_reader_plugin` in this process."""
    from ocrmypdf_trocr_mlx import engine

    monkeypatch.setattr(engine, "page_reader", engine.page_reader)


@pytest.fixture
def fake_reader(monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    """Makes the engine read with a `FakeReader`."""
    from ocrmypdf_trocr_mlx import engine

    reader = FakeReader()
    monkeypatch.setattr(engine, "page_reader", lambda options: reader)
    return reader


@pytest.fixture
def scan(tmp_path: Path) -> Callable[..., Path]:
    """Makes a PDF of scanned pages, a text to each."""

    def make(*texts: str, name: str = "scan.pdf") -> Path:
        pages = []
        for text in texts:
            page = Image.new("L", (850, 550), "white")
            ImageDraw.Draw(page).text((80, 80), text, font=ImageFont.load_default(32))
            pages.append(page)
        path = tmp_path / name
        pages[0].save(path, save_all=True, append_images=pages[1:], resolution=150)
        return path

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 96 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = sys.platform == "linux" and os.geteuid() == 0
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    if not mounted or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system, and not everywhere")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
