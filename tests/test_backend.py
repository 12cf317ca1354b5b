"""The choice of BLAS must precede MLX's import, so most of this runs in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import mlx.core as mx
import pytest

from ocrmypdf_trocr_mlx import backend

linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux has a BLAS to choose"
)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    header = "import logging, sys; logging.basicConfig(level=logging.DEBUG)\n"
    return subprocess.run(
        [sys.executable, "-c", header + code], capture_output=True, text=True, check=True
    )


@linux_only
def test_matrix_products_are_fast_after_prepare() -> None:
    done = run_python(
        "from ocrmypdf_trocr_mlx import backend\n"
        "backend.prepare('cpu'); backend.prepare('cpu')\n"
        "assert 'cv2' not in sys.modules\n"
        "print(max(backend.matmul_gflops() for _ in range(5)))"
    )
    assert done.stderr.count("BLAS") == 1
    assert "WARNING" not in done.stderr
    assert float(done.stdout) > 10


@linux_only
def test_too_late_warns_once_with_the_cure_if_slow() -> None:
    done = run_python(
        "import mlx.core\n"
        "from ocrmypdf_trocr_mlx import backend\n"
        "assert not backend.load_blas()\n"
        "backend.matmul_gflops = lambda: 3.0\n"
        "backend.prepare('cpu'); backend.prepare('cpu')"
    )
    assert done.stderr.count("WARNING") == 1
    assert "apt install libopenblas0" in done.stderr


@linux_only
def test_no_blas_at_all_is_not_an_error() -> None:
    done = run_python(
        "from ocrmypdf_trocr_mlx import backend\n"
        "backend._blas_candidates = lambda: iter(['libno-such-blas.so.0'])\n"
        "assert not backend.load_blas()\n"
        "backend.prepare('cpu')"
    )
    assert "libno-such-blas.so.0" in done.stderr


@linux_only
def test_processors_are_shared_and_the_users_number_of_blas_threads_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    class Library:
        scipy_openblas_set_num_threads64_ = staticmethod(asked.append)

    monkeypatch.setattr(backend, "_threads", None)
    monkeypatch.setattr(backend, "_openblas_libraries", lambda: iter([Library()]))
    monkeypatch.setattr(backend, "available_cpus", lambda: 8)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    assert backend.threads() == 8
    backend.share_threads(3)
    assert asked == [2] and backend.threads() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    backend.share_threads(1)
    assert asked == [2]
    monkeypatch.setattr(backend, "available_cpus", lambda: 64)
    backend.share_threads(1)
    assert backend.threads() == 16
    backend.share_threads(100)
    assert backend.threads() == 1


@linux_only
def test_every_openblas_of_the_process_is_found() -> None:
    run_python(
        "from ocrmypdf_trocr_mlx import backend\n"
        "backend.load_blas()\n"
        "import threadpoolctl, numpy\n"
        "backend.share_threads(backend.available_cpus())\n"
        "found = [i['num_threads'] for i in threadpoolctl.threadpool_info()\n"
        "         if i['internal_api'] == 'openblas']\n"
        "assert found and set(found) == {1}, found"
    )


def test_available_cpus_is_at_least_one() -> None:
    assert backend.available_cpus() >= 1


def test_unknown_device_is_named() -> None:
    with pytest.raises(ValueError, match=r"'tpu'.*auto, cpu, gpu"):
        backend.prepare("tpu")


def test_missing_gpu_is_an_error_with_a_cure() -> None:
    backend.load_blas()
    import mlx.core as mx

    if mx.is_available(mx.gpu):
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="no GPU"):
        backend.prepare("gpu")


@pytest.mark.parametrize(("metal", "limits"), [(True, [12_000]), (False, [])])
def test_what_a_macs_gpu_works_with_stays_in_memory(
    metal: bool, limits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    wired: list[int] = []
    monkeypatch.setattr(mx, "is_available", lambda device: True)
    monkeypatch.setattr(mx, "set_default_device", lambda device: None)
    monkeypatch.setattr(mx, "set_cache_limit", lambda limit: None)
    monkeypatch.setattr(mx.metal, "is_available", lambda: metal)
    found = {"max_recommended_working_set_size": 12_000}
    monkeypatch.setattr(mx, "device_info", lambda device: found)
    monkeypatch.setattr(mx, "set_wired_limit", wired.append)
    backend.prepare("gpu")
    backend.prepare("cpu")
    assert wired == limits
