"""OCRmyPDF plugin for tests that start a process: the engine reads with a `FakeReader`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ocrmypdf_trocr_mlx import engine

_spec = importlib.util.spec_from_file_location("conftest", Path(__file__).with_name("conftest.py"))
assert _spec is not None and _spec.loader is not None
_conftest = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_conftest)

engine.page_reader = lambda options: _conftest.FakeReader()
