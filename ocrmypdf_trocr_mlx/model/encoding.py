"""Images -> states, and what a decoder reads of them: a few at a time, to keep memory low."""

from __future__ import annotations

import functools
from collections.abc import Callable

import mlx.core as mx

from . import cpu_encoder
from .decoder import KeysValues
from .portions import PORTION_BYTES, Portions
from .trocr import TrOCR

# Arrays of the size of its input that a layer of an encoder writes: projections, their fourfold
# width in the MLP, norms and sums (measured).
_WRITTEN_BY_LAYER = 14


def encode(model: TrOCR, pixels: mx.array, between: Callable[[], None]) -> mx.array:
    """Images (B, H, W, C or 1) -> states (B, S, D); what `between` raises ends it."""
    if cpu_encoder.serves(model):
        rows = cpu_encoder.CpuEncoder(model)([pixels], between).rows
        return mx.array(rows.reshape(len(pixels), -1, rows.shape[1]))
    states = model.config.encoder.num_states(*pixels.shape[1:3])
    if mx.default_device().type == mx.gpu:
        return _encode_in_portions(model, pixels, states, between)
    count = max(1, cpu_encoder.STATES_AT_ONCE // states)
    parts = []
    for i in range(0, len(pixels), count):
        between()
        parts.append(model.encode(pixels[i : i + count]))
        mx.eval(parts[-1])
    return mx.concatenate(parts)


def _encode_in_portions(
    model: TrOCR, pixels: mx.array, states: int, between: Callable[[], None]
) -> mx.array:
    """As `encode`, as many images at a time as make a layer a portion's work."""
    size = _WRITTEN_BY_LAYER * states * model.config.encoder.hidden_size * model.dtype.size
    count = _power_of_two(PORTION_BYTES // size)
    portions, parts = Portions(), []
    for i in range(0, len(pixels), count):
        between()
        images = pixels[i : i + count]
        parts.append(model.encode(images, functools.partial(portions.add, size * len(images))))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts)


def _power_of_two(most: int) -> int:
    """The largest up to `most`, or 1: batches divide into equal parts, each new size costs."""
    return 1 << (max(1, most).bit_length() - 1)


def memory_of(model: TrOCR, states: mx.array) -> list[KeysValues]:
    """As `TrOCR.memory`, computed."""
    portions, memory = Portions(), []
    for layer in model.decoder.layers:
        keys, values = layer.encoder_attn.keys_values(states)
        memory.append((keys, values))
        portions.add(2 * (keys.nbytes + values.nbytes), keys, values)
    mx.eval(memory)
    return memory
