"""`bench`: both sides run, and what they read is compared."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from test_checkpoints import CONFIG, published_weights, write
from typer.testing import CliRunner

from ocrmypdf_trocr_mlx.bench.speed import Comparison, Side, plot
from ocrmypdf_trocr_mlx.cli import app


def side(name: str, factor: float) -> Side:
    return Side(
        name, name, "CPU", "float32", 1.0, factor, int(100 * factor), {"1": factor}, {"1": 1}, []
    )


def test_ratios() -> None:
    found = Comparison(1, side("mlx", 1.0), side("torch", 4.0), 1.0)
    assert found.ratios() == {"load": 4.0, "latency, batch 1": 4.0, "memory share": 0.25}
    assert Comparison(1, side("mlx", 1.0), None, None).ratios() == {}


@pytest.fixture
def model(tmp_path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    return str(write(folder, published_weights(), {**CONFIG, "max_length": 12}))


def test_against_torch(model) -> None:
    pytest.importorskip("torch", reason="comparing needs torch: pip install '.[parity]'")
    arguments = ["bench", "--model", model, "--lines", "3", "--device", "cpu", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["exact_match"] == 1.0 and any(found["mlx"]["texts"])
    for name in ("mlx", "torch"):
        assert set(found[name]["ms"]) == {"1", "8", "32"}
        assert found[name]["ms"]["1"] > 0 and found[name]["peak_memory"] > 10e6
    assert "load" in found["ratios"]


def test_plot(tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="drawing needs matplotlib")
    plot(Comparison(1, side("mlx", 1.0), side("torch", 4.0), 1.0), tmp_path / "a.png")
    plot(Comparison(1, side("mlx", 1.0), None, None), tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as both, Image.open(tmp_path / "b.png") as one:
        assert both.format == one.format == "PNG" and min(both.size) > 200
        assert both.tobytes() != one.tobytes()


def test_alone(model, tmp_path, monkeypatch) -> None:
    arguments = ["bench", "--model", model, "--lines", "2", "--device", "cpu", "--no-torch"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0 and "lines/s, batch 32" in result.stdout
    # What goes wrong in the other process comes back as one line.
    result = CliRunner().invoke(app, [*arguments[:-1], "--device", "gpu"])
    if result.exit_code:
        assert "finds no GPU" in result.stderr and result.stderr.count("\n") == 1
