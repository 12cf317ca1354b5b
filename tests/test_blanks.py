"""Crops that say nothing: of every kind, and labelled so."""

from __future__ import annotations

import random

import numpy as np
import pytest
from training_data import write_checkpoint

from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.training import blanks, render
from ocrmypdf_trocr_mlx.training.batches import IGNORED, Frame
from ocrmypdf_trocr_mlx.training.blanks import Blanks
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.mixture import Mixture
from ocrmypdf_trocr_mlx.training.paper import Paper

KINDS = [blanks._rules, blanks._boxes, blanks._specks, blanks._screen, blanks._shapes, blanks._dots]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__[1:])
def test_each_kind_leaves_a_mark_and_paper(kind) -> None:
    inked = []
    for seed in range(40):
        image = np.full((40, 300), 255, np.float32)
        kind(random.Random(seed), image, 0.0)
        inked.append((image < 128).mean())
    assert np.mean(np.array(inked) > 0) > 0.9
    assert 0 < np.median(inked) < 0.6


def test_crops_are_as_asked() -> None:
    drawer = Blanks(Paper())
    for seed in range(200):
        rng = random.Random(seed)
        aspect = rng.uniform(0.4, 15)
        pixels = drawer.draw(rng, aspect)
        height, width = pixels.shape
        assert pixels.dtype == np.uint8
        assert 16 <= height <= 60
        assert aspect - 0.1 < width / height < max(1.0, aspect) + 0.1
    first, again = (drawer.draw(random.Random(3), 5.0) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_they_are_labelled_empty(tmp_path, monkeypatch) -> None:
    """A renderer that draws nothing else gives batches of texts that end at once."""
    monkeypatch.setattr(render, "_EMPTY", 1.0)
    source = write_checkpoint(tmp_path / "model")
    frame = Frame(load(source).processor, 2, 2, 1, max_tokens=32, batch_size=4)
    renderer = render.LineRenderer(None, None)
    batch = Mixture([], 0.0, renderer, LabelEncoder(source), frame, seed=1).batch(0)
    assert (batch.targets[:, 0] == frame.end).all()
    assert (batch.targets[:, 1:] == IGNORED).all()
    assert batch.pixels.std() > 0
