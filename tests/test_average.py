"""The mean of two checkpoints."""

from __future__ import annotations

import mlx.core as mx
import numpy as np
import pytest
from training_data import CHARACTERS, write_checkpoint

from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.weights import read_weights
from ocrmypdf_trocr_mlx.training.average import main
from ocrmypdf_trocr_mlx.training.scratch import Size, write_scratch


@pytest.mark.parametrize("count", [2, 3])
def test_every_weight_is_the_mean(tmp_path, capsys, count):
    models = [write_checkpoint(tmp_path / str(seed), seed=seed) for seed in range(count)]
    out = tmp_path / "mean"
    names = [str(model) for model in models]
    assert main([*names, "--out", str(out)]) == 0
    weights, mean = [read_weights(model) for model in models], read_weights(out)
    assert all(w.keys() == mean.keys() for w in weights)
    for key, value in mean.items():
        expected = np.mean([np.array(w[key], np.float32) for w in weights], axis=0)
        np.testing.assert_allclose(np.array(value, np.float32), expected, atol=2e-3)
    assert any(not mx.array_equal(weights[0][key], weights[1][key]) for key in mean)
    load(out)
    assert main([*names, "--out", str(out)]) == 1, "nothing is overwritten"
    assert str(out) in capsys.readouterr().err


def test_other_models_are_refused(tmp_path, capsys):
    first = write_checkpoint(tmp_path / "first")
    second = tmp_path / "second"
    write_scratch(second, Size(height=48, width=96, dims=40, heads=2), CHARACTERS, 0)
    assert main([str(first), str(second), "--out", str(tmp_path / "mean")]) == 1
    assert "different models" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
