"""Architecture of a TrOCR checkpoint, read from its config.json."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T", bound="BaseConfig")


class ConfigError(ValueError):
    """A config.json that this package cannot run, with the reason in one line."""


@dataclass(frozen=True)
class BaseConfig:
    @classmethod
    def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
        """Build from a json object: unknown keys are ignored, absent ones take the default."""
        known = inspect.signature(cls).parameters
        return cls(**{k: v for k, v in values.items() if k in known and v is not None})


def _pair(value: Any) -> tuple[int, int]:
    """transformers writes an image or patch size as one number or as (height, width)."""
    if isinstance(value, int):
        return value, value
    height, width = value
    return int(height), int(width)


@dataclass(frozen=True)
class EncoderConfig(BaseConfig):
    """ViT or DeiT; the defaults are transformers' own."""

    model_type: str = "vit"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    image_size: tuple[int, int] = (224, 224)
    patch_size: tuple[int, int] = (16, 16)
    num_channels: int = 3
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        if self.model_type not in ("vit", "deit"):
            raise ConfigError(
                f"encoder '{self.model_type}' is not supported: only vit and deit are TrOCR's"
            )
        object.__setattr__(self, "image_size", _pair(self.image_size))
        object.__setattr__(self, "patch_size", _pair(self.patch_size))

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches in a full-size image."""
        (height, width), (patch_height, patch_width) = self.image_size, self.patch_size
        return height // patch_height, width // patch_width

    def num_states(self, height: int, width: int) -> int:
        """Positions of an image of this size, those before the patches included."""
        rows, columns = height // self.patch_size[0], width // self.patch_size[1]
        return self.num_prefix_tokens + rows * columns

    @property
    def num_prefix_tokens(self) -> int:
        """Positions before the patches: the class token, and DeiT's distillation token."""
        return 2 if self.model_type == "deit" else 1


@dataclass(frozen=True)
class DecoderConfig(BaseConfig):
    """The three published families differ only in these keys; the defaults are transformers'."""

    model_type: str = "trocr"
    vocab_size: int = 50265
    d_model: int = 1024
    decoder_layers: int = 12
    decoder_attention_heads: int = 16
    decoder_ffn_dim: int = 4096
    activation_function: str = "gelu"
    max_position_embeddings: int = 512
    scale_embedding: bool = False
    use_learned_position_embeddings: bool = True
    layernorm_embedding: bool = True
    cross_attention_hidden_size: int | None = None
    tie_word_embeddings: bool = True
    pad_token_id: int = 1

    def __post_init__(self) -> None:
        if self.model_type != "trocr":
            raise ConfigError(
                f"decoder '{self.model_type}' is not supported: only checkpoints with a trocr "
                "decoder can be read"
            )


@dataclass(frozen=True)
class TrOCRConfig:
    """`draft_frames`: tokens that the draft head names for a column of patches; 0 without one."""

    encoder: EncoderConfig
    decoder: DecoderConfig
    draft_frames: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrOCRConfig:
        """Raises ConfigError where the json is not a vision encoder with a TrOCR decoder."""
        for part in ("encoder", "decoder"):
            if not isinstance(values.get(part), Mapping):
                kind = values.get("model_type", "unknown")
                raise ConfigError(
                    f"config.json describes a '{kind}' model: not TrOCR, it has no '{part}'"
                )
        return cls(
            EncoderConfig.from_dict({"model_type": "", **values["encoder"]}),
            DecoderConfig.from_dict({"model_type": "", **values["decoder"]}),
            int(values.get("draft_frames") or 0),
        )

    @property
    def memory_size(self) -> int:
        """Width of the encoder states that the decoder's cross-attention reads."""
        if self.projects_memory:
            return self.decoder.d_model
        return self.decoder.cross_attention_hidden_size or self.decoder.d_model

    @property
    def projects_memory(self) -> bool:
        """Whether a linear layer stands between encoder and decoder (enc_to_dec_proj)."""
        return (
            self.encoder.hidden_size != self.decoder.d_model
            and self.decoder.cross_attention_hidden_size is None
        )
