"""pytorch_model.bin without torch, and without running what a pickle might ask for."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from .errors import CheckpointError

# Storage class -> (numpy type of its bytes, MLX type); numpy has no bfloat16.
_STORAGES: dict[str, tuple[Any, mx.Dtype]] = {
    "FloatStorage": (np.float32, mx.float32),
    "HalfStorage": (np.float16, mx.float16),
    "BFloat16Storage": (np.uint16, mx.bfloat16),
    "DoubleStorage": (np.float64, mx.float32),
    "LongStorage": (np.int64, mx.int64),
    "IntStorage": (np.int32, mx.int32),
    "ByteStorage": (np.uint8, mx.uint8),
    "CharStorage": (np.int8, mx.int8),
    "BoolStorage": (np.bool_, mx.bool_),
}


class _Storage:
    """Stands for a torch storage class inside the pickle."""

    def __init__(self, name: str):
        self.name = name


def _rebuild_tensor(
    storage: tuple[np.ndarray, mx.Dtype], offset: int, size: Any, stride: Any, *_: Any
) -> mx.array:
    """torch._utils._rebuild_tensor_v2: a strided view of a storage, copied."""
    data, dtype = storage
    if offset < 0 or any(n < 0 for n in size) or any(n < 0 for n in stride):
        raise pickle.UnpicklingError("a tensor lies outside its storage")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= len(data):
        raise pickle.UnpicklingError("a tensor lies outside its storage")
    strides = [s * data.itemsize for s in stride]
    view = np.lib.stride_tricks.as_strided(data[offset:], size, strides, writeable=False)
    array = mx.array(np.ascontiguousarray(view))
    return array.view(mx.bfloat16) if dtype == mx.bfloat16 else array.astype(dtype)


def _rebuild_parameter(data: mx.array, *_: Any) -> mx.array:
    return data


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _Storage(name) for name in _STORAGES},
}


class _Unpickler(pickle.Unpickler):
    """Knows tensors and dictionaries; whatever else a pickle names is refused."""

    def __init__(self, archive: zipfile.ZipFile, root: str):
        super().__init__(archive.open(f"{root}data.pkl"))
        self._archive = archive
        self._root = root
        self._storages: dict[str, tuple[np.ndarray, mx.Dtype]] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> tuple[np.ndarray, mx.Dtype]:
        kind, storage, key, _location, _count = pid
        if kind != "storage" or not isinstance(storage, _Storage):
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        if key not in self._storages:
            numpy_type, dtype = _STORAGES[storage.name]
            data = self._archive.read(f"{self._root}data/{key}")
            self._storages[key] = np.frombuffer(data, numpy_type), dtype
        return self._storages[key]


def read_torch_file(path: Path) -> dict[str, mx.array]:
    """Tensors of a state dict saved by torch; raises CheckpointError for anything else in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith("data.pkl")]
            if len(names) != 1:
                raise CheckpointError(f"{path}: not a file that torch saved")
            state = _Unpickler(archive, names[0].removesuffix("data.pkl")).load()
    except zipfile.BadZipFile:
        raise CheckpointError(
            f"{path}: not a file that torch 1.6 or later saved: convert it to safetensors"
        ) from None
    except CheckpointError:
        raise
    except Exception as e:  # a forged pickle can make the unpickler raise anything
        raise CheckpointError(f"{path}: refused, not a plain file of weights: {e}") from e
    if not isinstance(state, dict) or not all(isinstance(v, mx.array) for v in state.values()):
        raise CheckpointError(f"{path}: refused, not a plain file of weights")
    return dict(state)
