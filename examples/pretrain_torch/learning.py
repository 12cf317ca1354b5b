"""A step of learning: what is shown, what it costs, and how the weights follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ocrmypdf_trocr_mlx.checkpoints.images import ImageProcessor
from ocrmypdf_trocr_mlx.training.batches import IGNORED, Batch

from .distil import Answers, Teacher, distance
from .model import Reader, nothing
from .together import Together

# In so many of the texts so many of the decoder's tokens are wrong: it is to look, not to guess.
_NOISY_TEXTS, _NOISY_TOKENS = 0.5, 0.1
_LABEL_SMOOTHING, _DRAFTS = 0.02, 0.25
_BETAS, _WEIGHT_DECAY, _CLIP = (0.9, 0.98), 0.05, 1.0
# Of what layers add, so much is dropped where the line is real, of which there are few that a
# model would know by heart, and where it is rendered, of which there are enough.
_DROPPED_REAL, _DROPPED_RENDERED = 0.15, 0.02
# The cosine ends at this share of the peak.
_LAST_LR = 0.015
# The head, one layer and often a new one, learns so many times as fast, and is not warmed up.
_HEAD_LR = 6.0
# The average moves this much closer to the weights at a step, and faster at the beginning.
_EMA = 0.998


class Losses(NamedTuple):
    """Means over tokens: of the decoder's cross-entropy, and of the CTC of the drafts.

    `apart`: the distance from the teacher, 0 without one.
    """

    said: Tensor
    drafted: Tensor
    apart: Tensor


@dataclass(frozen=True)
class Recipe:
    """`lr`: the peak, after `warmup` steps.  The draft head learns alone for `head_steps`: until
    it says something, what it would teach the encoder is noise."""

    lr: float
    warmup: int
    head_steps: int


class Learner:
    """A model, its optimizer, and the moving average of its weights."""

    def __init__(
        self,
        model: Reader,
        processor: ImageProcessor,
        end: int,
        recipe: Recipe,
        together: Together | None = None,
        teacher: Teacher | None = None,
    ):
        """`end`: the token that ends a text; no draft has it."""
        self.model = model
        self._together = together or Together()
        self._teacher = teacher
        self._together.alike(model.parameters())
        self.step = 0
        self._processor, self._end, self._recipe = processor, end, recipe
        self._head = list(model.draft_head.parameters())
        ids = {id(p) for p in self._head}
        self._body = [p for p in model.parameters() if id(p) not in ids]
        self._device = self._head[0].device
        groups = [
            {"params": [p for p in self._body if p.ndim >= 2], "weight_decay": _WEIGHT_DECAY},
            {"params": [p for p in self._body if p.ndim < 2], "weight_decay": 0.0},
            {"params": self._head, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(groups, recipe.lr, _BETAS)
        self._average = [p.detach().clone() for p in model.parameters()]

    def lr(self, done: float) -> float:
        """Of the next step, when so much of the training, 0 to 1, is done."""
        return (
            self._recipe.lr * min(1.0, (self.step + 1) / max(1, self._recipe.warmup)) * _fall(done)
        )

    def learn(self, batch: Batch, done: float) -> Losses:
        """Make a step; the losses are those before it."""
        *body, head = self._optimizer.param_groups
        for group in body:
            group["lr"] = self.lr(done)
        head["lr"] = _HEAD_LR * self._recipe.lr * _fall(done)
        losses = self._losses(batch)
        self._optimizer.zero_grad(set_to_none=True)
        (losses.said + _DRAFTS * losses.drafted + losses.apart).backward()
        self._together.average(p.grad for p in self._body + self._head if p.grad is not None)
        for part in (self._body, self._head):
            torch.nn.utils.clip_grad_norm_(part, _CLIP)
        self._optimizer.step()
        self.step += 1
        self._follow()
        return Losses(*(x.detach() for x in losses))

    def _losses(self, batch: Batch) -> Losses:
        tokens, targets = (self._tensor(a).long() for a in (batch.tokens, batch.targets))
        pixels = distorted(self._tensor(batch.pixels).float())
        pixels = normalised(pixels, self._processor)
        given = misled(tokens, targets)
        # A pupil is too small to know lines by heart, and has its teacher to agree with.
        real = self._tensor(np.isnan(batch.edges[:, 0]))
        drop = Dropout(real) if self._teacher is None else nothing
        kind = self._device.type
        with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            states = self.model.encode(pixels, drop)
            layer = self._teacher.layer_of(self.model) if self._teacher else None
            logits, looked = self.model.decode(given, states, layer, drop)
            alone = self.step < self._recipe.head_steps
            frames = self.model.frames(states.detach() if alone else states)
            taught = self._teacher(pixels, given) if self._teacher else None
        said = F.cross_entropy(
            logits.float().flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=_LABEL_SMOOTHING,
        )
        apart = torch.zeros_like(said)
        if taught is not None and looked is not None:
            apart = distance(Answers(logits, frames, looked), taught, targets)
        return Losses(said, draft_loss(frames, targets, self._end, self.model.blank), apart)

    def _tensor(self, values: object) -> Tensor:
        return torch.as_tensor(values).to(self._device, non_blocking=True)

    @torch.no_grad()
    def _follow(self) -> None:
        keep = min(_EMA, self.step / (self.step + 9))
        torch._foreach_lerp_(self._average, list(self.model.parameters()), 1 - keep)

    @torch.no_grad()
    def finish(self) -> None:
        """Give the model its averaged weights: the training is over."""
        for parameter, average in zip(self.model.parameters(), self._average, strict=True):
            parameter.copy_(average)


class Dropout:
    """Drops more of the values (B, S, D) of lines that are `real` (B,) than of others."""

    def __init__(self, real: Tensor):
        rates = torch.where(real, _DROPPED_REAL, _DROPPED_RENDERED)
        self._kept = (1 - rates)[:, None, None]

    def __call__(self, x: Tensor) -> Tensor:
        kept = self._kept.to(x.dtype)
        return x * (torch.rand_like(x) < kept) / kept


def _fall(done: float) -> float:
    return _LAST_LR + (1 - _LAST_LR) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def draft_loss(frames: Tensor, targets: Tensor, end: int, blank: int) -> Tensor:
    """CTC over frames (B, T, V) of targets (B, L), without their ends, for each token.

    Texts that need more frames than there are teach nothing.
    """
    drafted = (targets != IGNORED) & (targets != end)
    lengths = drafted.sum(1)
    # What is beyond a text is not looked at, but must be a token, and not the blank.
    labels = torch.where(drafted, targets, end)
    scores = frames.float().log_softmax(-1).transpose(0, 1)
    steps = torch.full_like(lengths, frames.shape[1])
    loss = F.ctc_loss(
        scores, labels, steps, lengths, blank=blank, reduction="sum", zero_infinity=True
    )
    return loss / lengths.sum().clamp(min=1)


def misled(tokens: Tensor, targets: Tensor) -> Tensor:
    """What the decoder is given, (B, L), with some tokens of others in the batch instead.

    The start stays, and so does what is beyond a text.
    """
    given = torch.zeros_like(targets, dtype=torch.bool)
    given[:, 1:] = targets[:, 1:] != IGNORED
    known = tokens[given]
    if not len(known):
        return tokens
    noisy = torch.rand(len(tokens), 1, device=tokens.device) < _NOISY_TEXTS
    wrong = given & noisy & (torch.rand(tokens.shape, device=tokens.device) < _NOISY_TOKENS)
    others = known[torch.randint(len(known), tokens.shape, device=tokens.device)]
    return torch.where(wrong, others, tokens)


def distorted(pixels: Tensor) -> Tensor:
    """Levels 0 to 255 (B, h, w) with another contrast, brightness and noise in each image."""

    def drawn(low: float, high: float) -> Tensor:
        return torch.empty(len(pixels), 1, 1, device=pixels.device).uniform_(low, high)

    middle = 127.5
    x = (pixels - middle) * drawn(0.75, 1.12) + middle + drawn(-19, 19)
    noise = torch.randn_like(x) * drawn(0, 10) * (drawn(0, 1) < 0.4)
    return (x + noise).clamp(0, 255)


def normalised(pixels: Tensor, processor: ImageProcessor) -> Tensor:
    """Levels (B, h, w) as the model takes them."""
    return (pixels.float() * processor.rescale_factor - processor.mean[0]) / processor.std[0]
