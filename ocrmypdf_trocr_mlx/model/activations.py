"""gelu and softmax, which on a Linux CPU need their own way to be fast."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import mlx.nn as nn

from .config import ConfigError


def gelu(x: mx.array) -> mx.array:
    return nn.gelu(x)


def softmax(scores: mx.array) -> mx.array:
    return mx.softmax(scores, axis=-1, precise=True)


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
