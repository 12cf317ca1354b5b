"""Average the weights of two checkpoints, one trained on from the other: often better than both.

What a round of training forgot, the checkpoint that it went on from still knows (Wortsman et al.,
"Model soups", 2022).

    python -m ocrmypdf_trocr_mlx.training.average my-model new-model --out averaged
"""

from __future__ import annotations

import argparse
import sys
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
    parser.add_argument("models", nargs=2, metavar="MODEL")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the model")
    args = parser.parse_args(arguments)
    backend.prepare("cpu")
    try:
        refuse_full(args.out)
        average(resolve(args.models[0]), resolve(args.models[1]), args.out)
    except CheckpointError as e:
        sys.stderr.write(f"average: {e}\n")
        return 1
    return 0


def average(first: Path, second: Path, out: Path) -> None:
    """Write the mean in float16 and the other files of `second`.

    Raises CheckpointError where names or shapes of the weights differ, or some are quantized.
    """
    ours, theirs = _weights(first), _weights(second)
    shapes = ({k: v.shape for k, v in weights.items()}.items() for weights in (ours, theirs))
    if differing := {name for name, _ in set.symmetric_difference(*map(set, shapes))}:
        names = ", ".join(sorted(differing)[:4])
        raise CheckpointError(f"{first}, {second}: weights of different models: {names}")
    config = read_config(second)
    for key in {"dtype", "torch_dtype"} & config.keys():
        config[key] = "float16"
    mean = {k: ((ours[k] + theirs[k]) / 2).astype(mx.float16) for k in ours}
    write_folder(second, out, config, mean)


def _weights(source: Path) -> Weights:
    if Quantization.of(read_config(source)) is not None:
        raise CheckpointError(f"{source}: is quantized: average what it was made from")
    return expand(read_weights(source), mx.float32)


if __name__ == "__main__":
    sys.exit(main())
