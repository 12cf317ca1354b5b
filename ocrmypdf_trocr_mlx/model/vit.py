"""Vision encoders of TrOCR: ViT, and DeiT with its second prefix token."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from .activations import activation
from .attention import attend, split_heads
from .config import EncoderConfig


class PatchEmbeddings(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.projection = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size
        )

    def __call__(self, pixels: mx.array) -> mx.array:
        """(B, H, W, C or 1) -> (B, rows * columns, D); one channel stands for equal ones."""
        # The patches do not overlap, so the convolution is one matrix product.
        weight = self.projection.weight  # (D, h, w, C)
        dims, height, width, _ = weight.shape
        batch, rows, columns = pixels.shape[0], pixels.shape[1] // height, pixels.shape[2] // width
        if pixels.shape[-1] == 1:
            weight = weight.sum(axis=-1)
        x = pixels.reshape(batch, rows, height, columns, -1).swapaxes(2, 3)
        x = x.reshape(batch, rows * columns, -1)
        return mx.addmm(self.projection.bias, x, weight.reshape(dims, -1).T)


class Embeddings(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        dims = config.hidden_size
        rows, columns = config.grid
        self.cls_token = mx.zeros((1, 1, dims))
        if config.num_prefix_tokens == 2:
            self.distillation_token = mx.zeros((1, 1, dims))
        self.position_embeddings = mx.zeros((1, config.num_prefix_tokens + rows * columns, dims))
        self.patch_embeddings = PatchEmbeddings(config)

    def __call__(self, pixels: mx.array) -> mx.array:
        self._check(pixels)
        prefix = self.config.num_prefix_tokens
        rows, columns = self.config.grid
        used = pixels.shape[2] // self.config.patch_size[1]
        dims = self.position_embeddings.shape[-1]

        # A narrower image takes the first columns of every row of the position table.
        positions = self.position_embeddings[:, prefix:].reshape(1, rows, columns, dims)
        positions = positions[:, :, :used].reshape(1, rows * used, dims)
        x = self.patch_embeddings(pixels) + positions  # (B, rows * used, D)

        tokens = [self.cls_token] + ([self.distillation_token] if prefix == 2 else [])
        head = mx.concatenate(tokens, axis=1) + self.position_embeddings[:, :prefix]
        return mx.concatenate([mx.broadcast_to(head, (x.shape[0], prefix, dims)), x], axis=1)

    def _check(self, pixels: mx.array) -> None:
        (height, width), patch_width = self.config.image_size, self.config.patch_size[1]
        _, h, w, channels = pixels.shape
        if h != height or not 0 < w <= width or w % patch_width:
            raise ValueError(
                f"images of {h}x{w} do not fit the model: height must be {height}, width a "
                f"multiple of {patch_width} up to {width}"
            )
        if channels not in (1, self.config.num_channels):
            raise ValueError(
                f"images of {channels} channels: the model takes {self.config.num_channels} or 1"
            )


class Attention(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.num_heads = config.num_attention_heads
        dims = config.hidden_size
        self.qkv_proj = nn.Linear(dims, 3 * dims, bias=config.qkv_bias)
        self.o_proj = nn.Linear(dims, dims)

    def __call__(self, x: mx.array) -> mx.array:
        q, k, v = (split_heads(y, self.num_heads) for y in mx.split(self.qkv_proj(x), 3, axis=-1))
        return self.o_proj(attend(q, k, v))


class MLP(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def __call__(self, x: mx.array) -> mx.array:
        return self.fc2(self.activation(self.fc1(x)))


class EncoderLayer(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.layernorm_before = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.layernorm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = MLP(config)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.attention(self.layernorm_before(x))
        return x + self.mlp(self.layernorm_after(x))


class VisionEncoder(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layers = [EncoderLayer(config) for _ in range(config.num_hidden_layers)]
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def __call__(
        self, pixels: mx.array, after_layer: Callable[[mx.array], None] | None = None
    ) -> mx.array:
        """(B, H, W, C or 1) -> states (B, S, D), S = prefix tokens + rows * columns.

        `after_layer` is handed what each layer makes of them.
        """
        x = self.embeddings(pixels)
        for layer in self.layers:
            x = layer(x)
            if after_layer is not None:
                after_layer(x)
        return self.layernorm(x)
