"""From a checkpoint folder of the package to a `Reader`, and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch

from ocrmypdf_trocr_mlx.checkpoints.convert import write_folder
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, read_config
from ocrmypdf_trocr_mlx.checkpoints.weights import (
    Quantization,
    expand,
    read_weights,
    tie_published,
)
from ocrmypdf_trocr_mlx.training.errors import TrainingError

from .model import Reader

# Frames for a column of patches, of a new draft head: letters are often narrower than one.
FRAMES = 2
_HEAD = "draft_head."


def reader_of(source: Path, checkpoint: Checkpoint, frames: int = FRAMES) -> Reader:
    """The model of `source`, loaded as `checkpoint`.

    One without a draft head is given one, of so many `frames` for a column of patches.

    Raises TrainingError for what is no line model, or cannot be trained here.
    """
    if Quantization.of(read_config(source)) is not None:
        raise TrainingError(f"{source}: is quantized: train the checkpoint it was made from")
    processor = checkpoint.processor
    if not processor.pad_to_aspect:
        raise TrainingError(f"{source}: stretches its images: it is not a line model")
    if len({*processor.mean}) > 1 or len({*processor.std}) > 1:
        raise TrainingError(f"{source}: treats colours apart: only grey images are learned here")
    frames = checkpoint.config.draft_frames or frames
    model = Reader(dataclasses.replace(checkpoint.config, draft_frames=frames))
    weights = tie_published(expand(read_weights(source), mx.float32))
    tensors = {k: torch.from_numpy(np.array(v)) for k, v in weights.items()}
    found = model.load_state_dict(tensors, strict=False)
    new_head = not checkpoint.config.draft_frames
    missing = [k for k in found.missing_keys if not (new_head and k.startswith(_HEAD))]
    if wrong := [*missing, *found.unexpected_keys]:
        names = ", ".join(wrong[:4])
        raise TrainingError(f"{source}: weights are not named as published ones are: {names}")
    return model


def write_product(source: Path, model: Reader, out: Path) -> None:
    """The model in float16, as a new folder `out` with the other files of `source`."""
    config = read_config(source) | {"draft_frames": model.config.draft_frames}
    for key in {"dtype", "torch_dtype"} & config.keys():
        config[key] = "float16"
    weights = {k: mx.array(v.detach().half().cpu().numpy()) for k, v in model.state_dict().items()}
    write_folder(source, out, config, weights)
