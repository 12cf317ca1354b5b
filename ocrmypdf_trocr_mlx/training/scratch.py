"""A checkpoint of a chosen size with random weights, in the layout that published ones have."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from .errors import TrainingError

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
_BOS, _PAD, _EOS = 0, 1, 2
# RoBERTa's way, which TrOCR kept: decoding starts with the token that ends it.
_START = _EOS
# Standard deviations: of tables, and of matrices times the root of their inputs.
_TABLE, _MATRIX = 0.02, 0.5
# Positions of columns begin as waves of these lengths, in columns, this strong.
_WAVES, _WAVE = (3.0, 300.0), 0.7
# Encoder heads begin by looking so many columns to the right, in turns, in the last layer and in
# those before it; and how strongly.
_LAST_LOOKS, _LOOKS, _LOOK = (-2, 2, 0), (-1, 1, 0), 1.2
# Rows that fairseq keeps before the decoder's positions.
_POSITION_OFFSET = 2


@dataclass(frozen=True)
class Size:
    """Of a line recogniser: its images (height, width), its patches, layers and widths.

    Decoder and encoder are equally wide.  `positions`: the longest text and its start and end.
    `activation`: that of all layers; relu costs a processor next to nothing.
    """

    height: int = 48
    width: int = 768
    patch_height: int = 16
    patch_width: int = 8
    dims: int = 320
    heads: int = 5
    encoder_layers: int = 10
    decoder_layers: int = 4
    positions: int = 160
    activation: str = "gelu"

    def __post_init__(self) -> None:
        """Raise TrainingError where the numbers do not go together."""
        if self.height % self.patch_height or self.width % self.patch_width:
            raise TrainingError(
                f"patches of {self.patch_height}x{self.patch_width} do not fill images of "
                f"{self.height}x{self.width}: give a patch that divides the image"
            )
        if self.dims % (2 * self.heads):
            raise TrainingError(
                f"dims {self.dims} for {self.heads} heads: give an even number for each head"
            )

    def config(self, characters: str) -> dict[str, Any]:
        """config.json of a model of this size, with a token for each character."""
        ids = {
            "bos_token_id": _BOS,
            "pad_token_id": _PAD,
            "eos_token_id": _EOS,
            "decoder_start_token_id": _START,
        }
        encoder = {
            "model_type": "vit",
            "hidden_size": self.dims,
            "num_hidden_layers": self.encoder_layers,
            "num_attention_heads": self.heads,
            "intermediate_size": 4 * self.dims,
            "hidden_act": self.activation,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "layer_norm_eps": 1e-12,
            "image_size": [self.height, self.width],
            "patch_size": [self.patch_height, self.patch_width],
            "num_channels": 3,
            "qkv_bias": True,
        }
        decoder = {
            "model_type": "trocr",
            "vocab_size": len(characters) + len(_SPECIAL),
            "d_model": self.dims,
            "decoder_layers": self.decoder_layers,
            "decoder_attention_heads": self.heads,
            "decoder_ffn_dim": 4 * self.dims,
            "activation_function": self.activation,
            "max_position_embeddings": self.positions,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "scale_embedding": False,
            "use_learned_position_embeddings": True,
            "layernorm_embedding": True,
            "cross_attention_hidden_size": self.dims,
            "is_decoder": True,
            "add_cross_attention": True,
            "tie_word_embeddings": True,
            **ids,
        }
        return {
            "model_type": "vision-encoder-decoder",
            "architectures": ["VisionEncoderDecoderModel"],
            "is_encoder_decoder": True,
            "encoder": encoder,
            "decoder": decoder,
            "tie_word_embeddings": True,
            **ids,
        }

    def shapes(self, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of all weights."""
        dims, hidden = self.dims, 4 * self.dims
        patches = (self.height // self.patch_height) * (self.width // self.patch_width)
        root = "encoder.embeddings."
        yield root + "cls_token", (1, 1, dims)
        yield root + "position_embeddings", (1, patches + 1, dims)
        kernel = (dims, 3, self.patch_height, self.patch_width)
        yield from _layer(root + "patch_embeddings.projection", *kernel)
        for i in range(self.encoder_layers):
            layer = f"encoder.encoder.layer.{i}."
            for part in ("query", "key", "value"):
                yield from _layer(f"{layer}attention.attention.{part}", dims, dims)
            yield from _layer(layer + "attention.output.dense", dims, dims)
            yield from _layer(layer + "intermediate.dense", hidden, dims)
            yield from _layer(layer + "output.dense", dims, hidden)
            yield from _layer(layer + "layernorm_before", dims)
            yield from _layer(layer + "layernorm_after", dims)
        yield from _layer("encoder.layernorm", dims)
        yield from self._decoder_shapes("decoder.model.decoder.", vocabulary)

    def _decoder_shapes(self, root: str, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        dims, hidden = self.dims, 4 * self.dims
        yield root + "embed_tokens.weight", (vocabulary, dims)
        yield root + "embed_positions.weight", (self.positions + _POSITION_OFFSET, dims)
        yield from _layer(root + "layernorm_embedding", dims)
        for i in range(self.decoder_layers):
            layer = f"{root}layers.{i}."
            for attention in ("self_attn", "encoder_attn"):
                for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    yield from _layer(f"{layer}{attention}.{part}", dims, dims)
                yield from _layer(f"{layer}{attention}_layer_norm", dims)
            yield from _layer(layer + "fc1", hidden, dims)
            yield from _layer(layer + "fc2", dims, hidden)
            yield from _layer(layer + "final_layer_norm", dims)


def _layer(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def write_scratch(folder: Path, size: Size, characters: str, seed: int) -> None:
    """Write the checkpoint that a training from nothing begins with."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = len(characters) + len(_SPECIAL)
    key = mx.random.key(seed)
    weights = {}
    for name, shape in size.shapes(vocabulary):
        key, own = mx.random.split(key)
        weights[name] = _initial(name, shape, own)
    _teach_places(weights, size)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "pt"})
    _write_tokenizer(folder, characters, size.positions)
    image = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": size.height, "width": size.width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "pad_to_aspect": True,
    }
    generation = {
        "bos_token_id": _BOS,
        "decoder_start_token_id": _START,
        "eos_token_id": _EOS,
        "pad_token_id": _PAD,
        "max_length": size.positions,
        "num_beams": 1,
    }
    _write_json(folder / "preprocessor_config.json", image)
    _write_json(folder / "generation_config.json", generation)
    _write_json(folder / "config.json", size.config(characters))


def _initial(name: str, shape: tuple[int, ...], key: mx.array) -> mx.array:
    if name.endswith("bias") or name.endswith("cls_token"):
        return mx.zeros(shape)
    if "norm" in name:
        return mx.ones(shape)
    is_table = "embed_" in name or "position_embeddings" in name
    spread = _TABLE if is_table else _MATRIX / math.sqrt(math.prod(shape[1:]))
    return spread * mx.random.normal(shape, key=key)


def _teach_places(weights: dict[str, mx.array], size: Size) -> None:
    """Positions as waves, and encoder heads that look at the columns beside their own.

    A wave's cosine and sine, turned by an angle, are those of another column: an identity for
    queries and a turn for keys make a head look there.  Learning this takes long.
    """
    columns, half = size.width // size.patch_width, size.dims // 2
    lengths = np.geomspace(*_WAVES, half).reshape(-1, size.heads).T.reshape(-1)
    rates = 2 * np.pi / lengths  # each head has waves of all lengths
    angles = np.arange(columns)[:, None] * rates
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(columns, size.dims)
    rows = size.height // size.patch_height
    table = np.concatenate([np.zeros((1, size.dims)), np.tile(_WAVE * waves, (rows, 1))])
    weights["encoder.embeddings.position_embeddings"] += mx.array(table[None], mx.float32)
    for i in range(size.encoder_layers):
        looks = _LAST_LOOKS if i == size.encoder_layers - 1 else _LOOKS
        offsets = np.array([looks[h % len(looks)] for h in range(size.heads)])
        turns = rates * offsets.repeat(half // size.heads)
        even = np.arange(half) * 2
        keys = np.zeros((size.dims, size.dims))
        keys[even, even] = keys[even + 1, even + 1] = np.cos(turns)
        keys[even, even + 1], keys[even + 1, even] = np.sin(turns), -np.sin(turns)
        layer = f"encoder.encoder.layer.{i}.attention.attention."
        weights[layer + "query.weight"] += _LOOK * mx.eye(size.dims)
        weights[layer + "key.weight"] += _LOOK * mx.array(keys, mx.float32)


def _write_tokenizer(folder: Path, characters: str, positions: int) -> None:
    """A token a character, readable by transformers."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing

    vocabulary = {token: i for i, token in enumerate([*_SPECIAL, *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in _SPECIAL])
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", _EOS)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": positions,
        "clean_up_tokenization_spaces": False,
    }
    _write_json(folder / "tokenizer_config.json", config)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")
