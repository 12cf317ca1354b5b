"""Train a recogniser from nothing, or further: `python -m ocrmypdf_trocr_mlx.training.pretrain`.

Learns from real lines and rendered ones; stopped by Ctrl-C or --seconds, the same command goes
on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

from .batches import THIRDS
from .charset import CHARACTERS
from .dataset import Limits, Sample, load_dataset
from .errors import TrainingError
from .fonts import load_fonts
from .labels import LabelEncoder
from .loop import Progress
from .mixture import Mixture
from .render import LineRenderer
from .scratch import Size, write_scratch
from .session import Session, train_to_product
from .texts import Texts, read_corpora
from .trainer import Recipe, frame_of

_SQUEEZE = 1.5


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        return _train(args)
    except (TrainingError, CheckpointError, ValueError) as e:
        sys.stderr.write(f"pretrain: {e}\n")
        return 1


def _train(args: argparse.Namespace) -> int:
    backend.prepare(args.device)
    source = _start(args)
    checkpoint = load(source)
    encode = LabelEncoder(source)
    real, held_out = _read_lines(args, checkpoint, encode)
    characters = _characters(args)
    # Without texts of the user's, what the real lines say is said again.
    corpora = read_corpora(args.texts) if args.texts else ["\n".join(s.text for s in real)]
    if not any(corpora):
        raise TrainingError("no text to render: give --texts, or --real lines")
    renderer = LineRenderer(load_fonts(args.fonts, characters), Texts(corpora, characters))
    frame = dataclasses.replace(frame_of(checkpoint, args.batch_size), parts=THIRDS)
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
    mixture = Mixture(real, args.real_share, renderer, encode, frame, args.seed)
    # A model that reads already knows where to look, and a new head would disturb it.
    guided = args.init is None
    done = train_to_product(session, source, checkpoint, recipe, mixture, held_out, _tell, guided)
    if done.after is None:
        sys.stderr.write(
            f"stopped at step {done.trainer.step} of {args.steps}: run it again to go on\n"
        )
        return 0
    for name, score in {**done.after.by_source, "all": done.after.total}.items():
        sys.stdout.write(f"{name}: CER {score.cer:.2%}\n")
    return 0


def _start(args: argparse.Namespace) -> Path:
    """The checkpoint to begin with: --init, or random weights, written once to `out`."""
    if args.init:
        return resolve(args.init)
    folder = Path(args.out) / "training" / "start"
    if not (folder / "config.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        height, width = args.image
        patch_height, patch_width = args.patch
        size = Size(
            height=height,
            width=width,
            patch_height=patch_height,
            patch_width=patch_width,
            dims=args.dims,
            heads=args.heads,
            encoder_layers=args.encoder_layers,
            decoder_layers=args.decoder_layers,
        )
        write_scratch(folder, size, _characters(args), args.seed)
    return folder


def _characters(args: argparse.Namespace) -> str:
    if args.characters is None:
        return CHARACTERS
    try:
        text = args.characters.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as e:
        raise TrainingError(f"{args.characters}: not a text in UTF-8: {e}") from e
    if len(set(text)) != len(text) or " " not in text or "\n" in text:
        raise TrainingError(
            f"{args.characters}: give each character once, on one line, the space among them"
        )
    return str(text)


def _read_lines(
    args: argparse.Namespace, checkpoint: Checkpoint, encode: LabelEncoder
) -> tuple[list[Sample], list[Sample]]:
    """Real lines to learn from, those of some sources repeated, and lines to test on."""
    processor = checkpoint.processor
    aspect = _SQUEEZE * processor.width / processor.height if processor.pad_to_aspect else None
    limits = Limits(checkpoint.config.decoder.max_position_embeddings, aspect)
    held_out = load_dataset(args.dev, encode, limits).samples
    if not args.real:
        return [], held_out
    real = load_dataset(args.real, encode, limits).samples
    times = dict(_parse_times(entry) for entry in args.times)
    unknown = times.keys() - {s.source for s in real}
    if unknown:
        raise TrainingError(f"--times: no line is of source {', '.join(sorted(unknown))}")
    return [s for s in real for _ in range(times.get(s.source, 1))], held_out


def _parse_times(entry: str) -> tuple[str, int]:
    name, _, count = entry.rpartition("=")
    if not name or not count.isdecimal():
        raise TrainingError(f"--times {entry}: give SOURCE=NUMBER")
    return name, int(count)


def _tell(progress: Progress) -> None:
    if progress.loss is None:
        sys.stderr.write(f"{progress.phase}\n")
        return
    cer = "" if progress.cer is None else f"  CER {progress.cer:.2%}"
    sys.stderr.write(
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.4f}  lr {progress.lr:.2e}"
        f"  {progress.lines_per_second:.0f} lines/s{cer}\n"
    )


def _pair(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r}: give HEIGHTxWIDTH in pixels")
    return int(height), int(width)


def _parser() -> argparse.ArgumentParser:
    size = Size()
    parser = argparse.ArgumentParser(prog="pretrain", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the product; given again: go on")
    add("--dev", type=Path, action="append", required=True, help="lines to test on")
    add("--real", type=Path, action="append", default=[], help="real lines to learn from")
    add("--real-share", type=float, default=0.2, help="share of the lines that is real")
    add("--times", action="append", default=[], metavar="SOURCE=N", help="repeat a source's lines")
    add("--fonts", type=Path, action="append", default=[], help="folder of fonts, or the system's")
    add("--texts", type=Path, action="append", default=[], help="folder of .txt files to render")
    add("--characters", type=Path, help="file with all characters, on one line")
    add("--init", help="checkpoint to go on from, instead of random weights")
    add("--steps", type=int, default=20000)
    add("--batch-size", type=int, default=320, help="lines of full width in a step")
    add("--lr", type=float, default=7e-4)
    add("--warmup", type=int, default=1000)
    add("--eval-every", type=int, default=2000)
    add("--seconds", type=float, help="stop after so long; run again to go on")
    add("--image", type=_pair, default=(size.height, size.width), metavar="HxW")
    add("--patch", type=_pair, default=(size.patch_height, size.patch_width), metavar="HxW")
    add("--dims", type=int, default=size.dims)
    add("--heads", type=int, default=size.heads)
    add("--encoder-layers", type=int, default=size.encoder_layers)
    add("--decoder-layers", type=int, default=size.decoder_layers)
    add("--device", default="auto", choices=backend.DEVICES)
    add("--workers", type=int, help="processes that make batches")
    add("--seed", type=int, default=0)
    return parser


if __name__ == "__main__":
    sys.exit(main())
