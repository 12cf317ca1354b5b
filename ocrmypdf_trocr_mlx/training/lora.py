"""Low-rank adaptation: small matrices learn beside frozen layers, and are added to them at last."""

from __future__ import annotations

import math

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten

from ocrmypdf_trocr_mlx.model.trocr import TrOCR


class LoRALinear(nn.Module):
    """y = linear(x) + scale * x A B, B zero at first."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float):
        super().__init__()
        output, inputs = linear.weight.shape
        self.linear = linear
        self.scale = scale
        bound = 1 / math.sqrt(inputs)
        self.lora_a = mx.random.uniform(-bound, bound, (inputs, rank))
        self.lora_b = mx.zeros((rank, output))

    def __call__(self, x: mx.array) -> mx.array:
        return self.linear(x) + self.scale * ((x @ self.lora_a) @ self.lora_b)

    def fused(self) -> nn.Linear:
        """A plain layer that computes the same."""
        weight = self.linear.weight
        change = self.scale * (self.lora_a @ self.lora_b).T
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in self.linear)
        layer.weight = (weight.astype(mx.float32) + change).astype(weight.dtype)
        if "bias" in self.linear:
            layer.bias = self.linear.bias
        return layer


def add_lora(model: TrOCR, rank: int, seed: int, scale: float = 2.0) -> None:
    """Freeze the model and put matrices to learn beside every linear layer of its blocks."""
    model.freeze()
    mx.random.seed(seed)
    layers = [
        (name, LoRALinear(module, rank, scale))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".layers." in name
    ]
    model.update_modules(tree_unflatten(layers))
    model.unfreeze(keys=["lora_a", "lora_b"], strict=False)


def fused_weights(model: TrOCR) -> dict[str, mx.array]:
    """The model's parameters by name, with what LoRA layers learned added to plain ones."""
    weights = dict(tree_flatten(model.parameters()))
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            for key in [k for k in weights if k.startswith(f"{name}.")]:
                del weights[key]
            plain = module.fused().parameters()
            weights |= {f"{name}.{key}": value for key, value in plain.items()}
    return weights
