"""The activation functions that config.json may name."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from . import cpu
from .config import ConfigError


def gelu(x: mx.array) -> mx.array:
    """The exact gelu; x may be overwritten."""
    return cpu.gelu(x) if cpu.serves(x) else nn.gelu(x)


_ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "gelu": gelu,
    "relu": nn.relu,
    "gelu_new": nn.gelu_approx,
}


def activation(name: str) -> Callable[[mx.array], mx.array]:
    """The function that config.json calls `name`."""
    try:
        return _ACTIVATIONS[name]
    except KeyError:
        raise ConfigError(
            f"activation '{name}' is not supported: only {', '.join(_ACTIVATIONS)} are"
        ) from None
