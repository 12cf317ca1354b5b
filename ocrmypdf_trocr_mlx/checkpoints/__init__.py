"""Checkpoints: where they lie, how their files become model, image processor and tokenizer."""

from __future__ import annotations

from ocrmypdf_trocr_mlx import backend

# Before any module here imports MLX, which takes the BLAS that is loaded by then.
backend.load_blas()
