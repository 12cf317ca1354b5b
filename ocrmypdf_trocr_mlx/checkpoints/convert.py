"""Store a checkpoint in another precision: floats, 8-bit storage, or quantized for computing.

The result has the names of transformers' files, so transformers reads what is stored in floats.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlx.core as mx

from .errors import CheckpointError
from .load import load, read_config
from .weights import (
    SCALE,
    Quantization,
    Weights,
    expand,
    folder_of,
    read_weights,
    tie_published,
)

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
PACKED = "int8"
GROUP_SIZE = 64

_LEVELS = 127
# Everything of a checkpoint but its weights, and what may say whose it is.
_FILES = ("*.json", "*.model", "merges.txt", "LICENSE*", "README.md")


def convert(
    source: Path,
    target: Path,
    dtype: str = "float16",
    bits: int | None = None,
    group_size: int = GROUP_SIZE,
) -> None:
    """Write the checkpoint `source` to the new folder `target`, and load it once.

    `dtype` is one of DTYPES, or "int8": matrices of 8 bits with a scale for each row, half the
    size of float16, that `load` expands.  With `bits`, 8 or 4, linear layers and the token table
    are quantized in MLX's way, in groups of a row, and a GPU computes with them as they are; the
    rest is of `dtype`.  Raises CheckpointError, and leaves nothing behind.
    """
    config = read_config(source)
    refuse_full(target)
    if Quantization.of(config) is not None:
        raise CheckpointError(f"{source}: is quantized: convert the checkpoint it was made from")
    weights = tie_published(expand(read_weights(source), mx.float32))
    if bits is not None:
        quantization = Quantization(bits, group_size)
        weights = _quantize(weights, DTYPES[dtype], quantization)
        config["quantization"] = quantization.to_dict()
    elif dtype == PACKED:
        weights = _pack(weights)
    else:
        weights = {k: v.astype(DTYPES[dtype]) for k, v in weights.items()}
        for key in {"dtype", "torch_dtype"} & config.keys():
            config[key] = dtype
    write_folder(source, target, config, weights)


def refuse_full(target: Path) -> None:
    """Raise CheckpointError where writing to `target` would overwrite anything."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{target} exists already: give a new folder")


def _quantize(weights: Weights, dtype: mx.Dtype, quantization: Quantization) -> Weights:
    """Matrices become triples weight, scales and biases, as in `mlx.nn.quantize`."""
    result: Weights = {}
    for key, value in weights.items():
        if not quantization.suits(key, value):
            result[key] = value.astype(dtype)
            continue
        stem = key.removesuffix("weight")
        triple = mx.quantize(value, quantization.group_size, quantization.bits)
        result[key] = triple[0]
        result[f"{stem}scales"], result[f"{stem}biases"] = (v.astype(dtype) for v in triple[1:])
    return result


def _pack(weights: Weights) -> Weights:
    result: Weights = {}
    for key, value in weights.items():
        if value.ndim < 2 or 1 in value.shape:  # vectors, tokens, the position table
            result[key] = value.astype(mx.float16)
        else:
            result[key], result[key + SCALE] = pack_rows(value)
    return result


def pack_rows(value: mx.array) -> tuple[mx.array, mx.array]:
    """(N, ...) -> int8 of the same shape and float16 scales (N, 1, ...)."""
    value = value.astype(mx.float32)
    largest = mx.abs(value).max(axis=tuple(range(1, value.ndim)), keepdims=True)
    # Rounded up to what is stored: the largest number of a row must not exceed the levels.
    scale = mx.maximum(largest / _LEVELS * (1 + 2**-10), 2**-24).astype(mx.float16)
    levels = mx.round(value / scale.astype(mx.float32))
    return mx.clip(levels, -_LEVELS, _LEVELS).astype(mx.int8), scale


def write_folder(source: Path, target: Path, config: dict[str, Any], weights: Weights) -> None:
    """A checkpoint with the other files of `source`; loads it once, raises CheckpointError.

    The whole folder is under another name first: what is not finished is not there.
    """
    refuse_full(target)
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".trocr-", dir=target.parent) as name:
        folder = Path(name) / target.name
        folder.mkdir()
        for pattern in _FILES:
            for path in folder_of(source).glob(pattern):
                if path.name != "config.json" and not path.name.endswith(".index.json"):
                    shutil.copyfile(path, folder / path.name)
        text = json.dumps(config, indent=2, ensure_ascii=False)
        (folder / "config.json").write_text(f"{text}\n", encoding="utf-8")
        try:
            mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "pt"})
        except RuntimeError as e:
            raise CheckpointError(f"{target}: the weights cannot be written: {e}") from e
        load(folder)
        if target.exists():
            target.rmdir()  # it is empty
        folder.rename(target)
