"""Fine-tuning: from a checkpoint and transcribed lines to a checkpoint that reads such lines."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

from .batches import Epochs
from .dataset import Dataset, Limits, Sample, load_dataset, split
from .errors import TrainingError
from .evaluate import Evaluation
from .labels import LabelEncoder
from .loop import Progress, Report
from .lora import add_lora
from .session import Session, train_to_product
from .trainer import Recipe, frame_of

# A tuned model forgets at higher rates before it has learned.
_LR, _LORA_LR = 3e-5, 1e-3
_WARMUP_SHARE = 0.1
BAD_LINES = ("skip", "refuse")
# Lines a little wider than the model's image are squeezed into it, others are left out.
_SQUEEZE = 1.5


@dataclass(frozen=True)
class FinetuneOptions:
    """What the user may choose.

    `model`: "bundled" or None, a folder, or a model id in the local cache.  `data`, `dev`:
    sources of lines (see `data.read_lines`); without `dev` the share `holdout` of `data` is
    tested on.  `only`: sources named in a manifest, all if empty.  `lora` is the rank, 0 trains
    all weights.  `batch_size` counts lines of full width.  `lr` None: what suits most.
    `bad_lines`: one of BAD_LINES.  `seconds` ends a session early; the next one goes on.
    """

    data: Sequence[Path]
    out: Path
    model: str | None = None
    dev: Sequence[Path] = ()
    holdout: float = 0.1
    only: Sequence[str] = ()
    lora: int = 0
    epochs: float = 10
    batch_size: int = 16
    lr: float | None = None
    augment: bool = True
    bad_lines: str = "skip"
    device: str = "auto"
    workers: int | None = None
    seed: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class FinetuneResult:
    """`finished` is False where it was interrupted: run it again to go on, `after` is None then.

    `before` and `after` are of the held-out lines, read as the plugin reads.  `skipped` lines
    were of no use, `reasons` says which and why; `others` were of sources not asked for.
    """

    out: Path
    finished: bool
    step: int
    steps: int
    lines: int
    held_out: int
    skipped: int
    reasons: str
    others: int
    before: Evaluation | None
    after: Evaluation | None


def run(options: FinetuneOptions, report: Report = lambda progress: None) -> FinetuneResult:
    """Fine-tune, or go on with what `options.out` holds; its product is the folder itself.

    Raises TrainingError or CheckpointError, one line, for data, options and checkpoints that
    cannot be used.
    """
    _check(options)
    backend.prepare(options.device)
    source = resolve(options.model)
    checkpoint = load(source)
    report(Progress("reading data"))
    train, dev, read = _read_data(options, source, checkpoint)
    if options.lora:
        add_lora(checkpoint.model, options.lora, options.seed)
    epochs = Epochs(train, frame_of(checkpoint, options.batch_size), options.seed, options.augment)
    recipe = _recipe(options, max(1, round(options.epochs * len(epochs))))
    session = Session(
        options.out,
        _settings(options, source, train),
        log_every=min(20, len(epochs)),
        eval_every=len(epochs),
        device=options.device,
        workers=options.workers,
        seconds=options.seconds,
    )
    done = train_to_product(session, source, checkpoint, recipe, epochs, dev, report)
    return FinetuneResult(
        out=options.out,
        finished=done.after is not None,
        step=done.trainer.step,
        steps=recipe.steps,
        lines=len(train),
        held_out=len(dev),
        skipped=len(read.problems),
        reasons=read.summary(),
        others=read.sources.total() - len(read.samples) - len(read.problems),
        before=done.before,
        after=done.after,
    )


def _check(options: FinetuneOptions) -> None:
    """Raise TrainingError for an option that makes no sense, naming it."""
    wrong = {
        "data": not options.data,
        "epochs": options.epochs <= 0,
        "batch_size": options.batch_size < 1,
        "lora": options.lora < 0,
        "lr": options.lr is not None and not 0 < options.lr < 1,
        "bad_lines": options.bad_lines not in BAD_LINES,
    }
    for name in (name for name, is_wrong in wrong.items() if is_wrong):
        raise TrainingError(f"{name} cannot be {getattr(options, name)!r}")


def _read_data(
    options: FinetuneOptions, source: Path, checkpoint: Checkpoint
) -> tuple[list[Sample], list[Sample], Dataset]:
    """Lines to learn from, lines to test on, and all that was read for them."""
    encode = LabelEncoder(source)
    processor = checkpoint.processor
    limits = Limits(
        checkpoint.config.decoder.max_position_embeddings,
        _SQUEEZE * processor.width / processor.height if processor.pad_to_aspect else None,
    )
    refuse = options.bad_lines == "refuse"
    data = load_dataset(options.data, encode, limits, only=options.only, refuse_bad=refuse)
    if not options.dev:
        train, dev = split(data.samples, options.holdout, options.seed)
        return train, dev, data
    held = load_dataset(options.dev, encode, limits, only=options.only, refuse_bad=refuse)
    both = Dataset(
        data.samples + held.samples,
        data.problems + held.problems,
        data.sources + held.sources,
    )
    return data.samples, held.samples, both


def _recipe(options: FinetuneOptions, steps: int) -> Recipe:
    lr = options.lr or (_LORA_LR if options.lora else _LR)
    return Recipe(steps, lr, warmup=round(_WARMUP_SHARE * steps))


def _settings(options: FinetuneOptions, source: Path, train: list[Sample]) -> dict[str, Any]:
    """What must be the same when an interrupted training is taken up."""
    checksum = 0
    for sample in train:
        checksum = zlib.crc32(sample.encoded, zlib.crc32(sample.text.encode(), checksum))
    return {
        "model": str(source.resolve()),
        "lines": len(train),
        "checksum of the lines": checksum,
        **{
            name: getattr(options, name)
            for name in ("lora", "epochs", "batch_size", "lr", "augment", "seed")
        },
    }
