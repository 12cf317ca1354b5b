"""Tensors of safetensors files, read, cast and handed to an NVIDIA GPU by several threads.

MLX reads a tensor into memory of the host's, sends it, and lets the next wait until it is sent: the
pages that the host has to find for it, the reading and the sending take about as long each.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlx.core as mx

from .weights import SCALE, Weights, read_safetensors, weight_files

# More do not read faster: 1.3 GB took one thread 0.32 s, two 0.25, four 0.21, eight 0.22.
_THREADS = 4


def serves(source: Path) -> bool:
    """Whether a checkpoint is for this module: safetensors, and an NVIDIA GPU that computes."""
    on_gpu = mx.default_device().type == mx.gpu and mx.cuda.is_available()
    return on_gpu and all(path.suffix == ".safetensors" for path in weight_files(source))


def read_evaluated(source: Path, dtype: mx.Dtype) -> Weights:
    """As `weights.read_weights`, evaluated, and floats cast where no scales belong to them."""
    files = {path: read_safetensors(path) for path in weight_files(source)}
    scaled = any(key.endswith((SCALE, ".scales")) for tensors in files.values() for key in tensors)
    sizes = {(path, k): v.nbytes for path, tensors in files.items() for k, v in tensors.items()}
    weights: Weights = {}
    device = mx.default_device()

    def read(keys: list[tuple[Path, str]]) -> Weights:
        mx.set_default_device(device)
        # What is left lazy belongs to the thread that made it.
        mine = {path: read_safetensors(path) for path in {path for path, _ in keys}}
        found = {}
        for path, key in keys:
            value = mine[path].pop(key)
            if not scaled and mx.issubdtype(value.dtype, mx.floating):
                value = value.astype(dtype)
            mx.eval(value)
            found[key] = value
        return found

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="trocr-load") as pool:
        for part in pool.map(read, _shares(sizes)):
            weights |= part
    return weights


def _shares(sizes: dict[tuple[Path, str], int]) -> Sequence[list[tuple[Path, str]]]:
    """The keys by threads, to each about as many bytes."""
    shares: list[list[tuple[Path, str]]] = [[] for _ in range(_THREADS)]
    filled = [0] * _THREADS
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        least = filled.index(min(filled))
        shares[least].append(key)
        filled[least] += sizes[key]
    return [share for share in shares if share]
