"""A training step in MLX: mixed precision, AdamW, clipping, moving average, one compiled graph."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from ocrmypdf_trocr_mlx.checkpoints.images import ImageProcessor
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint
from ocrmypdf_trocr_mlx.model import cpu
from ocrmypdf_trocr_mlx.model.trocr import TrOCR

from .batches import IGNORED, Batch, Frame
from .errors import TrainingError
from .guidance import GuidedModel

_BETAS = [0.9, 0.98]
# The cosine ends at this share of the peak.
_LAST_LR = 0.02


@dataclass(frozen=True)
class Recipe:
    """How to learn: `lr` is the peak after `warmup` steps, the cosine ends at `steps`."""

    steps: int
    lr: float
    warmup: int
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    label_smoothing: float = 0.0

    def lr_at(self, step: mx.array) -> mx.array:
        """Learning rate of a step, counted from 0."""
        step = step.astype(mx.float32)  # the optimizer counts in unsigned numbers
        rise = mx.minimum((step + 1) / max(1, self.warmup), 1.0)
        done = mx.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0.0, 1.0)
        fall = _LAST_LR + (1 - _LAST_LR) * 0.5 * (1 + mx.cos(math.pi * done))
        return self.lr * rise * fall


def frame_of(checkpoint: Checkpoint, batch_size: int) -> Frame:
    """How lines are laid out for a checkpoint."""
    options = checkpoint.options
    return Frame(
        checkpoint.processor,
        start=options.start,
        end=options.eos[0],
        pad=options.pad,
        max_tokens=checkpoint.config.decoder.max_position_embeddings,
        batch_size=batch_size,
    )


class Trainer:
    """Holds all that changes while a model learns: weights, moments, moving average, step.

    Weights and moments are float32 whatever is computed in: bfloat16 on a GPU, float32 on a
    CPU.  Frozen parameters of the model stay as they are.  A guided model is trained with its
    head, and `model` is what of it will be kept.
    """

    def __init__(self, model: TrOCR | GuidedModel, processor: ImageProcessor, recipe: Recipe):
        self.model = model.model if isinstance(model, GuidedModel) else model
        self.recipe = recipe
        self._trained = model
        self._processor = processor
        self._on_gpu = mx.default_device().type == mx.gpu
        self._dtype = mx.bfloat16 if self._on_gpu else mx.float32
        model.update(tree_map(lambda p: p.astype(mx.float32), model.parameters()))
        # Biases, norms and other vectors do not decay.
        decayed = optim.AdamW(recipe.lr_at, _BETAS, weight_decay=recipe.weight_decay)
        plain = optim.AdamW(recipe.lr_at, _BETAS, weight_decay=0.0)
        self._optimizer = optim.MultiOptimizer([decayed, plain], [lambda _, w: w.ndim >= 2])
        self._optimizer.init(model.trainable_parameters())
        copies = tree_map(lambda p: mx.array(p), model.trainable_parameters())
        self._average = {"weights": copies, "step": mx.array(0)}
        mx.eval(self._state)
        self._compiled = self._compile()

    @property
    def step(self) -> int:
        """Steps made so far."""
        return int(self._average["step"].item())

    @property
    def lr(self) -> float:
        """Learning rate of the step that comes next."""
        return float(np.array(self.recipe.lr_at(self._average["step"])))

    @property
    def _state(self) -> list[Any]:
        return [self._trained.state, self._optimizer.state, self._average]

    def _compile(self) -> Callable[..., mx.array]:
        # On a CPU compiling takes a minute and gains nothing.
        if not self._on_gpu:
            return self._step
        return mx.compile(self._step, inputs=self._state, outputs=self._state)

    def __call__(self, batch: Batch) -> mx.array:
        """Learn from a batch; returns its loss, on its way."""
        arrays = (mx.array(a) for a in (batch.pixels, batch.tokens, batch.targets, batch.edges))
        with cpu.left_to_mlx():
            loss = self._compiled(*arrays)
        mx.async_eval(loss, self._state)
        return loss

    def _step(
        self, pixels: mx.array, tokens: mx.array, targets: mx.array, edges: mx.array
    ) -> mx.array:
        masters = self._trained.trainable_parameters()
        learn = nn.value_and_grad(self._trained, self._losses)
        (_, said), gradients = learn(pixels, tokens, targets, edges)
        self._trained.update(masters)
        gradients, _ = optim.clip_grad_norm(gradients, self.recipe.clip)
        self._optimizer.update(self._trained, gradients)
        self._follow()
        return said

    def _losses(
        self, pixels: mx.array, tokens: mx.array, targets: mx.array, edges: mx.array
    ) -> tuple[mx.array, mx.array]:
        """What is to become less, and of it the cross-entropy of the tokens that are to be said."""
        everything = self._trained.parameters()
        self._trained.update(tree_map(lambda p: p.astype(self._dtype), everything))
        images, guidance = self._normalised(pixels), mx.array(0.0)
        if isinstance(self._trained, GuidedModel):
            seen = self._trained(images, tokens)
            done = self._average["step"] / self.recipe.steps
            guidance = self._trained.guidance(seen, targets, edges, done)
            logits = seen.logits
        else:
            logits = self._trained(images, tokens)
        self._trained.update(everything)
        wanted = targets != IGNORED
        losses = nn.losses.cross_entropy(
            logits.astype(mx.float32),
            mx.maximum(targets, 0),
            label_smoothing=self.recipe.label_smoothing,
        )
        said = (losses * wanted).sum() / mx.maximum(wanted.sum(), 1)
        return said + guidance, said

    def _normalised(self, pixels: mx.array) -> mx.array:
        """uint8 (B, h, w) -> (B, h, w, 1), or three channels where they are treated apart."""
        processor = self._processor
        values = pixels[..., None].astype(mx.float32) * processor.rescale_factor
        mean, std = mx.array(processor.mean), mx.array(processor.std)
        if len(set(processor.mean)) == len(set(processor.std)) == 1:
            mean, std = mean[:1], std[:1]
        return (values - mean) / std

    def _follow(self) -> None:
        """Move the average towards the weights; it follows closely at first."""
        step = self._average["step"] + 1
        keep = mx.minimum(self.recipe.ema, step / (step + 9))
        self._average["weights"] = tree_map(
            lambda a, w: keep * a + (1 - keep) * w,
            self._average["weights"],
            self._trained.trainable_parameters(),
        )
        self._average["step"] = step

    @contextlib.contextmanager
    def averaged(self) -> Iterator[TrOCR]:
        """The model with the averaged weights, to be read with or written, inside."""
        masters = self._trained.trainable_parameters()
        self._trained.update(self._average["weights"])
        mx.eval(self._trained.state)
        try:
            yield self.model
        finally:
            self._trained.update(masters)

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        """Write all of the state, and the notes, so that either the old file or the new stays."""
        unfinished = path.with_suffix(".part.safetensors")
        mx.save_safetensors(str(unfinished), self._saved(), {"notes": json.dumps(notes)})
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)

    def _saved(self) -> dict[str, mx.array]:
        return dict(
            tree_flatten(
                {
                    "weights": self._trained.trainable_parameters(),
                    "optimizer": self._optimizer.state,
                    "average": self._average,
                }
            )
        )

    def load(self, path: Path) -> None:
        """Take up a saved state; raises TrainingError where it is not of this model."""
        arrays, _ = _load(path)
        mine = {name: value.shape for name, value in self._saved().items()}
        if mine != {name: value.shape for name, value in arrays.items()}:
            raise TrainingError(f"{path}: the state of another model: give another folder")
        tree = tree_unflatten(list(arrays.items()))
        self._trained.update(tree["weights"])
        self._optimizer.state = tree["optimizer"]
        self._average = tree["average"]
        mx.eval(self._state)
        self._compiled = self._compile()


def read_notes(path: Path) -> dict[str, Any]:
    """What was noted with a saved state; raises TrainingError where it cannot be read."""
    try:
        notes = json.loads(_load(path)[1]["notes"])
    except (KeyError, ValueError) as e:
        raise TrainingError(f"{path}: not a training state: delete it to begin anew") from e
    return dict(notes)


def _load(path: Path) -> tuple[dict[str, mx.array], dict[str, str]]:
    try:
        loaded = mx.load(str(path), format="safetensors", return_metadata=True)
    except (RuntimeError, ValueError) as e:
        raise TrainingError(f"{path}: not a training state: delete it to begin anew: {e}") from e
    assert isinstance(loaded, tuple)
    return loaded[0], loaded[1]
