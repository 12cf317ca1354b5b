"""Training in MLX: `finetune` goes on from a checkpoint, `pretrain` starts from nothing.

data, transcripts, crop -> dataset -> batches -> loop -> product; finetune and pretrain put them
together.  Worker processes, which make batches, are spawned: a forked child of a process that
uses MLX would hang.
"""

from __future__ import annotations

from ocrmypdf_trocr_mlx import backend

# Before any module here imports MLX, which takes the BLAS that is loaded by then.
backend.load_blas()
