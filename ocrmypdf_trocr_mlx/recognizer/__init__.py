"""Reading crops of text lines with one model: words with places and confidences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocrmypdf_trocr_mlx import backend

# Before any module here imports MLX, which takes the BLAS that is loaded by then.
backend.load_blas()

from .reading import ReadCharacter, Reading, ReadWord  # noqa: E402

if TYPE_CHECKING:
    from .service import Recognizer, shared

__all__ = ["ReadCharacter", "ReadWord", "Reading", "Recognizer", "shared"]


def __getattr__(name: str) -> Any:
    """What computes is imported when it is asked for: some processes only know what lines are."""
    if name not in ("Recognizer", "shared"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import service

    return getattr(service, name)
