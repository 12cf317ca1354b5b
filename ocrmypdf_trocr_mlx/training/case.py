"""Labels that were typed in capitals, given the case that the images show.

Some public sets of receipts and forms have their labels in capitals whatever is printed.  A
model that has learned from other lines knows better: it reads each line with the label's
letters given, and at each letter only takes the likelier case.

    python -m ocrmypdf_trocr_mlx.training.case --model DIR --data receipts.tar --out FOLDER

`FOLDER` then holds the lines that the model confirms, to train with.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber

from .data import Found, Problem, read_labels
from .dataset import Limits, Sample, load_dataset
from .errors import TrainingError
from .labels import LabelEncoder, UnknownCharacters

_BATCH = 32
# Mean probability of a line's characters from which the model is taken to have read this line.
_LEAST_CONFIDENCE = 0.45
_MANIFEST = "manifest.jsonl"

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Restored:
    """A label in the case that was read; `confidence` is the geometric mean of the
    probabilities of its characters and its end."""

    text: str
    confidence: float


def restore_case(
    checkpoint: Checkpoint, samples: Sequence[Sample], encode: Encode
) -> list[Restored]:
    """The samples' texts, each letter in the likelier case, in their order.

    Raises TrainingError for a checkpoint that has tokens of several characters.
    """
    transcriber, restored = Transcriber(checkpoint), dict[int, Restored]()
    images = [transcriber.fitting(sample.pixels).pixels for sample in samples]
    order = sorted(range(len(samples)), key=lambda i: images[i].shape[1])
    for _, group in itertools.groupby(order, key=lambda i: images[i].shape[1]):
        same = list(group)
        for rows in (same[i : i + _BATCH] for i in range(0, len(same), _BATCH)):
            texts = [samples[i].text for i in rows]
            pixels = checkpoint.processor([images[i] for i in rows])
            restored |= zip(rows, _restore(checkpoint, pixels, texts, encode), strict=True)
    return [restored[i] for i in range(len(samples))]


def _restore(
    checkpoint: Checkpoint, pixels: np.ndarray, texts: Sequence[str], encode: Encode
) -> list[Restored]:
    model, options = checkpoint.model, checkpoint.options
    choices = [[_cases(c, encode) for c in text] for text in texts]
    decoding = model.decoding(model.memory(model.encode(mx.array(pixels))), None)
    tokens = mx.full((len(texts),), options.start, mx.int32)
    said, logprobs = [""] * len(texts), np.zeros(len(texts))
    for position in range(max(map(len, texts)) + 1):
        logits, _ = decoding.step(tokens)
        likely = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
        following = np.full(len(texts), options.pad, np.int32)
        for row, cases in enumerate(choices):
            if position < len(cases):
                character, token = max(cases[position], key=lambda case: likely[row, case[1]])
                said[row] += character
            elif position == len(cases):
                token = options.eos[0]
            else:
                continue
            logprobs[row] += likely[row, token]
            following[row] = token
        tokens = mx.array(following)
    return [
        Restored(text, math.exp(total / (len(text) + 1)))
        for text, total in zip(said, logprobs, strict=True)
    ]


def _cases(character: str, encode: Encode) -> list[tuple[str, int]]:
    """The character as it is and in the other case, as far as they are tokens, with those."""
    found = []
    for case in dict.fromkeys((character, character.lower(), character.upper())):
        try:
            tokens = encode(case)
        except UnknownCharacters:
            continue
        if len(case) == len(tokens) == 1:
            found.append((case, tokens[0]))
    if not found:
        raise TrainingError(
            f"{character!r} is not one token of the model: give one with a token a character"
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="case", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", help="checkpoint that reads such lines, or the bundled one")
    add("--data", type=Path, action="append", required=True, help="lines labelled in capitals")
    add("--out", type=Path, required=True, help="folder for the lines and their new labels")
    add("--device", default="auto", choices=backend.DEVICES)
    args = parser.parse_args(arguments)
    try:
        return _relabel(args)
    except (TrainingError, CheckpointError, ValueError) as e:
        sys.stderr.write(f"case: {e}\n")
        return 1


def _relabel(args: argparse.Namespace) -> int:
    if args.out.exists():
        raise TrainingError(f"{args.out}: exists already: give another folder")
    backend.prepare(args.device)
    source = resolve(args.model)
    checkpoint, encode = load(source), LabelEncoder(source)
    limits = Limits(checkpoint.config.decoder.max_position_embeddings)
    data = load_dataset(args.data, encode, limits, read=_in_capitals)
    restored = restore_case(checkpoint, data.samples, encode)
    pairs = zip(data.samples, restored, strict=True)
    kept = [(s, r) for s, r in pairs if r.confidence >= _LEAST_CONFIDENCE]
    if not kept:
        raise TrainingError(f"the model reads none of {len(restored)} lines: train it further")
    _write(args.out, kept)
    sys.stdout.write(
        f"{args.out}: {len(kept)} lines; {len(restored) - len(kept)} were read otherwise and "
        f"left out; {len(data.problems)} could not be used\n"
    )
    return 0


def _in_capitals(source: Path) -> Found:
    return (f for f in read_labels(source) if isinstance(f, Problem) or f.capitals)


def _write(out: Path, lines: Sequence[tuple[Sample, Restored]]) -> None:
    """A folder with images and a manifest; it has its name when it is whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        folder = Path(name) / out.name
        folder.mkdir()
        for i, (sample, _) in enumerate(lines):
            (folder / f"{i:06}.png").write_bytes(sample.encoded)
        records = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in _records(lines))
        (folder / _MANIFEST).write_text(records, encoding="utf-8")
        folder.rename(out)


def _records(lines: Sequence[tuple[Sample, Restored]]) -> Iterator[dict[str, str]]:
    for i, (sample, restored) in enumerate(lines):
        place = {"page": sample.page, "source": sample.source}
        yield {"image": f"{i:06}.png", "text": restored.text, **place}


if __name__ == "__main__":
    sys.exit(main())
