"""Reading crops of text lines with one model: words with places and confidences."""

from __future__ import annotations

from ocrmypdf_trocr_mlx import backend

# Before any module here imports MLX, which takes the BLAS that is loaded by then.
backend.load_blas()

from .reading import ReadCharacter, Reading, ReadWord  # noqa: E402
from .service import Recognizer, shared  # noqa: E402

__all__ = ["ReadCharacter", "ReadWord", "Reading", "Recognizer", "shared"]
