"""gelu and the exponentials of softmax for Linux CPUs, by numpy on MLX's own buffers.

MLX computes erf and exp there one number at a time, and they cost more than all matrix
products together; numpy's exp and tanh use the vector units and are thirty times faster.
The functions here overwrite their argument, which must be float32 and nobody else's.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx.backend import available_cpus

# Numbers worked on at a time: with their scratch space they stay in a core's cache.
_BLOCK = 16384
# From here on it pays to hand parts to other threads (numpy lets go of the interpreter).
_PARALLEL = 4 * _BLOCK

# erf(x / sqrt(2)) = tanh(x * P(x * x)), P of degree 5 fitted by reweighted least squares to
# gelu on |x| < 5.6: the error of gelu is below 7e-7 plus rounding.
_GELU_LIMIT = np.float32(5.6)
_GELU = [
    np.float32(c)
    for c in (
        -5.5888136785142706e-08,
        2.7789915293396916e-06,
        -4.70879276690539e-05,
        -5.852610047440976e-05,
        0.036366622895002365,
        0.7978722453117371,
    )
]
_HALF = np.float32(0.5)
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


def serves(x: mx.array) -> bool:
    """Whether x is for these functions: float32 on the CPU of a Linux machine."""
    return (
        not _left_to_mlx
        and sys.platform.startswith("linux")
        and x.dtype == mx.float32
        and mx.default_device() == mx.Device(mx.cpu)
    )


def gelu(x: mx.array) -> mx.array:
    """x * Phi(x), in place."""
    _by_parts(_gelu, np.array(x, copy=False).reshape(-1), _BLOCK)
    return x


def exponentials(scores: mx.array) -> tuple[mx.array, mx.array]:
    """Softmax over the last axis, undivided: exp in place, and its sums (..., 1)."""
    values = np.array(scores, copy=False)
    rows = values.reshape(-1, values.shape[-1])
    sums = np.empty((len(rows), 1), np.float32)
    step = max(1, _BLOCK // rows.shape[1])
    _by_parts(_exponentials, rows, step, sums)
    return scores, mx.array(sums.reshape(*values.shape[:-1], 1))


def attend(q: mx.array, k: mx.array, v: mx.array) -> tuple[mx.array, mx.array]:
    """Attention of a few queries (B, heads, L, head_dim), and its weights (B, heads, L, S).

    A decoding step has a query or two for each of many small matrices: numpy takes the
    matrix-vector product for that, MLX a general one that costs three times as much.
    """
    queries, keys, values = (np.array(x, copy=False) for x in (q, k, v))
    scores = (queries * np.float32(queries.shape[-1] ** -0.5)) @ keys.swapaxes(-1, -2)
    rows = scores.reshape(-1, scores.shape[-1])
    sums = np.empty((len(rows), 1), np.float32)
    _exponentials(rows, sums, len(rows))
    rows /= sums
    return mx.array(scores @ values), mx.array(scores)


def _by_parts(
    function: Callable[..., None], array: np.ndarray, step: int, *more: np.ndarray
) -> None:
    """Call the function on runs of rows (in steps of `step`), in several threads if large."""
    parts = 1 if array.size < _PARALLEL else _threads()[0]
    bounds = [len(array) * i // parts for i in range(parts + 1)]
    slices = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    if parts == 1:
        function(array, *more, step)
        return
    jobs = [_threads()[1].submit(function, array[s], *(m[s] for m in more), step) for s in slices]
    for job in jobs:
        job.result()


@functools.cache
def _threads() -> tuple[int, ThreadPoolExecutor]:
    count = available_cpus()
    return count, ThreadPoolExecutor(count, thread_name_prefix="trocr-cpu")


def _blocks(length: int, step: int) -> Iterator[slice]:
    return (slice(i, i + step) for i in range(0, length, step))


def _gelu(values: np.ndarray, step: int) -> None:
    scratch = np.empty((3, step), np.float32)
    for block in _blocks(len(values), step):
        x = values[block]
        z, square, p = scratch[:, : len(x)]
        np.clip(x, -_GELU_LIMIT, _GELU_LIMIT, out=z)
        np.multiply(z, z, out=square)
        np.multiply(square, _GELU[0], out=p)
        for coefficient in _GELU[1:-1]:
            p += coefficient
            p *= square
        p += _GELU[-1]
        p *= z
        np.tanh(p, out=p)
        x *= _HALF
        p *= x
        x += p


def _exponentials(rows: np.ndarray, sums: np.ndarray, step: int) -> None:
    for block in _blocks(len(rows), step):
        x = rows[block]
        if not -_SAFE_EXPONENT < x.min() <= x.max() < _SAFE_EXPONENT:
            x -= x.max(axis=1, keepdims=True)
        np.exp(x, out=x)
        np.sum(x, axis=1, keepdims=True, out=sums[block])
