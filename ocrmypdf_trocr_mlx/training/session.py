"""A training from its first step to a checkpoint folder: what finetune and pretrain share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, read_config
from ocrmypdf_trocr_mlx.checkpoints.weights import Quantization

from .batches import BatchSource
from .dataset import Sample
from .errors import TrainingError
from .evaluate import Evaluation, Evaluator
from .guidance import GuidedModel
from .loop import Progress, Report, Run
from .lora import fused_weights
from .plot import plot_log
from .product import write_product
from .trainer import Recipe, Trainer

_MAX_WORKERS = 16


@dataclass(frozen=True)
class Session:
    """Where to train and how often to look; see `loop.Run`.  `workers` None: what suits."""

    out: Path
    settings: dict[str, Any]
    log_every: int
    eval_every: int
    device: str = "auto"
    workers: int | None = None
    seconds: float | None = None

    def check(self, source: Path) -> None:
        """Raise TrainingError where `out` would be overwritten, or `source` cannot be trained."""
        if Quantization.of(read_config(source)) is not None:
            raise TrainingError(f"{source}: is quantized: train the checkpoint it was made from")
        if self.out.exists() and not self.out.is_dir():
            raise TrainingError(f"{self.out}: is a file: give a folder to write to")
        state = self.out / "training" / "state.safetensors"
        if (self.out / "config.json").exists() and not state.is_file():
            raise TrainingError(f"{self.out}: holds a checkpoint already: give another folder")
        if self.out.resolve() == source.resolve():
            raise TrainingError(f"{self.out}: give another folder than the model's")


def train_to_product(
    session: Session,
    source: Path,
    checkpoint: Checkpoint,
    recipe: Recipe,
    batches: BatchSource,
    held_out: Sequence[Sample],
    report: Report,
    guided: bool = False,
) -> Run:
    """Train the checkpoint's model, and write it to `out` as its source folder is.

    `guided`: with the places of characters, as far as the batches tell them (see guidance.py).

    `after` of what is returned is None where the training was interrupted: called again, it
    goes on.
    """
    session.check(source)
    model = checkpoint.model
    if model.has_drafts:  # no loss tells it anything; texts do not depend on it
        model.draft_head.freeze()
    learner = GuidedModel(model, checkpoint.options.eos[0]) if guided else model
    trainer = Trainer(learner, checkpoint.processor, recipe)
    evaluator = Evaluator(checkpoint, held_out, session.device)

    def evaluate() -> Evaluation:
        report(Progress("evaluating", trainer.step, recipe.steps))
        with trainer.averaged():
            return evaluator()

    run = Run(
        session.out,
        trainer,
        batches,
        session.settings,
        evaluate,
        workers=_workers(session.workers),
        log_every=session.log_every,
        eval_every=session.eval_every,
        seconds=session.seconds,
    )
    try:
        run.begin()
        finished = run.train(report)
    finally:
        evaluator.close()
    if finished:
        report(Progress("saving", recipe.steps, recipe.steps))
        with trainer.averaged() as model:
            write_product(source, fused_weights(model), session.out)
        plot_log(run.folder)
    return run


def _workers(wanted: int | None) -> int:
    """Processes that make batches; a CPU that trains has none to spare."""
    if wanted is not None:
        return wanted
    if mx.default_device().type != mx.gpu:
        return 0
    return min(_MAX_WORKERS, backend.available_cpus() - 1)
