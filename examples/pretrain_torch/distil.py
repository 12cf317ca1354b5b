"""A larger model that reads well teaches a smaller one what it makes of every line.

Hinton et al. 2015, "Distilling the knowledge in a neural network": not the label alone, but how
likely the teacher finds each token, of the text and of the draft, and where it looks.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.training.batches import IGNORED
from ocrmypdf_trocr_mlx.training.errors import TrainingError

from .checkpoint import reader_of
from .model import Reader

# How much it counts that the pupil looks elsewhere: it must find the characters by itself, too.
_LOOKED = 0.2
# A share of attention below this is none.
_LEAST = 1e-4


class Answers(NamedTuple):
    """Logits (B, L, V) of the text and (B, T, V) of the draft, and cross-attention (B, L, S)."""

    said: Tensor
    drafted: Tensor
    looked: Tensor


class Teacher:
    """A model that does not learn."""

    def __init__(self, source: Path, device: str):
        self.checkpoint = load(source)
        self.model = reader_of(source, self.checkpoint).to(device)
        self._layer = self.checkpoint.options.attention_layer

    def frames_of(self, pupil: Checkpoint) -> int:
        """How many frames a draft head of the pupil's has for a column, to be as fine as this."""
        mine, columns = self.model.config, pupil.config.encoder.grid[1]
        return max(1, mine.draft_frames * mine.encoder.grid[1] // columns)

    def refuse(self, pupil: Reader, checkpoint: Checkpoint) -> None:
        """Raise TrainingError where its answers would be none to what the pupil is asked."""
        mine, other = self.model.config, pupil.config
        rows, columns = zip(mine.encoder.grid, other.encoder.grid, strict=True)
        problems = {
            "its tokens are others": not _alike(self.checkpoint, checkpoint),
            "its images are of another size": mine.encoder.image_size != other.encoder.image_size,
            "both need one row of patches": rows != (1, 1),
            "its patches do not fill the pupil's": columns[0] % columns[1] != 0,
            "it drafts other frames": columns[0] * mine.draft_frames
            != columns[1] * other.draft_frames,
        }
        if found := [problem for problem, there in problems.items() if there]:
            raise TrainingError(f"--teacher: cannot teach this model: {'; '.join(found)}")

    @torch.no_grad()
    def __call__(self, pixels: Tensor, tokens: Tensor) -> Answers:
        """What it answers to normalised images (B, h, w) and given tokens (B, L)."""
        states = self.model.encode(pixels)
        logits, looked = self.model.decode(tokens, states, self.layer_of(self.model))
        assert looked is not None
        return Answers(logits, self.model.frames(states), looked)

    def layer_of(self, model: Reader) -> int:
        """The decoder layer whose cross-attention is compared."""
        return self._layer % model.config.decoder.decoder_layers


def distance(pupil: Answers, teacher: Answers, targets: Tensor) -> Tensor:
    """How far a pupil's answers are from its teacher's, in nats, where `targets` (B, L) has any."""
    asked = targets != IGNORED
    said = _divergence(pupil.said[asked], teacher.said[asked])
    drafted = _divergence(pupil.drafted.flatten(0, 1), teacher.drafted.flatten(0, 1))
    mine, its = (x[asked][:, 1:].float() for x in (pupil.looked, teacher.looked))  # no prefix
    its = its.unflatten(-1, (mine.shape[-1], -1)).sum(-1)  # some of its columns are one of mine
    looked = (its * (its.clamp(min=_LEAST) / mine.clamp(min=_LEAST)).log()).sum(-1).mean()
    return said + drafted + _LOOKED * looked


def _divergence(pupil: Tensor, teacher: Tensor) -> Tensor:
    """Kullback and Leibler's, of logits (N, V): the mean."""
    mine, its = (x.float().log_softmax(-1) for x in (pupil, teacher))
    return F.kl_div(mine, its, reduction="batchmean", log_target=True)


def _alike(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether both have the same tokens."""
    counts = {c.config.decoder.vocab_size for c in (one, other)}
    if len(counts) > 1:
        return False
    ids = list(range(counts.pop()))
    return one.tokenizer.pieces(ids) == other.tokenizer.pieces(ids)
