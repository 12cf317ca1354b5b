"""Store a checkpoint in 8 bits: `python -m ocrmypdf_trocr_mlx.checkpoints.pack SRC DST`.

Matrices become int8 with a scale for each row (each output of a layer, each token of the
table), about half the size of float16; the rest is float16.  `load` expands them again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import mlx.core as mx

from .errors import CheckpointError
from .load import load
from .weights import SCALE, Weights, is_used, read_weights

_LEVELS = 127
# Everything of a checkpoint but its weights, and what may say whose it is.
_FILES = ("*.json", "*.model", "merges.txt", "LICENSE*", "README.md")


def pack(source: Path, target: Path) -> None:
    """Write the 8-bit twin of the checkpoint folder `source` to `target`, and load it once."""
    weights: Weights = {}
    for key, value in read_weights(source).items():
        if not is_used(key):
            continue
        if value.ndim < 2 or 1 in value.shape:  # vectors, tokens, the position table
            weights[key] = value.astype(mx.float16)
        else:
            weights[key], weights[key + SCALE] = quantize(value)
    target.mkdir(parents=True, exist_ok=True)
    for pattern in _FILES:
        for path in source.glob(pattern):
            if not path.name.endswith(".index.json"):
                shutil.copyfile(path, target / path.name)
    mx.save_safetensors(str(target / "model.safetensors"), weights, {"format": "pt"})
    load(target)


def quantize(value: mx.array) -> tuple[mx.array, mx.array]:
    """(N, ...) -> int8 of the same shape and float16 scales (N, 1, ...)."""
    value = value.astype(mx.float32)
    largest = mx.abs(value).max(axis=tuple(range(1, value.ndim)), keepdims=True)
    # Rounded up to what is stored: the largest number of a row must not exceed the levels.
    scale = mx.maximum(largest / _LEVELS * (1 + 2**-10), 2**-24).astype(mx.float16)
    levels = mx.round(value / scale.astype(mx.float32))
    return mx.clip(levels, -_LEVELS, _LEVELS).astype(mx.int8), scale


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, metavar="SRC")
    parser.add_argument("target", type=Path, metavar="DST")
    args = parser.parse_args()
    try:
        if args.source.resolve() == args.target.resolve():
            raise CheckpointError(f"{args.target}: give another folder than the source")
        pack(args.source, args.target)
    except (CheckpointError, OSError) as e:
        sys.stderr.write(f"pack: {e}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
