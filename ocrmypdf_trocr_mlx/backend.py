"""Where MLX computes: a fast BLAS for the CPU of Linux, the device, the buffer cache.

MLX's Linux CPU wheel links the reference BLAS, a hundred times slower than the processor.
The dynamic linker takes the first definition of a symbol, so an OpenBLAS loaded globally
before MLX serves MLX's matrix products.  OpenCV's wheel brings one.
"""

from __future__ import annotations

import contextlib
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
# MLX keeps freed buffers up to a limit; its defaults are all of a GPU's memory, or 32 MiB.  A
# processor gains nothing from more: with 1 GiB reading pages took 1.5 GB at most, with this 0.6.
_GPU_CACHE_BYTES = 1 << 30
_CPU_CACHE_BYTES = 64 << 20

# What builds of OpenBLAS call the function; those of numpy and scipy have names of their own.
_SET_THREADS = (
    "openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "scipy_openblas_set_num_threads64_",
)

_lock = threading.Lock()
_threads: int | None = None


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
            share_threads(1)
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


def share_threads(lanes: int) -> None:
    """Divide the processors among so many threads that compute, for MLX and for numpy.

    A product of small matrices in two threads costs a third more processor time than in one, and
    threads without work spin: lanes of one thread each are the better use of the processors.
    Does nothing but on Linux; BLAS keeps the number of threads that the user chose, if any.
    """
    global _threads
    _threads = max(1, min(available_cpus() // lanes, _MAX_BLAS_THREADS))
    chosen = {"OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"}
    if not sys.platform.startswith("linux") or not chosen.isdisjoint(os.environ):
        return
    for library in _openblas_libraries():
        for name in _SET_THREADS:
            if hasattr(library, name):
                getattr(library, name)(_threads)


def threads() -> int:
    """Threads that one computing thread may make use of."""
    return _threads or min(available_cpus(), _MAX_BLAS_THREADS)


def _openblas_libraries() -> Iterator[ctypes.CDLL]:
    """Every OpenBLAS in this process: numpy brings one of its own."""
    mapped = Path("/proc/self/maps").read_text().splitlines()
    for path in sorted({line.split(maxsplit=5)[-1] for line in mapped if "openblas" in line}):
        with contextlib.suppress(OSError):
            yield ctypes.CDLL(path)


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
    mx.set_cache_limit(_GPU_CACHE_BYTES if gpu else _CPU_CACHE_BYTES)
    if gpu and mx.metal.is_available():
        # What a Mac's GPU works with stays in memory, as far as the system allows it.
        mx.set_wired_limit(int(mx.device_info(mx.gpu)["max_recommended_working_set_size"]))
    log.debug("MLX computes on the %s", "GPU" if gpu else "CPU")
    if not (gpu or fast):
        _warn_if_slow()


def keeps_quantized() -> bool:
    """Whether the default device is fast with quantized weights as they are: Apple's GPUs are.

    300 lines took an NVIDIA H100 163 s with 8-bit layers and 13 s in float16 (MLX 0.32.4, both
    beside other work).
    """
    import mlx.core as mx

    return mx.default_device().type == mx.gpu and not mx.cuda.is_available()


def gpu_memory() -> int:
    """Bytes of the GPU's memory, on a Mac of all memory."""
    import mlx.core as mx

    found = mx.device_info(mx.gpu)
    return int(found.get("memory_size") or found["total_memory"])


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
