"""From the trained model back to a checkpoint folder, under the names its source has."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

import mlx.core as mx

from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.weights import (
    SCALE,
    Weights,
    folder_of,
    is_used,
    read_weights,
    rename,
)

_WEIGHTS = "model.safetensors"
# What belongs to a checkpoint beside its weights; config.json comes last, it makes the folder one.
_FILES = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "config.json",
)
# A projection of the file -> the fused one here, which part of it, of how many.
_PARTS = [
    (r"(self_attn|attention)\.q_proj\.", r"\1.qkv_proj.", 0, 3),
    (r"(self_attn|attention)\.k_proj\.", r"\1.qkv_proj.", 1, 3),
    (r"(self_attn|attention)\.v_proj\.", r"\1.qkv_proj.", 2, 3),
    (r"encoder_attn\.k_proj\.", "encoder_attn.kv_proj.", 0, 2),
    (r"encoder_attn\.v_proj\.", "encoder_attn.kv_proj.", 1, 2),
]
_PROJECTION = "encoder.embeddings.patch_embeddings.projection.weight"
_OUTPUT = "decoder.output_projection.weight"
_EMBEDDINGS = "decoder.embed_tokens.weight"


def write_product(source: Path, weights: Weights, out: Path) -> None:
    """Write a model's weights to `out` with the files and names of the checkpoint `source`.

    Half-written files never stand under their final names, and without config.json, the last,
    the folder is no checkpoint.  What was written is loaded once.
    """
    named = named_as(read_weights(source), weights)
    with tempfile.TemporaryDirectory(dir=out, prefix=".product-") as name:
        folder = Path(name)
        mx.save_safetensors(str(folder / _WEIGHTS), named, {"format": "pt"})
        beside = folder_of(source)
        for file in _FILES:
            if (beside / file).is_file():
                shutil.copyfile(beside / file, folder / file)
        load(folder)
        for file in (_WEIGHTS, *_FILES):
            if (folder / file).is_file():
                (folder / file).replace(out / file)


def named_as(published: Weights, weights: Weights) -> Weights:
    """A model's weights under the published keys; what reading does not use stays as it is.

    Floats keep their type; 8-bit storage becomes float16.
    """
    named = {}
    for key, old in published.items():
        if key.endswith(SCALE):
            continue
        value = _value(rename(key), weights) if is_used(key) else old
        kept = mx.issubdtype(old.dtype, mx.floating) or not is_used(key)
        named[key] = value.astype(old.dtype if kept else mx.float16)
    return named


def _value(name: str, parameters: Weights) -> mx.array:
    if name == _OUTPUT and name not in parameters:
        name = _EMBEDDINGS  # tied, and the file holds both
    if name == _EMBEDDINGS and name not in parameters:
        name = _OUTPUT
    if name == _PROJECTION:
        return parameters[name].transpose(0, 3, 1, 2)
    for pattern, fused, part, count in _PARTS:
        if re.search(pattern, name) and name not in parameters:
            return mx.split(parameters[re.sub(pattern, fused, name)], count)[part]
    return parameters[name]
