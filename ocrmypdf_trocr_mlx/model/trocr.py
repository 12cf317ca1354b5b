"""TrOCR: an image encoder and a text decoder that reads its states."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from . import cpu_checking, cpu_decoder, cpu_layers
from .checking import Checker, Checking
from .config import TrOCRConfig
from .decoder import Decoder, Decoding, KeysValues, KVCache
from .draft import DraftHead
from .vit import VisionEncoder


class TrOCR(nn.Module):
    def __init__(self, config: TrOCRConfig):
        super().__init__()
        self.config = config
        self.encoder = VisionEncoder(config.encoder)
        if config.projects_memory:
            self.enc_to_dec_proj = nn.Linear(config.encoder.hidden_size, config.decoder.d_model)
        self.decoder = Decoder(config.decoder, config.memory_size)
        if config.draft_frames:
            self.draft_head = DraftHead(config)

    def encode(
        self, pixels: mx.array, after_layer: Callable[[mx.array], None] | None = None
    ) -> mx.array:
        """Normalised images (B, H, W, C or 1) -> states (B, S, D); see `VisionEncoder`."""
        states = self.encoder(pixels.astype(self.dtype), after_layer)
        return self.enc_to_dec_proj(states) if self.config.projects_memory else states

    def memory(self, states: mx.array) -> list[KeysValues]:
        """What each decoder layer reads of the image: computed once, used at every step."""
        return [layer.encoder_attn.keys_values(states) for layer in self.decoder.layers]

    def decoding(
        self, memory: list[KeysValues], weights_of: int | None
    ) -> Decoding | cpu_decoder.CpuDecoding:
        """Texts to be made for images, a token a step; the layer's attention is kept."""
        serves = cpu_layers.serves(self.decoder)
        kind = cpu_decoder.CpuDecoding if serves else Decoding
        return kind(self.decoder, memory, weights_of)

    @property
    def has_drafts(self) -> bool:
        return self.config.draft_frames > 0

    def checker(self, memory: list[KeysValues], weights_of: int | None) -> Checker:
        """The decoder as one that checks drafts; the layer's attention is kept."""
        serves = cpu_layers.serves(self.decoder)
        kind = cpu_checking.CpuChecking if serves else Checking
        return kind(self.decoder, memory, weights_of)

    def new_caches(self) -> list[KVCache]:
        return [KVCache() for _ in self.decoder.layers]

    def __call__(self, pixels: mx.array, tokens: mx.array) -> mx.array:
        """Logits (B, L, V) of tokens (B, L) given at once."""
        memory = self.memory(self.encode(pixels))
        return self.decoder(tokens, memory, self.new_caches())[0]

    @property
    def dtype(self) -> mx.Dtype:
        """The type computed in; also right where the linear layers are quantized."""
        return self.encoder.layernorm.weight.dtype
