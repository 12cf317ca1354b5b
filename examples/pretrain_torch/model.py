"""TrOCR line models in PyTorch, parameters named as in their checkpoints, with a draft head.

To learn only: the package reads with MLX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocrmypdf_trocr_mlx.model.config import DecoderConfig, EncoderConfig, TrOCRConfig
from ocrmypdf_trocr_mlx.model.decoder import POSITION_OFFSET
from ocrmypdf_trocr_mlx.training.errors import TrainingError

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
}
# Applied to what each layer adds, to learn only.
Drop = Callable[[Tensor], Tensor]
# A head that has learned nothing says blank: CTC begins with that anyway.
_BLANK_BIAS, _HEAD_SPREAD = 2.0, 0.02


def nothing(x: Tensor) -> Tensor:
    return x


def refuse_unsupported(config: TrOCRConfig) -> None:
    """Raise TrainingError for what `Reader` does not do."""
    problems = {
        "its encoder is not a plain ViT": config.encoder.model_type != "vit",
        "its positions are computed": not config.decoder.use_learned_position_embeddings,
        "its output layer is not the token table": not config.decoder.tie_word_embeddings,
        "it has no draft head": not config.draft_frames,
    }
    for name in (config.encoder.hidden_act, config.decoder.activation_function):
        problems[f"its activation is {name}"] = name not in _ACTIVATIONS
    if found := [problem for problem, there in problems.items() if there]:
        raise TrainingError(f"this model cannot be trained here: {'; '.join(found)}")


class Reader(nn.Module):
    """A ViT, a TrOCR decoder, and a linear layer that drafts; the names are the checkpoint's."""

    def __init__(self, config: TrOCRConfig):
        refuse_unsupported(config)
        super().__init__()
        self.config = config
        encoder, decoder = config.encoder, config.decoder
        self.encoder = Encoder(encoder)
        if config.projects_memory:
            self.enc_to_dec_proj = nn.Linear(encoder.hidden_size, decoder.d_model)
        self.decoder = _named(model=_named(decoder=Decoder(decoder, config.memory_size)))
        outputs = config.draft_frames * decoder.vocab_size
        self.draft_head = _named(proj=nn.Linear(config.memory_size, outputs))
        self._forget_drafts()

    @property
    def blank(self) -> int:
        """The token that a frame without one names."""
        return self.config.decoder.pad_token_id

    @torch.no_grad()
    def _forget_drafts(self) -> None:
        head = self.draft_head.proj
        nn.init.normal_(head.weight, std=_HEAD_SPREAD)
        nn.init.zeros_(head.bias)
        head.bias.view(self.config.draft_frames, -1)[:, self.blank] = _BLANK_BIAS

    def encode(self, pixels: Tensor, drop: Drop = nothing) -> Tensor:
        """Normalised grey images (B, h, w) -> states (B, S, D)."""
        states = self.encoder(pixels, drop)
        return self.enc_to_dec_proj(states) if self.config.projects_memory else states

    def decode(
        self,
        tokens: Tensor,
        states: Tensor,
        weights_of: int | None = None,
        drop: Drop = nothing,
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, L) given at once -> logits (B, L, V).

        With `weights_of` also that layer's cross-attention, averaged over its heads (B, L, S).
        """
        return self.decoder.model.decoder(tokens, states, weights_of, drop)

    def frames(self, states: Tensor) -> Tensor:
        """States (B, S, D) -> logits (B, T, V) of the drafts, frames from left to right."""
        config = self.config
        patches = states[:, config.encoder.num_prefix_tokens :]
        columns = patches.unflatten(1, (config.encoder.grid[0], -1)).mean(1)
        return self.draft_head.proj(columns).unflatten(2, (config.draft_frames, -1)).flatten(1, 2)


class Encoder(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.config = config
        dims, (rows, columns) = config.hidden_size, config.grid
        projection = nn.Conv2d(config.num_channels, dims, config.patch_size, config.patch_size)
        self.embeddings = _named(patch_embeddings=_named(projection=projection))
        self.embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.embeddings.position_embeddings = nn.Parameter(torch.zeros(1, 1 + rows * columns, dims))
        layers = (EncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.encoder = _named(layer=nn.ModuleList(layers))
        self.layernorm = nn.LayerNorm(dims, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor, drop: Drop) -> Tensor:
        """(B, h, w) -> (B, 1 + rows * columns, D)."""
        embeddings, (height, width) = self.embeddings, self.config.patch_size
        patches = pixels.unflatten(2, (-1, width)).unflatten(1, (-1, height))  # (B, r, h, c, w)
        patches = patches.transpose(2, 3).flatten(3).flatten(1, 2)
        # The three channels of a grey image are one: their weights add up.
        projection = embeddings.patch_embeddings.projection
        x = F.linear(patches, projection.weight.sum(1).flatten(1), projection.bias)
        table = embeddings.position_embeddings
        # A narrower image takes the first columns of every row of the table.
        rows, columns = self.config.grid
        used = pixels.shape[2] // width
        x = x + table[:, 1:].unflatten(1, (rows, columns))[:, :, :used].flatten(1, 2)
        first = (embeddings.cls_token + table[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, x], 1)
        for layer in self.encoder.layer:
            x = layer(x, drop)
        return self.layernorm(x)


class EncoderLayer(nn.Module):
    def __init__(self, config: EncoderConfig):
        super().__init__()
        dims, hidden = config.hidden_size, config.intermediate_size
        self.heads = config.num_attention_heads
        self.activation = _ACTIVATIONS[config.hidden_act]
        parts = {k: nn.Linear(dims, dims, config.qkv_bias) for k in ("query", "key", "value")}
        self.attention = _named(attention=_named(**parts), output=_dense(dims, dims))
        self.intermediate, self.output = _dense(dims, hidden), _dense(hidden, dims)
        self.layernorm_before = nn.LayerNorm(dims, eps=config.layer_norm_eps)
        self.layernorm_after = nn.LayerNorm(dims, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, drop: Drop) -> Tensor:
        y, own = self.layernorm_before(x), self.attention.attention
        q, k, v = (_split(part(y), self.heads) for part in (own.query, own.key, own.value))
        y = F.scaled_dot_product_attention(q, k, v)
        x = x + drop(self.attention.output.dense(_merge(y)))
        y = self.activation(self.intermediate.dense(self.layernorm_after(x)))
        return x + drop(self.output.dense(y))


class Decoder(nn.Module):
    def __init__(self, config: DecoderConfig, memory_size: int):
        super().__init__()
        dims, positions = config.d_model, config.max_position_embeddings + POSITION_OFFSET
        self.scale = dims**0.5 if config.scale_embedding else 1.0
        self.embed_tokens = nn.Embedding(config.vocab_size, dims)
        self.embed_positions = nn.Embedding(positions, dims)
        self.layernorm_embedding = nn.LayerNorm(dims) if config.layernorm_embedding else None
        layers = (DecoderLayer(config, memory_size) for _ in range(config.decoder_layers))
        self.layers = nn.ModuleList(layers)

    def forward(
        self, tokens: Tensor, states: Tensor, weights_of: int | None, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        places = self.embed_positions.weight[POSITION_OFFSET:][: tokens.shape[1]]
        x = self.embed_tokens(tokens) * self.scale + places
        if self.layernorm_embedding is not None:
            x = self.layernorm_embedding(x)
        kept = None
        for i, layer in enumerate(self.layers):
            x, weights = layer(x, states, i == weights_of, drop)
            kept = weights if i == weights_of else kept
        return F.linear(x, self.embed_tokens.weight), kept


class DecoderLayer(nn.Module):
    def __init__(self, config: DecoderConfig, memory_size: int):
        super().__init__()
        dims, heads = config.d_model, config.decoder_attention_heads
        self.activation = _ACTIVATIONS[config.activation_function]
        self.self_attn = Attention(dims, dims, heads)
        self.self_attn_layer_norm = nn.LayerNorm(dims)
        self.encoder_attn = Attention(dims, memory_size, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(dims)
        self.fc1 = nn.Linear(dims, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, dims)
        self.final_layer_norm = nn.LayerNorm(dims)

    def forward(
        self, x: Tensor, states: Tensor, want: bool, drop: Drop
    ) -> tuple[Tensor, Tensor | None]:
        x = self.self_attn_layer_norm(x + drop(self.self_attn(x, x, causal=True)))
        y = self.encoder_attn(x, states)
        weights = self.encoder_attn.weights(x, states) if want else None
        x = self.encoder_attn_layer_norm(x + drop(y))
        y = self.fc2(self.activation(self.fc1(x)))
        return self.final_layer_norm(x + drop(y)), weights


class Attention(nn.Module):
    def __init__(self, dims: int, memory_size: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj, self.out_proj = nn.Linear(dims, dims), nn.Linear(dims, dims)
        self.k_proj, self.v_proj = nn.Linear(memory_size, dims), nn.Linear(memory_size, dims)

    def forward(self, x: Tensor, memory: Tensor, causal: bool = False) -> Tensor:
        """x (B, L, D) over memory (B, S, M) -> (B, L, D)."""
        q, k = _split(self.q_proj(x), self.heads), _split(self.k_proj(memory), self.heads)
        v = _split(self.v_proj(memory), self.heads)
        return self.out_proj(_merge(F.scaled_dot_product_attention(q, k, v, is_causal=causal)))

    def weights(self, x: Tensor, memory: Tensor) -> Tensor:
        """How x looks at memory, averaged over the heads: (B, L, S)."""
        q, k = _split(self.q_proj(x), self.heads), _split(self.k_proj(memory), self.heads)
        return (q.float() @ k.float().mT * q.shape[-1] ** -0.5).softmax(-1).mean(1)


def _named(**modules: nn.Module) -> Any:
    """A module that only gives those in it their names, which no type declares."""
    holder = nn.Module()
    for name, module in modules.items():
        holder.add_module(name, module)
    return holder


def _dense(inputs: int, outputs: int) -> Any:
    return _named(dense=nn.Linear(inputs, outputs))


def _split(x: Tensor, heads: int) -> Tensor:
    """(B, L, D) -> (B, heads, L, D / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)
