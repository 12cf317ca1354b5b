"""Teach a line model to draft: `python -m ocrmypdf_trocr_mlx.training.draft`.

The decoder checks what a draft head names, so the head changes no text, only how soon it is
read.  A fine-tuned model reads faster with a head that learned after it, and a model of one's
own that has none can be given one.  Nothing but the head learns.

    python -m ocrmypdf_trocr_mlx.training.draft --model DIR --data lines.tar --out FOLDER
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.convert import refuse_full, write_folder
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load, read_config
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.checkpoints.weights import Quantization, read_weights
from ocrmypdf_trocr_mlx.model import cpu
from ocrmypdf_trocr_mlx.model.draft import DraftHead
from ocrmypdf_trocr_mlx.model.generate import generate

from .batches import IGNORED, Batch, Epochs
from .ctc import ctc_loss
from .dataset import Limits, Sample, load_dataset, split
from .errors import TrainingError
from .evaluate import edit_distance
from .labels import LabelEncoder
from .trainer import frame_of

# Frames for a column of patches: letters are often narrower than one.
_FRAMES = 2
_HEAD = "draft_head.proj"
_HOLDOUT = 0.05
_COMPARED = 64


def train_head(
    checkpoint: Checkpoint, samples: Sequence[Sample], steps: int, batch_size: int, lr: float
) -> DraftHead:
    """The checkpoint's draft head, or a new one, after so many batches of the samples."""
    model, frame = checkpoint.model, frame_of(checkpoint, batch_size)
    head = model.draft_head if model.has_drafts else new_head(checkpoint)
    epochs = Epochs(samples, frame, seed=0, augmented=True)
    optimizer = optim.Adam(optim.cosine_decay(lr, steps))
    learn = nn.value_and_grad(head, lambda states, *rest: _loss(head, states, *rest))
    for step in range(steps):
        batch = epochs.batch(step)
        states = model.encode(mx.array(checkpoint.processor(list(batch.pixels))))
        mx.eval(states)
        with cpu.left_to_mlx():
            _, gradients = learn(states, *_texts(batch, frame.end), frame.pad)
            optimizer.update(head, gradients)
            mx.eval(head.parameters(), optimizer.state)
    return head


def new_head(checkpoint: Checkpoint) -> DraftHead:
    """One that has learned nothing; raises TrainingError where it would be of no use."""
    if not checkpoint.processor.pad_to_aspect:
        raise TrainingError(
            f"{checkpoint.name}: stretches its images: letters are too narrow there to be drafted"
        )
    return DraftHead(dataclasses.replace(checkpoint.config, draft_frames=_FRAMES))


def draft_errors(checkpoint: Checkpoint, head: DraftHead, samples: Sequence[Sample]) -> float:
    """Share of the tokens the decoder says that drafts have otherwise."""
    wrong = total = 0
    options = checkpoint.options
    for sample in samples:
        pixels = mx.array(checkpoint.processor([sample.pixels]))
        (read,) = generate(checkpoint.model, pixels, dataclasses.replace(options, num_beams=1))
        said = [t for t in read.tokens if t not in options.eos]
        drafted = head(checkpoint.model.encode(pixels))[0]
        wrong += edit_distance(_characters(drafted), _characters(said))
        total += len(said)
    return wrong / max(1, total)


def _characters(tokens: Sequence[int]) -> str:
    return "".join(map(chr, tokens))


def _texts(batch: Batch, end: int) -> tuple[mx.array, mx.array]:
    """Targets without their ends, and how many tokens each has."""
    lengths = ((batch.targets != IGNORED) & (batch.targets != end)).sum(axis=1)
    return mx.array(np.maximum(batch.targets, 0)), mx.array(lengths)


def _loss(
    head: DraftHead, states: mx.array, targets: mx.array, lengths: mx.array, blank: int
) -> mx.array:
    """Mean over the tokens, of texts that can be said in so many frames."""
    losses = ctc_loss(head.frames(states), targets, lengths, blank)
    possible = losses < 1e6
    return (losses * possible).sum() / mx.maximum((lengths * possible).sum(), 1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="draft", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", help="checkpoint of a line model, or the bundled one")
    add("--data", type=Path, action="append", required=True, help="lines, as finetune takes them")
    add("--out", type=Path, required=True, help="new folder for the model with its head")
    add("--steps", type=int, default=300)
    add("--batch-size", type=int, default=32, help="lines of full width in a batch")
    add("--lr", type=float, default=2e-3)
    add("--device", default="auto", choices=backend.DEVICES)
    args = parser.parse_args(arguments)
    try:
        return _run(args)
    except (TrainingError, CheckpointError, ValueError) as e:
        sys.stderr.write(f"draft: {e}\n")
        return 1


def _run(args: argparse.Namespace) -> int:
    refuse_full(args.out)  # now, not after the training
    backend.prepare(args.device)
    source = resolve(args.model)
    config = read_config(source)
    if Quantization.of(config) is not None:
        raise TrainingError(f"{source}: is quantized: give the checkpoint it was made from")
    checkpoint, encode = load(source), LabelEncoder(source)
    limits = Limits(checkpoint.config.decoder.max_position_embeddings)
    data = load_dataset(args.data, encode, limits)
    learned, held_out = split(data.samples, _HOLDOUT, seed=0)
    head = train_head(checkpoint, learned, args.steps, args.batch_size, args.lr)
    wrong = draft_errors(checkpoint, head, held_out[:_COMPARED])
    config["draft_frames"] = head.num_frames
    weights = read_weights(source)
    weights = {k: v for k, v in weights.items() if not k.startswith(_HEAD)}
    weights |= {
        f"{_HEAD}.{name}": value.astype(mx.float16)
        for name, value in head.proj.parameters().items()
    }
    write_folder(source, args.out, config, weights)
    sys.stdout.write(f"{args.out}: {wrong:.1%} of the drafted tokens are corrected\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
