"""Average the weights of checkpoints trained on from the same one: often better than each.

What a round of training forgot, the checkpoint that it went on from still knows, and rounds that
went on from it differently err differently (Wortsman et al., "Model soups", 2022).

    python -m ocrmypdf_trocr_mlx.training.average my-model new-model --out averaged
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.convert import refuse_full, write_folder
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import read_config
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.checkpoints.weights import Quantization, Weights, expand, read_weights


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="average", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the model")
    args = parser.parse_args(arguments)
    backend.prepare("cpu")
    try:
        refuse_full(args.out)
        average([resolve(model) for model in args.models], args.out)
    except CheckpointError as e:
        sys.stderr.write(f"average: {e}\n")
        return 1
    return 0


def average(models: Sequence[Path], out: Path) -> None:
    """Write the mean in float16 and the other files of the last of the `models`.

    Raises CheckpointError where names or shapes of the weights differ, or some are quantized.
    """
    *others, last = models
    total = _weights(last)
    for model in others:
        weights = _weights(model)
        shapes = ({k: v.shape for k, v in w.items()}.items() for w in (total, weights))
        if differing := {name for name, _ in set.symmetric_difference(*map(set, shapes))}:
            names = ", ".join(sorted(differing)[:4])
            raise CheckpointError(f"{model}, {last}: weights of different models: {names}")
        total = {k: v + weights[k] for k, v in total.items()}
        mx.eval(total)  # one checkpoint in memory at a time
    config = read_config(last)
    for key in {"dtype", "torch_dtype"} & config.keys():
        config[key] = "float16"
    mean = {k: (v / len(models)).astype(mx.float16) for k, v in total.items()}
    write_folder(last, out, config, mean)


def _weights(source: Path) -> Weights:
    if Quantization.of(read_config(source)) is not None:
        raise CheckpointError(f"{source}: is quantized: average what it was made from")
    return expand(read_weights(source), mx.float32)


if __name__ == "__main__":
    sys.exit(main())
