"""What a checkpoint is: its parts, its family, its size in memory, and what is odd about it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from ocrmypdf_trocr_mlx.model.config import DecoderConfig, TrOCRConfig
from ocrmypdf_trocr_mlx.model.options import GenerateOptions, ignored

from .convert import GROUP_SIZE
from .images import ImageProcessor
from .load import read_config, read_generation_config, read_parts
from .tokens import Tokenizer
from .weights import (
    SCALE,
    Quantization,
    Weights,
    expand,
    folder_of,
    read_weights,
    tie_published,
    weight_files,
)

# (activation, learned positions, layernorm_embedding, scale_embedding) of published decoders.
_FAMILIES = {
    ("gelu", True, True, False): ("A", "as base-handwritten, base-printed, large-handwritten"),
    ("relu", False, False, True): ("B", "as large-printed, base-stage1, large-stage1"),
    ("relu", True, True, True): ("C", "as the small checkpoints"),
}
_TRANSFORMERS_MAX_LENGTH = 20


@dataclass(frozen=True)
class Description:
    """Of a checkpoint; sizes in bytes, image sizes as (height, width)."""

    source: str
    family: str
    family_note: str
    encoder: dict[str, Any]
    decoder: dict[str, Any]
    image: dict[str, Any]
    tokenizer: dict[str, Any]
    generation: dict[str, Any]
    stored: dict[str, Any]
    parameters: dict[str, int]
    memory: dict[str, int]
    odd: list[str]


def describe(source: Path) -> Description:
    """Describe a checkpoint without loading it as a model; raises CheckpointError."""
    values, generation = read_config(source), read_generation_config(source)
    config, processor, tokenizer, options = read_parts(source)
    quantization = Quantization.of(values)
    stored = read_weights(source)
    weights = tie_published(expand(stored, mx.float32, quantization))
    family, note = _FAMILIES.get(_traits(config.decoder), ("none", "a mixture of its own"))
    return Description(
        source=str(source),
        family=family,
        family_note=note,
        encoder=_encoder(config),
        decoder=_decoder(config, weights),
        image=_image(processor),
        tokenizer=_tokenizer(folder_of(source), tokenizer),
        generation=_generation(options),
        stored=_stored(source, stored, quantization),
        parameters=_parameters(weights),
        memory=_memory(weights),
        odd=[
            *_odd_generation(values, generation, options),
            *_odd_tokens(config, tokenizer, options),
            *_odd_files(source, config, processor, family),
        ],
    )


def _traits(decoder: DecoderConfig) -> tuple[str, bool, bool, bool]:
    return (
        decoder.activation_function,
        decoder.use_learned_position_embeddings,
        decoder.layernorm_embedding,
        decoder.scale_embedding,
    )


def _encoder(config: TrOCRConfig) -> dict[str, Any]:
    encoder = config.encoder
    return {
        "type": encoder.model_type,
        "hidden": encoder.hidden_size,
        "layers": encoder.num_hidden_layers,
        "heads": encoder.num_attention_heads,
        "feed_forward": encoder.intermediate_size,
        "patch": list(encoder.patch_size),
        "positions": encoder.num_prefix_tokens + encoder.grid[0] * encoder.grid[1],
        "qkv_bias": encoder.qkv_bias,
    }


def _decoder(config: TrOCRConfig, weights: Weights) -> dict[str, Any]:
    decoder = config.decoder
    return {
        "hidden": decoder.d_model,
        "layers": decoder.decoder_layers,
        "heads": decoder.decoder_attention_heads,
        "feed_forward": decoder.decoder_ffn_dim,
        "activation": decoder.activation_function,
        "positions": decoder.max_position_embeddings,
        "position_table": "learned" if decoder.use_learned_position_embeddings else "sinusoidal",
        "layernorm_embedding": decoder.layernorm_embedding,
        "scale_embedding": decoder.scale_embedding,
        "tied": not any("output_projection" in key for key in weights),
        "vocabulary": decoder.vocab_size,
        "drafts": f"{config.draft_frames} a column" if config.draft_frames else "none",
    }


def _image(processor: ImageProcessor) -> dict[str, Any]:
    return {
        "size": [processor.height, processor.width],
        "resample": {2: "bilinear", 3: "bicubic"}.get(processor.resample, processor.resample),
        "aspect": "kept, padded" if processor.pad_to_aspect else "stretched",
        "mean": list(processor.mean),
        "std": list(processor.std),
    }


def _tokenizer(folder: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    names = ("tokenizer.json", "vocab.json", "sentencepiece.bpe.model")
    return {
        "file": next(name for name in names if (folder / name).is_file()),
        "kind": tokenizer.kind,
        "tokens": len(tokenizer),
        "special": len(tokenizer.special),
    }


def _generation(options: GenerateOptions) -> dict[str, Any]:
    return {
        "start": options.start,
        "end": list(options.eos),
        "max_length": options.max_length,
        "beams": options.num_beams,
        "length_penalty": options.length_penalty,
        "no_repeat_ngram_size": options.no_repeat_ngram_size,
        "early_stopping": options.early_stopping,
    }


def _stored(source: Path, stored: Weights, quantization: Quantization | None) -> dict[str, Any]:
    dtypes: dict[str, int] = {}
    for key, value in stored.items():
        if not key.endswith((SCALE, ".scales", ".biases")):
            name = str(value.dtype).removeprefix("mlx.core.")
            dtypes[name] = dtypes.get(name, 0) + value.size
    files = weight_files(source)
    return {
        "files": [path.name for path in files],
        "bytes": sum(path.stat().st_size for path in files),
        "dtype": max(dtypes, key=lambda name: dtypes[name]),
        "quantization": None if quantization is None else quantization.to_dict(),
    }


def _parameters(weights: Weights) -> dict[str, int]:
    encoder = sum(v.size for k, v in weights.items() if k.startswith("encoder."))
    total = sum(v.size for v in weights.values())
    return {"encoder": encoder, "decoder": total - encoder, "total": total}


def _memory(weights: Weights) -> dict[str, int]:
    """Bytes of the weights as a model holds them; quantized, two float16 to a group besides."""
    total = sum(v.size for v in weights.values())
    memory = {"float32": 4 * total, "float16": 2 * total, "bfloat16": 2 * total}
    for bits in (8, 4):
        suits = Quantization(bits, GROUP_SIZE).suits
        small = sum(v.size for k, v in weights.items() if suits(k, v))
        per_weight = bits / 8 + 4 / GROUP_SIZE
        memory[f"{bits} bits"] = math.ceil(per_weight * small + 2 * (total - small))
    return memory


def _odd_generation(
    values: dict[str, Any], generation: dict[str, Any] | None, options: GenerateOptions
) -> Iterator[str]:
    source = generation if generation is not None else values
    named = source.get("max_length") or source.get("max_new_tokens")
    if named in (None, _TRANSFORMERS_MAX_LENGTH):
        yield (
            "no maximal length of its own: transformers would cut its text after "
            f"{_TRANSFORMERS_MAX_LENGTH} tokens, here it may have {options.max_length}"
        )
    if options.start in options.eos:
        yield f"text starts with the token that also ends it ({options.start})"
    if options.num_beams > 1:
        yield f"it asks for {options.num_beams} beams: slower; --beams decides when reading"
    for name, value in ignored(source).items():
        yield f"{name}={value} is ignored here: transformers may read otherwise"
    if not options.eos:
        yield "no end token: every text runs to its maximal length"


def _odd_tokens(
    config: TrOCRConfig, tokenizer: Tokenizer, options: GenerateOptions
) -> Iterator[str]:
    missing = config.decoder.vocab_size - len(tokenizer)
    if missing > 0:
        yield f"{missing} of the decoder's {config.decoder.vocab_size} tokens have no text"
    if missing < 0:
        yield f"the tokenizer has {-missing} tokens that the decoder does not know"
    if options.max_length > config.decoder.max_position_embeddings:
        yield "its maximal length is beyond its positions"


def _odd_files(
    source: Path, config: TrOCRConfig, processor: ImageProcessor, family: str
) -> Iterator[str]:
    if not any(path.suffix == ".safetensors" for path in weight_files(source)):
        yield "weights only in pickled form: `trocr-mlx convert` makes safetensors of them"
    size = processor.center_crop or (processor.height, processor.width)
    if size != config.encoder.image_size:
        yield f"images are made {size}, but the encoder takes {config.encoder.image_size}"
    height, width = config.encoder.image_size
    if height != width:
        yield f"images of {height} x {width}: published checkpoints take squares"
    if family == "none":
        yield "no published decoder is like it: `trocr-mlx convert --verify` compares it with torch"
