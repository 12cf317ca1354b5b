"""Several processes that learn together, each from lines of its own, as on several GPUs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_data import WORDS, write_checkpoint, write_pairs

torch = pytest.importorskip("torch", reason="the recipe needs torch: pip install '.[parity]'")

SCRIPT = Path(__file__).with_name("learn_together.py")


def test_they_get_the_same_weights(tmp_path: Path) -> None:
    """Also where they began with others, and though each saw other lines."""
    source = write_checkpoint(tmp_path / "model")
    pairs = write_pairs(tmp_path / "pairs", WORDS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    run = [*launch, "--nproc-per-node", "2", SCRIPT, source, pairs, tmp_path]
    subprocess.run(run, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)
