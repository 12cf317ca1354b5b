"""Layer normalisation, on Linux CPUs by numpy."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from . import cpu


class LayerNorm(nn.LayerNorm):
    def __call__(self, x: mx.array) -> mx.array:
        if cpu.serves(x):
            return cpu.layer_norm(x, self.weight, self.bias, self.eps)
        return super().__call__(x)
