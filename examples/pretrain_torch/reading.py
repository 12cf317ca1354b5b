"""Reading with a `Reader`: texts by drafts, their errors, and where it looks at given texts."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint
from ocrmypdf_trocr_mlx.model.checking import Said, check_drafts
from ocrmypdf_trocr_mlx.model.draft import collapse
from ocrmypdf_trocr_mlx.model.generate import nothing
from ocrmypdf_trocr_mlx.recognizer.align import columns_of
from ocrmypdf_trocr_mlx.training.batches import Frame
from ocrmypdf_trocr_mlx.training.data import clean_text
from ocrmypdf_trocr_mlx.training.dataset import Sample
from ocrmypdf_trocr_mlx.training.evaluate import Score, edit_distance
from ocrmypdf_trocr_mlx.training.follow import given_tokens
from ocrmypdf_trocr_mlx.training.words import Followed, batches_of

from .learning import normalised
from .model import Reader


class TorchChecker:
    """See `ocrmypdf_trocr_mlx.model.checking.Checker`; whole texts are given anew each time."""

    def __init__(self, model: Reader, states: Tensor):
        self._model = model
        self._states = states
        self._kept: list[list[int]] = [[] for _ in range(len(states))]
        self._given: dict[int, list[int]] = {}

    def check(self, rows: list[int], given: list[list[int]]) -> list[Said]:
        self._given = dict(zip(rows, given, strict=True))
        texts = [self._kept[row] + tokens for row, tokens in self._given.items()]
        padded = np.zeros((len(texts), max(map(len, texts))), int)
        for line, text in zip(padded, texts, strict=True):
            line[: len(text)] = text
        tokens = torch.from_numpy(padded).to(self._states.device)
        logits, _ = self._model.decode(tokens, self._states[rows])
        likely, best = (x.cpu().numpy() for x in logits.float().log_softmax(-1).max(-1))
        parts = [slice(len(self._kept[r]), len(t)) for r, t in zip(rows, texts, strict=True)]
        return [Said(best[i, p], likely[i, p], None) for i, p in enumerate(parts)]

    def keep(self, row: int, count: int) -> None:
        self._kept[row] += self._given[row][:count]


@dataclasses.dataclass(frozen=True)
class Errors:
    """Of the texts, and of the drafts of them that the head made by itself."""

    texts: Score = dataclasses.field(default_factory=Score)
    drafts: Score = dataclasses.field(default_factory=Score)

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.texts + other.texts, self.drafts + other.drafts)

    def __str__(self) -> str:
        return f"CER {self.texts.cer:.2%}, of drafts {self.drafts.cer:.2%}"


@torch.no_grad()
def evaluate(
    model: Reader, checkpoint: Checkpoint, samples: Sequence[Sample], frame: Frame
) -> dict[str, Errors]:
    """Errors of each source that manifests name, in their order, and of "all", the last.

    A line too long for the model's image is squeezed; the plugin cuts it instead.
    """
    found: dict[str, Errors] = collections.defaultdict(Errors)
    total = Errors()
    for members, pixels, _ in batches_of(samples, frame):
        for i, (text, draft) in zip(members, read(model, checkpoint, pixels), strict=True):
            truth = clean_text(samples[i].text)
            errors = Errors(_score(text, truth), _score(draft, truth))
            total += errors
            if samples[i].source:
                found[samples[i].source] += errors
    return {**dict(sorted(found.items())), "all": total}


def _score(text: str, truth: str) -> Score:
    return Score(edit_distance(clean_text(text), truth), len(truth))


@torch.no_grad()
def read(model: Reader, checkpoint: Checkpoint, pixels: np.ndarray) -> list[tuple[str, str]]:
    """Images uint8 (B, h, w) -> for each the greedy text, and the draft it was checked by."""
    options = dataclasses.replace(checkpoint.options, num_beams=1)
    states = model.encode(normalised(_on_device(model, pixels), checkpoint.processor))
    best = model.frames(states).argmax(-1).cpu().numpy()
    drafts = [tokens.tolist() for tokens in collapse(best, options.pad)]
    read_ = check_drafts(TorchChecker(model, states), drafts, options, nothing)
    decode = checkpoint.tokenizer.decode
    return [(decode(r.tokens), decode(d)) for r, d in zip(read_, drafts, strict=True)]


class TorchFollower:
    """See `ocrmypdf_trocr_mlx.training.words.Follower`."""

    def __init__(self, model: Reader, checkpoint: Checkpoint):
        self._model = model
        self._checkpoint = checkpoint

    @torch.no_grad()
    def __call__(self, pixels: np.ndarray, texts: Sequence[Sequence[int]]) -> list[Followed]:
        model, options = self._model, self._checkpoint.options
        states = model.encode(normalised(_on_device(model, pixels), self._checkpoint.processor))
        given = given_tokens(texts, options.start, options.pad)
        layer = options.attention_layer % model.config.decoder.decoder_layers
        logits, weights = model.decode(_on_device(model, given).long(), states, layer)
        assert weights is not None
        likely, looked = (x.cpu().numpy() for x in (logits.float().log_softmax(-1), weights))
        encoder = model.config.encoder
        grid = encoder.grid[0], pixels.shape[2] // encoder.patch_size[1]
        return [
            Followed(
                said[np.arange(len(text)), text],
                columns_of(seen[: len(text)], encoder.num_prefix_tokens, grid, grid[1]),
            )
            for text, said, seen in zip(texts, likely, looked, strict=True)
        ]


def _on_device(model: Reader, values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).to(next(model.parameters()).device)
