"""`finetune`: what is asked for reaches the training, and its result the user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ocrmypdf_trocr_mlx.cli import app

finetune = pytest.importorskip("ocrmypdf_trocr_mlx.training.finetune")
from ocrmypdf_trocr_mlx.training.evaluate import Evaluation, Score  # noqa: E402
from ocrmypdf_trocr_mlx.training.loop import Progress  # noqa: E402


@pytest.fixture
def trained(monkeypatch) -> list:
    """Stands in for the training; gives the options that it was called with."""
    calls = []

    def run(options, report):
        calls.append(options)
        report(Progress("training", 1, 2, loss=0.5))
        report(Progress("evaluating", 2, 2, cer=0.25))
        done = options.seconds is None
        before, after = (Evaluation(Score(errors, 100)) for errors in (50, 25))
        return finetune.FinetuneResult(
            options.out, done, 1, 2, 30, 10, 3, before, after if done else None
        )

    monkeypatch.setattr(finetune, "run", run)
    return calls


def run(tmp_path, *arguments: str):
    common = ("finetune", "--model", str(tmp_path), "--data", "a.csv", "--out", "new")
    return CliRunner().invoke(app, [*common, *arguments])


def test_options_and_result(trained, tmp_path) -> None:
    result = run(tmp_path, "--data", "b", "--lora", "--epochs", "2", "--lr", "1e-4", "--no-augment")
    assert result.exit_code == 0
    assert "error rate on 10 others: 50.00% before, 25.00% after" in result.stdout
    assert "30 lines (3 were of no use)" in result.stdout
    assert result.stderr == "step 2 of 2: error rate 25.00%\n"
    (options,) = trained
    assert options.data == [Path("a.csv"), Path("b")] and options.out == Path("new")
    assert options.lora > 0 and (options.epochs, options.lr, options.augment) == (2, 1e-4, False)


def test_json(trained, tmp_path) -> None:
    result = run(tmp_path, "--json")
    found = json.loads(result.stdout)
    assert found["out"] == "new" and found["after"]["total"]["errors"] == 25
    assert trained[0].lora == 0


def test_stopped_early(trained, tmp_path) -> None:
    assert "step 1 of 2: run it again to go on" in run(tmp_path, "--seconds", "60").stdout
