"""How many threads compute on a device, and how many lines each of them reads at once."""

from __future__ import annotations

import mlx.core as mx

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.model.config import TrOCRConfig

# More threads that compute need more memory than they save time.
_MAX_LANES = 4
# Lines read at once: an NVIDIA GPU read 5 to 20 % more lines a second by 1,024 than by 256.  What a
# decoder reads of them may take such a share of a GPU's memory.
_CPU_BATCH, _MAX_GPU_BATCH, _GPU_SHARE = 32, 1024, 1 / 64


def suitable_lanes() -> int:
    """Threads that compute."""
    return min(_MAX_LANES, backend.available_cpus()) if on_cpu() else 1


def suitable_batch(config: TrOCRConfig) -> int:
    """Lines that each of them reads at once."""
    if on_cpu():
        return _CPU_BATCH
    return max(1, min(_MAX_GPU_BATCH, int(_GPU_SHARE * backend.gpu_memory()) // _memory(config)))


def _memory(config: TrOCRConfig) -> int:
    """Bytes of the keys and values that a decoder in half precision has of an image."""
    states = config.encoder.num_states(*config.encoder.image_size)
    return 2 * 2 * config.decoder.decoder_layers * config.decoder.d_model * states


def on_cpu() -> bool:
    """Whether MLX computes on processors."""
    return mx.default_device() == mx.Device(mx.cpu)
