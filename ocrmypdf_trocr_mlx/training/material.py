"""What a pretraining begins with and learns from: its options, and what they name.

Shared by pretrain.py and the recipe in PyTorch, examples/pretrain_torch.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve

from .batches import Frame
from .charset import CHARACTERS
from .dataset import Limits, Sample, load_dataset
from .errors import TrainingError
from .fonts import load_fonts
from .labels import LabelEncoder
from .mixture import Mixture
from .regroup import Regrouper
from .render import LineRenderer
from .scratch import Size, write_scratch
from .texts import Texts, read_corpora
from .words import Follower, find_words

log = logging.getLogger(__name__)

# A line wider than the model's image times this is not squeezed into it.
_SQUEEZE = 1.5


@dataclass(frozen=True)
class Material:
    """Real lines to learn from whole, what is made of the words of some, and lines to test on."""

    real: list[Sample]
    words: Regrouper | None
    held_out: list[Sample]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that the functions here take, and those of every pretraining."""
    size = Size()
    add = parser.add_argument
    add("--dev", type=Path, action="append", required=True, help="lines to test on")
    add("--real", type=Path, action="append", default=[], help="real lines to learn from")
    add("--real-share", type=float, default=0.2, help="share of the lines that is real")
    add("--times", action="append", default=[], metavar="SOURCE=N", help="repeat a source's lines")
    add(
        "--words",
        action="store_true",
        help="also cut real lines where --init's model sees their words, and put these together",
    )
    add("--fonts", type=Path, action="append", default=[], help="folder of fonts, or the system's")
    add("--texts", type=Path, action="append", default=[], help="folder of .txt files to render")
    add("--characters", type=Path, help="file with all characters, on one line")
    add("--init", help="checkpoint to go on from, instead of random weights")
    add("--batch-size", type=int, default=320, help="lines of full width in a step")
    add("--lr", type=float, default=7e-4)
    add("--image", type=_pair, default=(size.height, size.width), metavar="HxW")
    add("--patch", type=_pair, default=(size.patch_height, size.patch_width), metavar="HxW")
    add("--dims", type=int, default=size.dims)
    add("--heads", type=int, default=size.heads)
    add("--encoder-layers", type=int, default=size.encoder_layers)
    add("--decoder-layers", type=int, default=size.decoder_layers)
    add("--activation", choices=("gelu", "relu"), default=size.activation)
    add("--workers", type=int, help="processes that make batches")
    add("--seed", type=int, default=0)


def _pair(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r}: give HEIGHTxWIDTH in pixels")
    return int(height), int(width)


def start(args: argparse.Namespace, folder: Path, *, reads: bool = False) -> Path:
    """The checkpoint to begin with: --init, or random weights, written once to `folder`.

    `reads`: another model, that reads, is there to see the words of lines.
    """
    if args.init:
        return resolve(args.init)
    if args.words and not reads:
        raise TrainingError("--words: a model that reads must see them: give --init")
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
            activation=args.activation,
        )
        write_scratch(folder, size, _characters(args), args.seed)
    return folder


def read_material(
    args: argparse.Namespace,
    checkpoint: Checkpoint,
    encode: LabelEncoder,
    frame: Frame,
    follow: Follower,
) -> Material:
    """The lines that --real and --dev name; `follow` is asked with --words only."""
    processor = checkpoint.processor
    aspect = _SQUEEZE * processor.width / processor.height if processor.pad_to_aspect else None
    limits = Limits(checkpoint.config.decoder.max_position_embeddings, aspect)
    held_out = load_dataset(args.dev, encode, limits).samples
    if not args.real:
        if args.words:
            raise TrainingError("--words: of what lines? give --real")
        return Material([], None, held_out)
    # Lines too long to be read whole may still be cut.
    wanted = Limits(limits.max_tokens) if args.words else limits
    real = load_dataset(args.real, encode, wanted, workers=args.workers or 0).samples
    counts = _times(args.times, real)
    if not args.words:
        return Material(_repeated(real, counts), None, held_out)
    pieces, workers = checkpoint.tokenizer.pieces, args.workers or 0
    found = find_words(real, frame, pieces, follow, workers)
    placed = {id(s): p for s, p in zip(real, found, strict=True) if p is not None and len(p) > 1}
    if not placed:
        raise TrainingError(f"--words: the model reads none of {len(real)} lines: train it further")
    log.info("words of %d of %d lines found", len(placed), len(real))
    cut = _repeated([s for s in real if id(s) in placed], counts)
    words = Regrouper(cut, [placed[id(s)] for s in cut], processor.height)
    whole = [s for s in real if aspect is None or s.width <= aspect * s.height]
    return Material(_repeated(whole, counts), words, held_out)


def _times(entries: Sequence[str], real: Sequence[Sample]) -> dict[str, int]:
    times = {}
    for entry in entries:
        name, _, count = entry.rpartition("=")
        if not name or not count.isdecimal():
            raise TrainingError(f"--times {entry}: give SOURCE=NUMBER")
        times[name] = int(count)
    if unknown := times.keys() - {s.source for s in real}:
        raise TrainingError(f"--times: no line is of source {', '.join(sorted(unknown))}")
    return times


def _repeated(samples: Sequence[Sample], times: dict[str, int]) -> list[Sample]:
    return [s for s in samples for _ in range(times.get(s.source, 1))]


def make_mixture(
    args: argparse.Namespace, material: Material, encode: LabelEncoder, frame: Frame
) -> Mixture:
    """Batches of the real lines and of rendered ones."""
    characters = _characters(args)
    # Without texts of the user's, what the real lines say is said again.
    texts = ["\n".join(s.text for s in material.real)]
    corpora = read_corpora(args.texts) if args.texts else texts
    if not any(corpora):
        raise TrainingError("no text to render: give --texts, or --real lines")
    renderer = LineRenderer(load_fonts(args.fonts, characters), Texts(corpora, characters))
    return Mixture(
        material.real, args.real_share, renderer, encode, frame, args.seed, material.words
    )


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
