"""Where MLX computes: a fast BLAS for the CPU of Linux, the device, the buffer cache.

MLX's Linux CPU wheel links the reference BLAS, a hundred times slower than the processor.
The dynamic linker takes the first definition of a symbol, so an OpenBLAS loaded globally
before MLX serves MLX's matrix products.  OpenCV's wheel brings one.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "gpu")
_SYSTEM_BLAS = ("libopenblasp.so.0", "libopenblas.so.0")
# Matrices of a line recogniser are small: beyond this, threads only wait for each other.
_MAX_BLAS_THREADS = 16
# The reference BLAS does 2 to 6 GF/s, any tuned one more than 20 on a single core.
SLOW_GFLOPS = 10.0
# MLX keeps freed buffers up to a limit; its defaults are all of a GPU's memory, or 32 MiB.
_CACHE_BYTES = 1 << 30

_lock = threading.Lock()


def load_blas() -> bool:
    """Make a fast BLAS the one that MLX will use; call it before the first `import mlx.core`.

    Does nothing but on Linux, and nothing the second time.  Returns whether MLX is known to
    have a fast BLAS.
    """
    with _lock:
        return _load_blas()


@functools.cache
def _load_blas() -> bool:
    if not sys.platform.startswith("linux"):
        return True  # macOS: MLX uses Accelerate
    if "mlx.core" in sys.modules:
        log.debug("MLX was imported before a BLAS could be chosen for it")
        return False
    if hasattr(ctypes.CDLL(None), "cblas_sgemm"):
        log.debug("A BLAS is loaded already, MLX will use it")
        return True
    for name in _blas_candidates():
        try:
            library = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError as e:
            log.debug("BLAS %s: %s", name, e)
            continue
        if hasattr(library, "cblas_sgemm"):
            _limit_threads(library)
            log.debug("MLX uses the BLAS %s", name)
            return True
    return False


def _blas_candidates() -> Iterator[str]:
    """OpenBLAS of the OpenCV wheel, found without importing cv2, then the system's."""
    spec = importlib.util.find_spec("cv2")
    if spec is not None and spec.origin is not None:
        site_packages = Path(spec.origin).parent.parent
        yield from map(str, sorted(site_packages.glob("opencv*.libs/libopenblas*.so*")))
    yield from _SYSTEM_BLAS


def _limit_threads(library: ctypes.CDLL) -> None:
    """Give BLAS the processors this process may use, unless the user chose a number."""
    chosen = {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"}
    if chosen.isdisjoint(os.environ) and hasattr(library, "openblas_set_num_threads"):
        library.openblas_set_num_threads(min(available_cpus(), _MAX_BLAS_THREADS))


def available_cpus() -> int:
    """Processors this process may use: its affinity, and a container's quota on Linux."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    count = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, round(int(quota) / int(period)))
    except (OSError, ValueError):
        pass  # no such file, or "max": no quota
    return max(1, count)


def prepare(device: str = "auto") -> None:
    """Set MLX's default device: "cpu", "gpu", or "auto" for the GPU where there is one.

    Call it in the thread that computes.  Raises ValueError, one line, for an unknown device
    and for "gpu" where MLX has none.
    """
    if device not in DEVICES:
        raise ValueError(f"Unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    fast = load_blas()
    import mlx.core as mx

    has_gpu = mx.is_available(mx.gpu)
    if device == "gpu" and not has_gpu:
        raise ValueError(
            "MLX finds no GPU: use device 'cpu', or install the extra 'cuda' for an NVIDIA GPU"
        )
    gpu = has_gpu and device != "cpu"
    mx.set_default_device(mx.gpu if gpu else mx.cpu)
    mx.set_cache_limit(_CACHE_BYTES)
    log.debug("MLX computes on the %s", "GPU" if gpu else "CPU")
    if not (gpu or fast):
        _warn_if_slow()


@functools.cache
def _warn_if_slow() -> None:
    """MLX may have been built with a fast BLAS: measure before complaining."""
    speed = matmul_gflops()
    log.debug("Matrix products run at %.0f GF/s", speed)
    if speed < SLOW_GFLOPS:
        log.warning(
            "MLX found no fast BLAS, recognition will be many times slower than it could be. "
            "Cure: install OpenBLAS (apt install libopenblas0); a program that imports mlx itself "
            "must first call ocrmypdf_trocr_mlx.backend.load_blas()."
        )


def matmul_gflops(n: int = 384) -> float:
    """Measured speed of a float32 matrix product of n x n on the default device."""
    import mlx.core as mx

    a = mx.ones((n, n))
    mx.eval(a @ a)
    start = time.perf_counter()
    mx.eval(a @ a)
    return 2e-9 * n**3 / (time.perf_counter() - start)
