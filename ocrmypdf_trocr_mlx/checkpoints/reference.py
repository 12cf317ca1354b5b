"""The same checkpoint in transformers and torch, to compare with; needs torch.

The weights are read by this package and handed to transformers by name: its own loading fails
for family B (transformers 5), and would unpickle what a file asks it to.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx.model.options import GenerateOptions

from .errors import CheckpointError
from .load import read_config
from .weights import Quantization, expand, is_used, read_weights, rename

_EMBEDDINGS = "decoder.embed_tokens.weight"
_OUTPUT = "decoder.output_projection.weight"


class Reference:
    """A checkpoint as transformers runs it, in float32 or float16."""

    def __init__(self, folder: Path, device: str = "cpu", half: bool = False) -> None:
        """Raises CheckpointError where torch is missing or the weights do not fit."""
        try:
            import torch
        except ImportError:
            raise CheckpointError("comparing needs torch: pip install torch") from None
        self._torch = torch
        self._device = device
        model = _model(folder)
        self._model = (model.half() if half else model).to(device).eval()

    def logits(self, pixels: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Images (B, H, W, 3), tokens (B, L) -> (B, L, V)."""
        with self._torch.no_grad():
            output = self._model(
                pixel_values=self._images(pixels),
                decoder_input_ids=self._torch.from_numpy(tokens).to(self._device),
            )
        return output.logits.float().cpu().numpy()

    def generate(self, pixels: np.ndarray, options: GenerateOptions) -> list[list[int]]:
        """Greedy tokens of each image, without the start token, up to the end token."""
        with self._torch.no_grad():
            rows = self._model.generate(
                self._images(pixels),
                do_sample=False,
                num_beams=1,
                use_cache=True,
                max_length=options.max_length,
                decoder_start_token_id=options.start,
                eos_token_id=list(options.eos) or None,
                pad_token_id=options.pad,
            )
        return [without_tail(row[1:], options.eos) for row in rows.tolist()]

    def _images(self, pixels: np.ndarray) -> Any:
        images = self._torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        return images.to(self._device, self._model.dtype)


def without_tail(tokens: Sequence[int], eos: Sequence[int]) -> list[int]:
    """Tokens up to the first end token, with it."""
    end = next((i for i, token in enumerate(tokens) if token in eos), len(tokens))
    return list(tokens[: end + 1])


def _model(folder: Path) -> Any:
    import torch

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    values = read_config(folder)
    stored = expand(read_weights(folder), mx.float32, Quantization.of(values))
    weights = {rename(k): v for k, v in stored.items() if is_used(k)}
    values.pop("quantization", None)
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig.from_dict(values))
    missing = []
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            key = rename(name)
            if key not in weights and key in (_OUTPUT, _EMBEDDINGS):
                key = _EMBEDDINGS if key == _OUTPUT else _OUTPUT
            if key in weights:
                parameter.copy_(torch.from_numpy(np.array(weights[key])))
            elif is_used(name):
                missing.append(name)
    if missing:
        raise CheckpointError(f"{folder}: transformers has other weights: {', '.join(missing[:5])}")
    return model
