"""Training in MLX: `finetune` goes on from a checkpoint, `pretrain` starts from nothing.

data, transcripts, crop -> dataset -> batches -> loop -> product; finetune and pretrain put them
together.  Worker processes import data, dataset, batches and the renderer: none of them may
import MLX.
"""

from __future__ import annotations

from ocrmypdf_trocr_mlx import backend

# Before any module here imports MLX, which takes the BLAS that is loaded by then.
backend.load_blas()
