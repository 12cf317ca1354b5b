"""Lines made ready by worker processes."""

from __future__ import annotations

import pytest
from training_data import CHARACTERS, WORDS, write_checkpoint, write_pairs

from ocrmypdf_trocr_mlx.training import workers
from ocrmypdf_trocr_mlx.training.dataset import Limits, load_dataset
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder


def test_many_things_are_done_in_their_order(monkeypatch):
    monkeypatch.setattr(workers, "_FEW", 10)
    monkeypatch.setattr(workers, "_PART", 3)
    assert list(workers.mapped(abs, range(-40, 0), 2)) == list(range(40, 0, -1))
    assert list(workers.mapped(abs, range(-40, 0), 0)) == list(range(40, 0, -1))
    with pytest.raises(TypeError):  # in a worker
        list(workers.mapped(abs, [*range(12), "a"], 1))


def test_few_things_start_no_process(monkeypatch):
    monkeypatch.setattr(workers, "ProcessPoolExecutor", None)
    assert list(workers.mapped(abs, [-1, -2], 8)) == [1, 2]


def test_workers_make_the_same_of_lines(tmp_path, monkeypatch):
    """Good and bad ones."""
    pairs = write_pairs(tmp_path / "pairs", [*WORDS, "a" * 60, "unknown!"])
    (pairs / "003.png").write_bytes(b"no image")
    encode = LabelEncoder(write_checkpoint(tmp_path / "model"))
    alone = load_dataset([pairs], encode, Limits(32))
    monkeypatch.setattr(workers, "_FEW", 1)
    together = load_dataset([pairs], encode, Limits(32), workers=1)
    assert together.samples == alone.samples
    # Pillow names files that it cannot read by where they are in memory.
    assert [p.name for p in together.problems] == [p.name for p in alone.problems]
    assert len(alone.samples) == 9 and len(alone.problems) == 3
    assert set("".join(s.text for s in alone.samples)) <= set(CHARACTERS)
