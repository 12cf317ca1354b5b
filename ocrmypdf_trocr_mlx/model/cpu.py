"""Activations, layer norm and softmax for Linux CPUs, by numpy on MLX's own buffers.

MLX computes erf and exp there one number at a time, and they cost more than all matrix
products together; numpy uses the vector units and is many times faster.
The functions overwrite their argument where they say so: it must be nobody else's.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.backend import available_cpus

# Numbers worked on at a time: with their scratch space they stay in a core's cache.
_BLOCK = 16384
# From here on it pays to hand parts to other threads (numpy lets go of the interpreter).
_PARALLEL = 4 * _BLOCK

# gelu is taken from straight lines between so many points of |x| < 5.6: the error is below
# 2e-7 plus rounding.  Beyond, gelu is 0 and x.
_GELU_LIMIT = 5.6
_GELU_POINTS = 8192
# exp neither overflows nor vanishes within: no need to subtract a row's maximum first.
_SAFE_EXPONENT = 80.0


_left_to_mlx = False


@contextlib.contextmanager
def left_to_mlx() -> Iterator[None]:
    """Nothing is for these functions inside: they have no gradients, and cannot be compiled."""
    global _left_to_mlx
    before, _left_to_mlx = _left_to_mlx, True
    try:
        yield
    finally:
        _left_to_mlx = before


def is_left_to_mlx() -> bool:
    """Whether this is inside `left_to_mlx`."""
    return _left_to_mlx


def serves(x: mx.array) -> bool:
    """Whether x is for these functions: float32 on the CPU of a Linux machine."""
    return (
        not _left_to_mlx
        and sys.platform.startswith("linux")
        and x.dtype == mx.float32
        and mx.default_device() == mx.Device(mx.cpu)
    )


def lay_out(model: nn.Module) -> None:
    """Turn the weights of linear layers in memory, not in shape: as products read them best.

    With few rows a product takes its time for reading the weight, a third less by rows (in, out).
    """
    for _, layer in model.named_modules():
        if type(layer) is nn.Linear and serves(layer.weight):
            layer.weight = mx.contiguous(layer.weight.T).T
            mx.eval(layer.weight)


def activate(name: str, x: mx.array) -> mx.array:
    """The activation that config.json calls `name`, in place."""
    by_parts(ACTIVATIONS[name], np.array(x, copy=False).reshape(-1))
    return x


def exponentials(scores: mx.array) -> tuple[mx.array, mx.array]:
    """Softmax over the last axis, undivided: exp in place, and its sums (..., 1)."""
    values = np.array(scores, copy=False)
    rows = values.reshape(-1, values.shape[-1])
    sums = np.empty((len(rows), 1), np.float32)
    by_parts(exponentials_of, rows, sums)
    return scores, mx.array(sums.reshape(*values.shape[:-1], 1))


def best_tokens(logits: mx.array) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest token of each row (N, V) and its log-probability, (N,) each."""
    return best_of(np.array(logits, copy=False))


def best_of(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `best_tokens`."""
    best = logits.argmax(axis=1)
    highest = logits.max(axis=1, keepdims=True)
    return best, -np.log(np.exp(logits - highest).sum(axis=1))


def exponentials_of(rows: np.ndarray, sums: np.ndarray | None = None) -> np.ndarray:
    """exp in place, scaled so that it cannot overflow; returns the sums of rows (..., 1)."""
    if sums is None:
        sums = np.empty((*rows.shape[:-1], 1), np.float32)
    for block in _blocks(rows):
        x = rows[block]
        if not -_SAFE_EXPONENT < x.min() <= x.max() < _SAFE_EXPONENT:
            x -= x.max(axis=-1, keepdims=True)
        np.exp(x, out=x)
        np.sum(x, axis=-1, keepdims=True, out=sums[block])
    return sums


def by_parts(function: Callable[..., object], *arrays: np.ndarray) -> None:
    """Call the function on runs of the arrays' rows, in several threads if there are many."""
    first = arrays[0]
    parts = backend.threads() if first.size >= _PARALLEL else 1
    if parts == 1:
        function(*arrays)
        return
    bounds = [len(first) * i // parts for i in range(parts + 1)]
    slices = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    for job in [_pool().submit(function, *(array[s] for array in arrays)) for s in slices]:
        job.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(available_cpus(), thread_name_prefix="trocr-cpu")


def _blocks(rows: np.ndarray) -> Iterator[slice]:
    step = max(1, _BLOCK * len(rows) // max(1, rows.size))
    return (slice(i, i + step) for i in range(0, len(rows), step))


@functools.cache
def _gelu_lines() -> tuple[np.ndarray, np.ndarray]:
    """Slopes and intercepts of the lines, with those of 0 and of x at the ends."""
    x = np.linspace(-_GELU_LIMIT, _GELU_LIMIT, _GELU_POINTS)
    y = np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    slopes = np.diff(y) / np.diff(x)
    intercepts = y[:-1] - slopes * x[:-1]
    return (
        np.concatenate(([0], slopes, [1])).astype(np.float32),
        np.concatenate(([0], intercepts, [0])).astype(np.float32),
    )


def _gelu(values: np.ndarray) -> np.ndarray:
    slopes, intercepts = _gelu_lines()
    per_unit = np.float32((_GELU_POINTS - 1) / (2 * _GELU_LIMIT))
    first = np.float32((_GELU_POINTS - 1) / 2 + 1)
    flat = values.reshape(-1)
    scratch = np.empty(min(_BLOCK, len(flat)), np.float32)
    index = np.empty(len(scratch), np.intp)
    for block in _blocks(flat):
        x = flat[block]
        y, i = scratch[: len(x)], index[: len(x)]
        np.multiply(x, per_unit, out=y)
        y += first
        np.clip(y, 0, _GELU_POINTS, out=y)
        np.copyto(i, y, casting="unsafe")
        x *= np.take(slopes, i, mode="clip", out=y)
        x += np.take(intercepts, i, mode="clip", out=y)
    return values


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0, out=values)


def _gelu_new(values: np.ndarray) -> np.ndarray:
    """The approximation by tanh."""
    near = np.clip(values, -10, 10)  # tanh has long come to its end, and no cube overflows
    inner = np.float32(math.sqrt(2 / math.pi)) * (near + np.float32(0.044715) * near**3)
    values *= 0.5 * (1 + np.tanh(inner))
    return values


# By their names in config.json; each overwrites its argument and returns it.
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": _gelu,
    "relu": _relu,
    "gelu_new": _gelu_new,
}


def normalize(
    weight: np.ndarray, bias: np.ndarray, eps: float, rows: np.ndarray, out: np.ndarray
) -> None:
    """Layer norm of rows (N, D); `out` may be `rows`.

    Means are products with a column: several times faster than numpy's sums of rows.
    """
    share = np.full((rows.shape[1], 1), 1 / rows.shape[1], np.float32)
    for block in _blocks(rows):
        x = rows[block]
        y = np.subtract(x, x @ share, out=out[block])
        deviation = (y * y) @ share
        deviation += np.float32(eps)
        y /= np.sqrt(deviation, out=deviation)
        y *= weight
        y += bias
