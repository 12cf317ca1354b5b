"""Train a recogniser from nothing, or further: `python -m ocrmypdf_trocr_mlx.training.pretrain`.

Learns from real lines and rendered ones; stopped by Ctrl-C or --seconds, the same command goes
on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import load

from .batches import THIRDS
from .errors import TrainingError
from .follow import MlxFollower
from .labels import LabelEncoder
from .loop import Progress
from .material import add_arguments, make_mixture, read_material, start
from .session import Session, train_to_product
from .trainer import Recipe, frame_of


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        return _train(args)
    except (TrainingError, CheckpointError, ValueError) as e:
        sys.stderr.write(f"pretrain: {e}\n")
        return 1


def _train(args: argparse.Namespace) -> int:
    backend.prepare(args.device)
    source = start(args, args.out / "training" / "start")
    checkpoint = load(source)
    encode = LabelEncoder(source)
    frame = dataclasses.replace(frame_of(checkpoint, args.batch_size), parts=THIRDS)
    material = read_material(args, checkpoint, encode, frame, MlxFollower(checkpoint))
    mixture = make_mixture(args, material, encode, frame)
    recipe = Recipe(
        args.steps,
        args.lr,
        args.warmup,
        weight_decay=0.05,
        ema=0.9995,
        label_smoothing=0.03,
    )
    session = Session(
        args.out,
        {k: str(v) for k, v in vars(args).items() if k not in ("seconds", "workers", "device")},
        log_every=100,
        eval_every=args.eval_every,
        device=args.device,
        workers=args.workers,
        seconds=args.seconds,
    )
    # A model that reads already knows where to look, and a new head would disturb it.
    guided = args.init is None
    done = train_to_product(
        session, source, checkpoint, recipe, mixture, material.held_out, _tell, guided
    )
    if done.after is None:
        sys.stderr.write(
            f"stopped at step {done.trainer.step} of {args.steps}: run it again to go on\n"
        )
        return 0
    for name, score in {**done.after.by_source, "all": done.after.total}.items():
        sys.stdout.write(f"{name}: CER {score.cer:.2%}\n")
    return 0


def _tell(progress: Progress) -> None:
    if progress.loss is None:
        sys.stderr.write(f"{progress.phase}\n")
        return
    cer = "" if progress.cer is None else f"  CER {progress.cer:.2%}"
    sys.stderr.write(
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  lr {progress.lr:.2e}"
        f"  {progress.lines_per_second:.0f} lines/s{cer}\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pretrain", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the product; given again: go on")
    add_arguments(parser)
    add("--steps", type=int, default=20000)
    add("--warmup", type=int, default=1000)
    add("--eval-every", type=int, default=2000)
    add("--seconds", type=float, help="stop after so long; run again to go on")
    add("--device", default="auto", choices=backend.DEVICES)
    return parser


if __name__ == "__main__":
    sys.exit(main())
