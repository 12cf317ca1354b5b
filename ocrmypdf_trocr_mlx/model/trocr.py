"""TrOCR: an image encoder and a text decoder that reads its states."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from . import cpu_decoder, cpu_layers
from .config import TrOCRConfig
from .decoder import Decoder, KeysValues
from .decoding import Decoding, Steps, TextsByStep
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
        self._steps = Steps(self.decoder)
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

    def decoding(self, memory: list[KeysValues], weights_of: int | None) -> TextsByStep:
        """Texts to be made for images, a token a step; the layer's attention is kept."""
        if cpu_layers.serves(self.decoder):
            return cpu_decoder.CpuDecoding(self.decoder, memory, weights_of)
        return Decoding(self._steps, memory, weights_of)

    @property
    def has_drafts(self) -> bool:
        return self.config.draft_frames > 0

    def __call__(self, pixels: mx.array, tokens: mx.array) -> mx.array:
        """Logits (B, L, V) of tokens (B, L) given at once."""
        memory = self.memory(self.encode(pixels))
        return self.decoder(tokens, memory)[0]

    @property
    def dtype(self) -> mx.Dtype:
        """The type computed in; also right where the linear layers are quantized."""
        return self.encoder.layernorm.weight.dtype
