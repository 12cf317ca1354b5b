"""A checkpoint folder -> model, image processor, tokenizer and decoding options."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from ocrmypdf_trocr_mlx.model import cpu
from ocrmypdf_trocr_mlx.model.config import ConfigError, TrOCRConfig
from ocrmypdf_trocr_mlx.model.options import GenerateOptions
from ocrmypdf_trocr_mlx.model.trocr import TrOCR

from . import parallel
from .errors import CheckpointError
from .images import ImageProcessor
from .tokens import Tokenizer
from .weights import (
    Quantization,
    Weights,
    cast,
    expand,
    folder_of,
    read_weights,
    sanitize,
    tie,
    weight_files,
)


@dataclass(frozen=True)
class Checkpoint:
    """All it takes to read a line; `options` is how the checkpoint wants to be decoded."""

    model: TrOCR
    processor: ImageProcessor
    tokenizer: Tokenizer
    config: TrOCRConfig
    options: GenerateOptions
    name: str


def load(source: Path, dtype: mx.Dtype = mx.float32, *, keep_quantized: bool = False) -> Checkpoint:
    """Load a TrOCR checkpoint in transformers' layout; raises CheckpointError, one line.

    `source` is its folder, or a file of weights with the other files beside it.

    The weights are evaluated, so the model may be used by another thread than the caller's.
    Half precision is for GPUs: on a CPU it is many times slower than float32.  So are quantized
    layers, which are expanded unless they are to be kept.
    """
    source = Path(source)
    config, processor, tokenizer, options = read_parts(source)
    quantization = Quantization.of(read_config(source))
    model = _load_model(source, config, quantization, dtype, keep_quantized)
    return Checkpoint(model, processor, tokenizer, model.config, options, source.name)


def read_parts(source: Path) -> tuple[TrOCRConfig, ImageProcessor, Tokenizer, GenerateOptions]:
    """All of a checkpoint but its weights; raises CheckpointError."""
    folder, values = folder_of(source), read_config(source)
    try:
        config = TrOCRConfig.from_dict(values)
    except (ConfigError, TypeError, ValueError) as e:
        raise CheckpointError(f"{folder}: {e}") from e
    options = GenerateOptions.from_config(values, read_generation_config(source))
    processor = ImageProcessor.from_dict(
        _read_json(folder / "preprocessor_config.json"), config.encoder.patch_size[1]
    )
    return config, processor, Tokenizer.from_folder(folder), options


def check(source: Path) -> None:
    """Raise the CheckpointError that `load` would raise, in a fraction of its time.

    Names and shapes of weights are compared, but few are read.  A pickle can only be read whole:
    what is wrong with one, `load` has to find.
    """
    source = Path(source)
    config, *_ = read_parts(source)
    quantization = Quantization.of(read_config(source))
    if all(path.suffix == ".safetensors" for path in weight_files(source)):
        _assemble(source, config, quantization, mx.float32, keep_quantized=False)


def read_generation_config(source: Path) -> dict[str, Any] | None:
    """generation_config.json, where there is one."""
    path = folder_of(source) / "generation_config.json"
    return _read_json(path) if path.is_file() else None


def _load_model(
    source: Path,
    config: TrOCRConfig,
    quantization: Quantization | None,
    dtype: mx.Dtype,
    keep_quantized: bool,
) -> TrOCR:
    read = parallel.read_evaluated if parallel.serves(source) else _read
    model = _assemble(source, config, quantization, dtype, keep_quantized, read)
    model.eval()
    # Streams belong to threads: what is left lazy here could not be evaluated in another.
    mx.eval(model.state)
    if read is not _read:
        mx.clear_cache()  # what was cast is not needed again
    cpu.lay_out(model)
    return model


def _read(source: Path, dtype: mx.Dtype) -> Weights:
    """A checkpoint's tensors, to be cast and evaluated by others."""
    return read_weights(source)


def _assemble(
    source: Path,
    config: TrOCRConfig,
    quantization: Quantization | None,
    dtype: mx.Dtype,
    keep_quantized: bool,
    read: Callable[[Path, mx.Dtype], Weights] = _read,
) -> TrOCR:
    """The model with weights as `read` gives them; raises where they do not fit it."""
    quantized = quantization if keep_quantized else None
    # No name for what was read: with one, each part of a fused projection would stay in memory.
    weights = sanitize(
        cast(read(source, dtype), dtype)
        if quantized
        else expand(read(source, dtype), dtype, quantization)
    )
    tied = tie(weights)
    config = dataclasses.replace(
        config, decoder=dataclasses.replace(config.decoder, tie_word_embeddings=tied)
    )
    try:
        model = TrOCR(config)
    except ConfigError as e:
        raise CheckpointError(f"{source}: {e}") from e
    if quantized is not None:
        nn.quantize(
            model,
            quantized.group_size,
            quantized.bits,
            class_predicate=lambda path, module: f"{path}.scales" in weights,
        )
    _check(source, dict(tree_flatten(model.parameters())), weights)
    model.load_weights(list(weights.items()))
    return model


def _check(source: Path, expected: dict[str, mx.array], given: dict[str, mx.array]) -> None:
    """Raise for missing, unexpected and ill-shaped weights, naming some of each."""
    problems = {
        "missing": sorted(expected.keys() - given.keys()),
        "unexpected": sorted(given.keys() - expected.keys()),
        "of another shape than config.json says": [
            f"{k} {tuple(given[k].shape)} for {tuple(expected[k].shape)}"
            for k in sorted(expected.keys() & given.keys())
            if given[k].shape != expected[k].shape
        ],
    }
    found = [f"{len(keys)} {what} ({_some(keys)})" for what, keys in problems.items() if keys]
    if found:
        raise CheckpointError(f"{source}: weights do not fit the model: {'; '.join(found)}")


def _some(keys: list[str], limit: int = 8) -> str:
    return ", ".join(keys[:limit]) + (", ..." if len(keys) > limit else "")


def read_config(source: Path) -> dict[str, Any]:
    """config.json; raises CheckpointError where there is none."""
    return _read_json(folder_of(source) / "config.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: not a TrOCR checkpoint folder") from None
    except (OSError, ValueError) as e:
        raise CheckpointError(f"{path}: cannot be read: {e}") from e
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not a json object")
    return value
