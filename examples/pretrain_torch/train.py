"""Train a line model in PyTorch, on an NVIDIA GPU: from nothing, or on from a checkpoint.

Lines, texts, fonts and sizes are given as to `ocrmypdf_trocr_mlx.training.pretrain`; the product
is a checkpoint folder like its.  The model also learns to draft (see model/draft.py of the
package).  Ctrl-C ends it early: what was learned until then is written.

    PYTHONPATH=examples python -m pretrain_torch.train --init DIR --dev dev.tar --seconds 300 ...

With several GPUs, `torchrun --nproc-per-node 4 -m pretrain_torch.train ...`: each step then learns
from as many batches.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.convert import refuse_full
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.training.batches import Frame, stream
from ocrmypdf_trocr_mlx.training.errors import TrainingError
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.loop import interrupt_noted
from ocrmypdf_trocr_mlx.training.material import (
    Material,
    add_arguments,
    make_mixture,
    read_material,
    start,
)
from ocrmypdf_trocr_mlx.training.trainer import frame_of

from .checkpoint import FRAMES, reader_of, write_product
from .distil import Teacher
from .learning import Learner, Losses, Recipe
from .model import Reader
from .reading import TorchFollower, evaluate
from .replay import Replay
from .together import Together

_LOG_EVERY = 100

Tell = Callable[[str], None]


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        refuse_full(args.out)  # now, not after the training
        with Together() as together:
            _train(args, together)
    except (TrainingError, CheckpointError, ValueError) as e:
        sys.stderr.write(f"pretrain_torch: {e}\n")
        return 1
    return 0


def _train(args: argparse.Namespace, together: Together) -> None:
    pace = Pace(args.steps, args.seconds)
    backend.prepare("cpu")  # MLX checks the product; all else is PyTorch's
    # Threads that wait for a processor which a worker has hold up all the others.
    torch.set_num_threads(max(1, backend.available_cpus() // together.size - args.workers))
    torch.backends.cuda.matmul.allow_tf32 = True
    beside = args.out.with_name(f"{args.out.name}-training")
    teacher = Teacher(resolve(args.teacher), args.device) if args.teacher else None
    source = start(args, beside / f"start-{together.rank}", reads=teacher is not None)
    args.seed += together.rank  # the same weights, but other lines
    torch.manual_seed(args.seed)
    checkpoint, encode = load(source), LabelEncoder(source)
    frames = teacher.frames_of(checkpoint) if teacher else FRAMES
    model = reader_of(source, checkpoint, frames).to(args.device)
    frame = frame_of(checkpoint, args.batch_size)
    if teacher is not None:
        teacher.refuse(model, checkpoint)
    # The words of lines are found by who reads already, in images as it takes them.
    reader, its = (teacher.model, teacher.checkpoint) if teacher else (model, checkpoint)
    follower, its_frame = TorchFollower(reader, its), frame_of(its, args.batch_size)
    material = read_material(args, checkpoint, encode, its_frame, follower)
    mixture = make_mixture(args, material, encode, frame)
    beside.mkdir(parents=True, exist_ok=True)
    with (beside / "log.txt").open("a", encoding="utf-8") as log:

        def tell(text: str) -> None:
            for file in (sys.stderr, log) if together.rank == 0 else ():
                file.write(f"{text}\n")
                file.flush()

        tell(_described(material))
        if args.init and together.rank == 0:
            _tell_errors("before", tell, model, checkpoint, material, frame)
        head_steps = 0 if checkpoint.model.has_drafts else args.head_steps
        recipe = Recipe(args.lr, args.warmup, head_steps)
        learner = Learner(model, checkpoint.processor, frame.end, recipe, together, teacher)
        with (
            interrupt_noted() as interrupted,
            stream(mixture, 0, args.workers) as batches,
            Replay(batches, args.replay, args.seed) as replay,
        ):
            run(learner, replay, pace, interrupted.is_set, tell, together)
        if together.rank == 0:
            learner.finish()
            write_product(source, model, args.out)
            _tell_errors("after", tell, model, checkpoint, material, frame)


def _described(material: Material) -> str:
    words = "" if material.words is None else f", {len(material.words)} cut at their words"
    return f"{len(material.real)} real lines{words}; {len(material.held_out)} to test on"


def _tell_errors(
    when: str,
    tell: Tell,
    model: Reader,
    checkpoint: Checkpoint,
    material: Material,
    frame: Frame,
) -> None:
    for name, errors in evaluate(model, checkpoint, material.held_out, frame).items():
        tell(f"{when}: {name}: {errors}")


class Pace:
    """How much of a training is done, by steps or by the time since its first step."""

    def __init__(self, steps: int | None, seconds: float | None):
        """Of which one is given; raises TrainingError where it is not positive."""
        if (steps if steps is not None else seconds or 0) <= 0:
            raise TrainingError("give a positive number of --steps or --seconds")
        self._steps, self._seconds = steps, seconds
        self._began: float | None = None

    def done(self, step: int) -> float:
        """0 to 1 before step number `step`, counted from 0; from 1 on there is none."""
        if self._steps is not None:
            return step / self._steps
        assert self._seconds is not None
        if step == 0:  # the first batch may be long in coming
            return 0.0
        self._began = self._began or time.monotonic()
        return (time.monotonic() - self._began) / self._seconds


def run(
    learner: Learner,
    replay: Replay,
    pace: Pace,
    stopped: Callable[[], bool],
    tell: Tell,
    together: Together,
) -> None:
    """Learn until the pace says 1, or `stopped` is true, in any of the processes."""
    tally = _Tally()
    while True:
        done, last = together.most(pace.done(learner.step), stopped())
        if done >= 1 or last:
            break
        lr = learner.lr(done)
        batch, fresh = replay.next()
        tally.add(learner.learn(batch, done), len(batch.pixels), fresh)
        if learner.step % _LOG_EVERY == 0:
            tell(f"step {learner.step}  {tally.told()}  lr {lr:.1e}")
            tally = _Tally()
    tell(f"stopped at step {learner.step}")


class _Tally:
    """What was learned since the last line of the log."""

    def __init__(self) -> None:
        self._losses: list[Losses] = []
        self._lines = self._fresh = 0
        self._since = time.monotonic()

    def add(self, losses: Losses, lines: int, fresh: bool) -> None:
        self._losses.append(losses)
        self._lines += lines
        self._fresh += lines * fresh

    def told(self) -> str:
        """Raises TrainingError where the losses are no numbers."""
        means = (float(torch.stack(x).mean()) for x in zip(*self._losses, strict=True))
        said, drafted, apart = means
        if not all(map(math.isfinite, (said, drafted, apart))):
            raise TrainingError(
                f"the losses are {said}, {drafted} and {apart}: lower the learning rate"
            )
        speed = self._lines / max(1e-9, time.monotonic() - self._since)
        return (
            f"loss {said:.4f}  of drafts {drafted:.4f}  from the teacher {apart:.4f}  "
            f"{speed:.0f} lines/s, "
            f"{self._fresh / self._lines:.0%} of them new"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pretrain_torch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="new folder for the model; OUT-training: its log")
    add_arguments(parser)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int)
    length.add_argument("--seconds", type=float, help="instead of a number of steps")
    add("--warmup", type=int, default=250)
    add("--teacher", help="checkpoint that reads well, for a smaller model to learn from")
    add("--head-steps", type=int, default=150, help="steps a new draft head learns alone")
    add("--replay", type=int, default=2, help="times a batch may be shown again for want of new")
    together = Together()
    add("--device", default=together.device)
    parser.set_defaults(workers=max(0, backend.available_cpus() // together.size - 1))
    return parser


if __name__ == "__main__":
    sys.exit(main())
