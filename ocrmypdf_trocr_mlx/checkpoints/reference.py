"""The same checkpoint in transformers and torch, to compare with; needs torch.

The weights are read by this package and handed to transformers by name: its own loading fails
for family B (transformers 5), and would unpickle what a file asks it to.
"""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)

_EMBEDDINGS = "decoder.embed_tokens.weight"
_OUTPUT = "decoder.output_projection.weight"


class Reference:
    """A checkpoint as transformers runs it, in float32 or float16."""

    def __init__(self, model: Any, device: str = "cpu", half: bool = False) -> None:
        """`model` is what `filled_model` or `pretrained_model` gave."""
        self._device = device
        self._model = (model.half() if half else model).to(device).eval()
        for module in self._model.modules():
            # transformers keeps these tables as plain attributes: they stay where they were made.
            if type(module).__name__ == "TrOCRSinusoidalPositionalEmbedding":
                module.weights = module.weights.to(device)

    def logits(self, pixels: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Images (B, H, W, 3), tokens (B, L) -> (B, L, V)."""
        with torch().no_grad():
            output = self._model(
                pixel_values=self._images(pixels),
                decoder_input_ids=torch().from_numpy(tokens).to(self._device),
            )
        return output.logits.float().cpu().numpy()

    def states(self, pixels: np.ndarray) -> np.ndarray:
        """Images (B, H, W, 3) -> what the encoder makes of them (B, S, D)."""
        with torch().no_grad():
            output = self._model.encoder(pixel_values=self._images(pixels))
        return output.last_hidden_state.float().cpu().numpy()

    def generate(self, pixels: np.ndarray, options: GenerateOptions) -> list[list[int]]:
        """Tokens of each image, without the start token, up to the end token.

        All options are named: what is not would come from the checkpoint's own files.
        """
        with torch().no_grad():
            rows = self._model.generate(
                self._images(pixels),
                do_sample=False,
                use_cache=True,
                max_length=options.max_length,
                min_length=options.min_length,
                num_beams=options.num_beams,
                length_penalty=options.length_penalty,
                early_stopping=options.early_stopping,
                no_repeat_ngram_size=options.no_repeat_ngram_size,
                forced_bos_token_id=options.forced_bos_token_id,
                forced_eos_token_id=list(options.forced_eos_token_id) or None,
                suppress_tokens=list(options.suppress_tokens) or None,
                begin_suppress_tokens=list(options.begin_suppress_tokens) or None,
                decoder_start_token_id=options.start,
                eos_token_id=list(options.eos) or None,
                pad_token_id=options.pad,
            )
        return [without_tail(row[1:], options.eos) for row in rows.tolist()]

    def _images(self, pixels: np.ndarray) -> Any:
        images = torch().from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        return images.to(self._device, self._model.dtype)


def without_tail(tokens: Sequence[int], eos: Sequence[int]) -> list[int]:
    """Tokens up to the first end token, with it."""
    end = next((i for i, token in enumerate(tokens) if token in eos), len(tokens))
    return list(tokens[: end + 1])


def torch() -> Any:
    """The module; raises CheckpointError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise CheckpointError("comparing needs torch: pip install torch") from None
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    return torch


def pretrained_model(source: Path) -> Any:
    """The model as users of transformers load it; None where transformers fails to."""
    torch()
    from transformers import VisionEncoderDecoderModel

    if not (source / "model.safetensors").is_file():
        return None
    try:
        model, info = VisionEncoderDecoderModel.from_pretrained(
            source, local_files_only=True, output_loading_info=True
        )
    except Exception as e:  # whatever it stumbles over, `filled_model` goes another way
        log.debug("transformers does not load %s: %s", source, e)
        return None
    missing = [key for key in info["missing_keys"] if is_used(key)]
    return None if missing or info["unexpected_keys"] else model.float()


def filled_model(source: Path) -> Any:
    """The model built from its config, with weights filled in by name; float32.

    Raises CheckpointError where torch is missing or the weights do not fit.
    """
    no_grad = torch().no_grad()
    from transformers import VisionEncoderDecoderConfig, VisionEncoderDecoderModel

    values = read_config(source)
    quantization = Quantization.of(values)
    weights = {
        rename(k): v
        for k, v in expand(read_weights(source), mx.float32, quantization).items()
        if is_used(k)
    }
    values.pop("quantization", None)
    model = VisionEncoderDecoderModel(VisionEncoderDecoderConfig.from_dict(values))
    missing = []
    with no_grad:
        for name, parameter in model.named_parameters():
            key = rename(name)
            if key not in weights and key in (_OUTPUT, _EMBEDDINGS):
                key = _EMBEDDINGS if key == _OUTPUT else _OUTPUT
            if key in weights:
                # Let go of at once, but for a table that may serve twice: memory is measured.
                shared = key in (_OUTPUT, _EMBEDDINGS)
                value = weights[key] if shared else weights.pop(key)
                parameter.copy_(torch().from_numpy(np.array(value)))
            elif is_used(name):
                missing.append(name)
    if missing:
        raise CheckpointError(f"{source}: transformers has other weights: {', '.join(missing[:5])}")
    return model
