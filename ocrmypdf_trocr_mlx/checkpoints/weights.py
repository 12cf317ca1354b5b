"""Weight files: reading them, and renaming what they hold to the modules' names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

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


def read_weights(folder: Path) -> Weights:
    """All tensors of a checkpoint folder, from safetensors if there are any."""
    for name, read in _READERS.items():
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            return read(folder / name)
        if index.is_file():
            weights: Weights = {}
            for shard in _shards(index):
                weights |= read(shard)
            return weights
    raise CheckpointError(f"{folder}: no weights: neither model.safetensors nor pytorch_model.bin")


def _shards(index: Path) -> Iterator[Path]:
    names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    for name in sorted(names):
        if Path(name).name != name:
            raise CheckpointError(f"{index}: shard {name!r} is not a file beside it")
        yield index.parent / name


def _read_safetensors(path: Path) -> Weights:
    try:
        weights = mx.load(str(path), format="safetensors")
    except (RuntimeError, ValueError) as e:
        raise CheckpointError(f"{path}: not a safetensors file: {e}") from e
    assert isinstance(weights, dict)
    return weights


def expand(weights: Weights, dtype: mx.Dtype) -> Weights:
    """Undo 8-bit storage and cast: a tensor and its `.scale` become one of floats."""
    plain = {}
    for key, value in weights.items():
        if key.endswith(SCALE):
            continue
        scale = weights.get(key + SCALE)
        if scale is not None:
            value = value.astype(mx.float32) * scale.astype(mx.float32)
        plain[key] = value.astype(dtype)
    return plain


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


_READERS = {"model.safetensors": _read_safetensors, "pytorch_model.bin": read_torch_file}
