"""Weight files: reading them, and renaming what they hold to the modules' names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from .errors import CheckpointError
from .torch_file import read_torch_file

Weights = dict[str, mx.array]

SCALE = ".scale"

# In files of every transformers version -> the name here; an encoder layer has two names.
_RENAMES = [
    (r"^encoder\.encoder\.layer\.", "encoder.layers."),
    (r"\.attention\.attention\.query\.", ".attention.q_proj."),
    (r"\.attention\.attention\.key\.", ".attention.k_proj."),
    (r"\.attention\.attention\.value\.", ".attention.v_proj."),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(encoder\.layers\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^decoder\.model\.decoder\.", "decoder."),
    (r"^decoder\.output_projection\.", "decoder.output_projection."),
]
# In files, and of no use to reading.
_DROPPED = re.compile(
    r"^encoder\.pooler\.|^encoder\.embeddings\.mask_token$|\.embed_positions\._float_tensor$"
    r"|^decoder\.version$"
)
_EMBEDDINGS = "decoder.embed_tokens.weight"
_OUTPUT = "decoder.output_projection.weight"
_PUBLISHED_EMBEDDINGS = "decoder.model.decoder.embed_tokens.weight"


def folder_of(source: Path) -> Path:
    """Where a checkpoint's other files lie: it is named by its folder, or by a file of weights."""
    return source.parent if source.is_file() else source


def read_weights(source: Path) -> Weights:
    """All tensors of a file of weights, or of a checkpoint folder: safetensors if it has any."""
    weights: Weights = {}
    for path in weight_files(source):
        weights |= _READERS[path.suffix](path)
    return weights


def weight_files(source: Path) -> list[Path]:
    """The files that `read_weights` reads: one, or the shards that an index names."""
    if source.is_file():
        if source.suffix not in _READERS:
            kinds = " or ".join(_READERS)
            raise CheckpointError(f"{source}: not a file of weights, which end in {kinds}")
        return [source]
    for name in _NAMES:
        if (source / name).is_file():
            return [source / name]
        if (source / f"{name}{_INDEX}").is_file():
            return _shards(source / f"{name}{_INDEX}")
    raise CheckpointError(f"{source}: no weights: neither {' nor '.join(_NAMES)}")


def has_weights(folder: Path) -> bool:
    """Whether `read_weights` would find something to read."""
    return any((folder / f"{name}{end}").is_file() for name in _NAMES for end in ("", _INDEX))


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        paths = [index.parent / name for name in sorted(names)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as e:
        raise CheckpointError(f"{index}: not an index of weights: {e}") from e
    for path in paths:
        # A name that leads elsewhere would have any file of the user's read.
        if path.parent != index.parent or path.suffix not in _READERS:
            raise CheckpointError(f"{index}: {str(path)!r} is no file of weights beside it")
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, and {index.name} names it")
    return paths


def read_safetensors(path: Path) -> Weights:
    """All tensors of a file; they are read when they are evaluated, in the thread that called."""
    try:
        weights = mx.load(str(path), format="safetensors")
    except (RuntimeError, ValueError) as e:
        raise CheckpointError(f"{path}: not a safetensors file: {e}") from e
    assert isinstance(weights, dict)
    return weights


@dataclass(frozen=True)
class Quantization:
    """What config.json says of weights that are quantized in MLX's way, as mlx-lm writes it."""

    bits: int
    group_size: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Quantization | None:
        """From config.json; raises CheckpointError for a kind that is not MLX's affine one."""
        values = config.get("quantization")
        if values is None:
            return None
        try:
            quantization = cls(int(values["bits"]), int(values["group_size"]))
        except (KeyError, TypeError, ValueError):
            quantization = cls(0, 0)
        known = quantization.bits in (2, 3, 4, 5, 6, 8) and quantization.group_size in (32, 64, 128)
        if not known or values.get("mode", "affine") != "affine":
            raise CheckpointError(f"config.json: quantization {values!r} is not supported")
        return quantization

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def suits(self, key: str, value: mx.array) -> bool:
        """Whether a file's tensor is a linear layer's or the token table, of rows that divide."""
        matrix = key.endswith(".weight") and value.ndim == 2 and "embed_positions" not in key
        return matrix and value.shape[1] % self.group_size == 0


def expand(weights: Weights, dtype: mx.Dtype, quantization: Quantization | None = None) -> Weights:
    """Undo 8-bit storage and quantization, and cast: all tensors become floats."""
    plain = {}
    for key, value in weights.items():
        stem = key.removesuffix("weight")
        if key.endswith(SCALE) or (quantization and key.endswith((".scales", ".biases"))):
            continue
        if quantization and f"{stem}scales" in weights:
            scales, biases = weights[f"{stem}scales"], weights[f"{stem}biases"]
            value = mx.dequantize(value, scales, biases, quantization.group_size, quantization.bits)
        elif key + SCALE in weights:
            value = value.astype(mx.float32) * weights[key + SCALE].astype(mx.float32)
        plain[key] = value.astype(dtype)
    return plain


def cast(weights: Weights, dtype: mx.Dtype) -> Weights:
    """Floats of another type; what is quantized stays so."""
    return {
        k: v.astype(dtype) if mx.issubdtype(v.dtype, mx.floating) else v for k, v in weights.items()
    }


def sanitize(weights: Weights) -> Weights:
    """Names and layouts of the file -> those of the modules."""
    renamed = {rename(k): v for k, v in weights.items() if is_used(k)}
    projection = "encoder.embeddings.patch_embeddings.projection.weight"
    if projection in renamed:
        renamed[projection] = renamed[projection].transpose(0, 2, 3, 1)  # channels last
    for key in [k for k in renamed if re.search(r"(self_attn|attention)\.q_proj\.", k)]:
        _fuse(renamed, key, ("q_proj", "k_proj", "v_proj"), "qkv_proj")
    for key in [k for k in renamed if ".encoder_attn.k_proj." in k]:
        _fuse(renamed, key, ("k_proj", "v_proj"), "kv_proj")
    return renamed


def is_used(key: str) -> bool:
    """Whether a file's tensor has a part in reading."""
    return not _DROPPED.search(rename(key))


def rename(key: str) -> str:
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def _fuse(weights: Weights, key: str, parts: Iterable[str], name: str) -> None:
    """Stack projections of the same input: one product instead of several."""
    first, *_ = parts
    keys = [key.replace(first, part) for part in parts]
    if all(k in weights for k in keys):
        weights[key.replace(first, name)] = mx.concatenate([weights.pop(k) for k in keys])


def tie(weights: Weights) -> bool:
    """Whether the output layer is the embedding table; leaves one copy where it is.

    A file may hold both whatever its config says: then they decide, as in transformers 5.
    """
    if _OUTPUT not in weights:
        return True
    if _EMBEDDINGS not in weights:
        weights[_EMBEDDINGS] = weights.pop(_OUTPUT)
        return True
    if mx.array_equal(weights[_OUTPUT], weights[_EMBEDDINGS]).item():
        del weights[_OUTPUT]
        return True
    return False


def tie_published(weights: Weights) -> Weights:
    """What reading uses of a file's weights, a table that serves twice once, as embeddings."""
    kept = {k: v for k, v in weights.items() if is_used(k)}
    by_name = {rename(k): k for k in kept}
    output, embeddings = by_name.get(_OUTPUT), by_name.get(_EMBEDDINGS)
    if output is None:
        return kept
    if embeddings is None:
        kept[_PUBLISHED_EMBEDDINGS] = kept.pop(output)
    elif mx.array_equal(kept[output], kept[embeddings]).item():
        del kept[output]
    return kept


_READERS = {".safetensors": read_safetensors, ".bin": read_torch_file}
_INDEX = ".index.json"
_NAMES = ("model.safetensors", "pytorch_model.bin")
