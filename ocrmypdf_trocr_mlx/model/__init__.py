"""TrOCR in MLX.  Importing anything here is safe: a fast BLAS is loaded before MLX is."""

from __future__ import annotations

from ocrmypdf_trocr_mlx import backend

# Before any module here imports MLX, which takes the BLAS that is loaded by then.
backend.load_blas()
