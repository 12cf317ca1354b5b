"""One of the processes of test_pretrain_together.py: SOURCE PAIRS OUT."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]

from pretrain_torch.checkpoint import reader_of  # noqa: E402  (not on the path before)
from pretrain_torch.learning import Learner, Recipe  # noqa: E402
from pretrain_torch.together import Together  # noqa: E402

from ocrmypdf_trocr_mlx.checkpoints.load import load  # noqa: E402
from ocrmypdf_trocr_mlx.training.batches import Epochs  # noqa: E402
from ocrmypdf_trocr_mlx.training.dataset import Limits, load_dataset  # noqa: E402
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder  # noqa: E402
from ocrmypdf_trocr_mlx.training.trainer import frame_of  # noqa: E402

source, pairs, out = map(Path, sys.argv[1:])
with Together() as together:
    mine = torch.tensor([1.0, 2.0]) * (together.rank + 1)
    together.average([mine])
    assert mine.tolist() == [1.5, 3.0] and together.most(together.rank, 5) == [1, 5]
    checkpoint = load(source)
    samples = load_dataset([pairs], LabelEncoder(source), Limits(32)).samples
    epochs = Epochs(samples, frame_of(checkpoint, 4), seed=0, augmented=False)
    model = reader_of(source, checkpoint)
    torch.manual_seed(together.rank)
    torch.nn.init.normal_(next(model.draft_head.parameters()))
    learner = Learner(model, checkpoint.processor, 2, Recipe(1e-2, 1, 0), together)
    for step in range(3):
        learner.learn(epochs.batch(2 * step + together.rank), 0.0)
    torch.save(model.state_dict(), out / f"{together.rank}.pt")
