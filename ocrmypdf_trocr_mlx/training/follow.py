"""A checkpoint's model in MLX, given the texts of lines: see `words.Follower`."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np

from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint
from ocrmypdf_trocr_mlx.recognizer.align import columns_of

from .words import Followed


class MlxFollower:
    def __init__(self, checkpoint: Checkpoint):
        self._checkpoint = checkpoint

    def __call__(self, pixels: np.ndarray, texts: Sequence[Sequence[int]]) -> list[Followed]:
        checkpoint, model = self._checkpoint, self._checkpoint.model
        images = mx.array(checkpoint.processor(list(pixels)))
        memory = model.memory(model.encode(images))
        given = given_tokens(texts, checkpoint.options.start, checkpoint.options.pad)
        layer = checkpoint.options.attention_layer % len(memory)
        logits, weights = model.decoder(mx.array(given), memory, layer)
        assert weights is not None
        logits = logits.astype(mx.float32)
        likely = np.array(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
        encoder = checkpoint.config.encoder
        grid = encoder.grid[0], pixels.shape[2] // encoder.patch_size[1]
        looked = np.array(weights.astype(mx.float32))
        return [
            Followed(
                said[np.arange(len(text)), text],
                columns_of(seen[: len(text)], encoder.num_prefix_tokens, grid, grid[1]),
            )
            for text, said, seen in zip(texts, likely, looked, strict=True)
        ]


def given_tokens(texts: Sequence[Sequence[int]], start: int, pad: int) -> np.ndarray:
    """What a decoder is given to say the texts: (B, longest + 1), the start before each."""
    given = np.full((len(texts), max(map(len, texts)) + 1), pad, np.int32)
    given[:, 0] = start
    for row, text in zip(given, texts, strict=True):
        row[1 : len(text) + 1] = text
    return given
