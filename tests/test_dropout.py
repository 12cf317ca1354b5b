"""Of real lines more is dropped than of rendered ones: see examples/pretrain_torch/learning.py."""

from __future__ import annotations

import sys

import pytest
from test_docs import ROOT

torch = pytest.importorskip("torch", reason="the recipe needs torch: pip install '.[parity]'")

sys.path.append(str(ROOT / "examples"))

from pretrain_torch.learning import Dropout  # noqa: E402


def test_more_is_dropped_of_real_lines_than_of_rendered_ones():
    """What is kept is scaled up, so that the mean stays."""
    torch.manual_seed(0)
    dropped = Dropout(torch.tensor([True, False]))(torch.ones(2, 300, 100))
    real, rendered = ((line == 0).float().mean().item() for line in dropped)
    assert 0.14 < real < 0.16 and 0.015 < rendered < 0.025
    for line in dropped:
        assert line.mean().item() == pytest.approx(1, abs=0.01)
