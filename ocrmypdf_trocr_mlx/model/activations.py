"""The activation functions that config.json may name."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from . import cpu
from .config import ConfigError

_ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "gelu": nn.gelu,
    "relu": nn.relu,
    "gelu_new": nn.gelu_approx,
}


def activation(name: str) -> Callable[[mx.array], mx.array]:
    """The function that config.json calls `name`; its argument may be overwritten."""
    if name not in _ACTIVATIONS:
        raise ConfigError(
            f"activation '{name}' is not supported: only {', '.join(_ACTIVATIONS)} are"
        )
    elsewhere = _ACTIVATIONS[name]
    return lambda x: cpu.activate(name, x) if cpu.serves(x) else elsewhere(x)
