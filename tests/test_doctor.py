"""`doctor`: what is wrong is found, and the cure named."""

from __future__ import annotations

import json

import pytest
from test_checkpoints import published_weights, write
from typer.testing import CliRunner

from ocrmypdf_trocr_mlx import backend, doctor
from ocrmypdf_trocr_mlx.cli import app


def checks(model) -> dict[str, doctor.Check]:
    return {check.name: check for check in doctor.examine(str(model), "cpu")}


def test_a_model_that_cannot_read(tmp_path) -> None:
    """Random weights load, and do not read the line: that is what is said, of that alone."""
    found = checks(write(tmp_path, published_weights()))
    assert found["model"].state == "ok" and "0.0 M parameters in float32" in found["model"].found
    assert found["reading"].state == "failed" and "should be 'The quick" in found["reading"].cure
    assert {c.state for c in found.values() if c.name != "reading"} <= {"ok", "warning"}
    assert all(check.cure for check in found.values() if check.state != "ok")
    assert "ocrmypdf" in found["packages"].found and found["device"].found.startswith("CPU")


def test_what_is_missing(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "_PACKAGES", ("mlx", "no-such-package"))
    monkeypatch.setattr(backend, "matmul_gflops", lambda: 3.0)
    monkeypatch.setattr(backend, "load_blas", lambda: False)
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    found = checks(tmp_path / "absent")
    assert found["packages"].cure == "pip install no-such-package"
    assert (found["Ghostscript"].state, found["model"].state) == ("warning", "failed")
    assert "no such checkpoint folder" in found["model"].found
    assert "libopenblas0" in found["matrix products"].cure
    monkeypatch.setattr(doctor.os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    assert "load now 99" in checks(tmp_path / "absent")["matrix products"].cure


@pytest.mark.parametrize("text, state", [("Tne quick brown fox jumps over the lazy dog", "ok")])
def test_reading(monkeypatch, text, state) -> None:
    from ocrmypdf_trocr_mlx import recognizer
    from ocrmypdf_trocr_mlx.recognizer import Reading, ReadWord

    class Fake:
        def read(self, crops):
            return [Reading(tuple(ReadWord(w, 0, 1, 1.0) for w in text.split()))] * len(crops)

    monkeypatch.setattr(recognizer, "shared", lambda *options: Fake())
    assert checks("absent")["reading"].state == state


def test_command(tmp_path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--json", "--model", str(tmp_path)])
    assert result.exit_code == 1
    states = {check["name"]: check["state"] for check in json.loads(result.stdout)}
    assert (states["Python"], states["model"]) == ("ok", "failed")
    result = CliRunner().invoke(app, ["doctor", "--model", str(tmp_path)])
    assert result.exit_code == 1 and "config.json is missing" in result.stdout
