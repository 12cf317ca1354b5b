"""`finetune`: what is asked for reaches the training, and its result the user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_data import write_checkpoint, write_pairs
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
            out=options.out,
            finished=done,
            step=1,
            steps=2,
            lines=30,
            held_out=10,
            skipped=3,
            reasons="3: the image is blank (a.png, b.png, c.png)",
            others=7,
            before=before,
            after=after if done else None,
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
    assert "trained on 30 lines" in result.stdout
    assert "left out, 3: 3: the image is blank (a.png, b.png, c.png)" in result.stdout
    assert "of other sources, 7" in result.stdout
    assert result.stderr == "step 2 of 2: error rate 25.00%\n"
    (options,) = trained
    assert options.data == [Path("a.csv"), Path("b")] and options.out == Path("new")
    assert (options.only, options.bad_lines) == ((), "skip")
    assert options.lora > 0 and (options.epochs, options.lr, options.augment) == (2, 1e-4, False)


def test_which_lines(trained, tmp_path) -> None:
    assert run(tmp_path, "--only", "a", "--only", "b", "--bad-lines", "refuse").exit_code == 0
    assert (trained[0].only, trained[0].bad_lines) == (["a", "b"], "refuse")
    assert run(tmp_path, "--bad-lines", "keep").exit_code == 2


def test_refused(tmp_path) -> None:
    """From the command line to the first bad line: one line on stderr, and nothing is left."""
    folder = write_pairs(tmp_path / "pairs", ["river", "Über"])
    model, out = write_checkpoint(tmp_path / "model"), tmp_path / "new"
    command = ["finetune", "--model", model, "--data", folder, "--out", out, "--device", "cpu"]
    result = CliRunner().invoke(app, [*map(str, command), "--bad-lines", "refuse"])
    assert result.exit_code != 0
    assert "001.png: characters outside the model's set: Ü" in str(result.exception)
    assert not out.exists()


def test_json(trained, tmp_path) -> None:
    result = run(tmp_path, "--json")
    found = json.loads(result.stdout)
    assert found["out"] == "new" and found["after"]["total"]["errors"] == 25
    assert trained[0].lora == 0


def test_stopped_early(trained, tmp_path) -> None:
    assert "step 1 of 2: run it again to go on" in run(tmp_path, "--seconds", "60").stdout
