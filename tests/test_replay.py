"""Batches shown again while new ones are drawn, in the recipe in PyTorch."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from test_docs import ROOT

from ocrmypdf_trocr_mlx.training.batches import Batch
from ocrmypdf_trocr_mlx.training.errors import TrainingError

sys.path.append(str(ROOT / "examples"))

from pretrain_torch.replay import _FIRST, Replay


def numbered(count: int) -> list[Batch]:
    return [Batch(np.array([i]), np.zeros(0), np.zeros(0), np.zeros(0)) for i in range(count)]


def test_batches_are_shown_again_only_for_want_of_new_ones() -> None:
    """All come once, in order; then each as often as it may; then a new one is waited for."""
    slow = threading.Event()

    def drawn() -> Iterator[Batch]:
        yield from numbered(_FIRST)
        slow.wait(60)
        yield from numbered(1)

    with Replay(drawn(), 2, seed=0) as replay:
        first = [replay.next() for _ in range(_FIRST)]
        again = [replay.next() for _ in range(2 * _FIRST)]
        threading.Timer(0.1, slow.set).start()
        assert replay.next()[1]
    assert [int(batch.pixels[0]) for batch, _ in first] == list(range(_FIRST))
    assert all(new for _, new in first) and not any(new for _, new in again)
    shown = sorted(int(batch.pixels[0]) for batch, _ in again)
    assert shown == sorted(2 * list(range(_FIRST)))


def test_what_goes_wrong_in_drawing_is_raised() -> None:
    def drawn() -> Iterator[Batch]:
        yield from numbered(1)
        raise TrainingError("a font is broken")

    for batches, reason in ((drawn(), "a font is broken"), (iter([]), "no more batches")):
        with Replay(batches, 2, seed=0) as replay, pytest.raises(TrainingError, match=reason):
            for _ in range(2):
                replay.next()
