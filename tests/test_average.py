"""The mean of two checkpoints."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
from training_data import CHARACTERS, write_checkpoint

from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.weights import read_weights
from ocrmypdf_trocr_mlx.training.average import main
from ocrmypdf_trocr_mlx.training.scratch import Size, write_scratch


def test_every_weight_is_the_mean(tmp_path, capsys):
    first = write_checkpoint(tmp_path / "first", seed=1)
    second = write_checkpoint(tmp_path / "second", seed=2)
    out = tmp_path / "mean"
    assert main([str(first), str(second), "--out", str(out)]) == 0
    a, b, mean = (read_weights(folder) for folder in (first, second, out))
    assert a.keys() == b.keys() == mean.keys()
    for key, value in mean.items():
        expected = (np.array(a[key], np.float32) + np.array(b[key], np.float32)) / 2
        np.testing.assert_allclose(np.array(value, np.float32), expected, atol=2e-3)
    assert any(not mx.array_equal(a[key], b[key]) for key in a)
    load(out)
    assert main([str(first), str(second), "--out", str(out)]) == 1, "nothing is overwritten"
    assert str(out) in capsys.readouterr().err


def test_other_models_are_refused(tmp_path, capsys):
    first = write_checkpoint(tmp_path / "first")
    second = tmp_path / "second"
    write_scratch(second, Size(height=48, width=96, dims=40, heads=2), CHARACTERS, 0)
    assert main([str(first), str(second), "--out", str(tmp_path / "mean")]) == 1
    assert "different models" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
