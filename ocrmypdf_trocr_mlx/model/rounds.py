"""Drafts checked by MLX, for images that come and go: a round is a pass over all their texts.

Most texts are done after one pass, and a pass over a few costs a GPU as much as one over many: so
those that take longer go on beside the first passes of others.  No keys are kept of the texts, as
a pass over a whole one costs what a step does.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from .checking import Checked, Said
from .decoder import KeysValues
from .draft import collapse
from .encoding import encode
from .hypothesis import Hypothesis
from .options import GenerateOptions
from .trocr import TrOCR

# Enough for a GPU; fewer texts are padded less, and the host looks at some while it reads others.
_TEXTS_AT_ONCE = 256


@dataclass
class _Group:
    """Images of one size: their texts' numbers and options, states (B, S, D), and draft frames."""

    numbers: range
    options: GenerateOptions
    states: mx.array
    frames: mx.array


@dataclass
class _Memory:
    """What the layers read of images: keys and values, of which the first `counts` are its own."""

    layers: list[KeysValues]
    counts: np.ndarray

    def of(self, rows: list[int]) -> _Memory:
        if rows == list(range(len(self.counts))):
            return self
        taken = mx.array(rows)
        return _Memory([(k[taken], v[taken]) for k, v in self.layers], self.counts[rows])

    def padding(self) -> mx.array | None:
        """As `CrossAttention` takes it; None where all are equally many."""
        keys = self.layers[0][0]
        if self.counts.min() == keys.shape[2]:
            return None
        unused = mx.arange(keys.shape[2])[None] >= mx.array(self.counts)[:, None]
        return mx.where(unused, -mx.inf, 0).astype(keys.dtype)[:, None, None]


class Rounds:
    """See `running.Running`."""

    def __init__(self, model: TrOCR, options: GenerateOptions):
        self._model, self._options = model, options
        self._layer = options.kept_layer(len(model.decoder.layers))
        self._count = 0
        self._new: list[_Group] = []
        self._texts: list[tuple[int, Checked]] = []
        self._memory: _Memory | None = None

    def __len__(self) -> int:
        return len(self._texts) + sum(len(group.numbers) for group in self._new)

    def add(self, images: mx.array, max_length: int, between: Callable[[], None]) -> None:
        options = dataclasses.replace(self._options, max_length=max_length)
        states = encode(self._model, images, between)
        frames = self._model.draft_head.frames(states).argmax(axis=-1)
        mx.async_eval(states, frames)
        numbers = range(self._count, self._count + len(images))
        self._count = numbers.stop
        self._new.append(_Group(numbers, options, states, frames))

    def step(self, between: Callable[[], None]) -> list[tuple[int, Hypothesis]]:
        """A round.  What was added since the last is encoded meanwhile, and has part in the next;
        it is waited for only where there is nothing else."""
        if not self._texts:
            self._let_in()
        active = [i for i, (_, text) in enumerate(self._texts) if not text.done]
        if active:
            between()
            self._check(active)
        done = [(number, text.hypothesis()) for number, text in self._texts if text.done]
        left = [i for i, (_, text) in enumerate(self._texts) if not text.done]
        self._memory = self._memory.of(left) if self._memory and left else None
        self._texts = [self._texts[i] for i in left]
        self._let_in()
        return done

    def _let_in(self) -> None:
        """Those that were added have part from now on; waits for their drafts."""
        groups, self._new = self._new, []
        if not groups:
            return
        blank = self._model.config.decoder.pad_token_id
        for group in groups:
            drafts = collapse(np.array(group.frames), blank)
            for number, draft in zip(group.numbers, drafts, strict=True):
                self._texts.append((number, Checked(draft.tolist(), group.options)))
        counts = [group.states.shape[1] for group in groups for _ in group.numbers]
        most = max(counts)
        new = self._model.memory(_joined([_padded(group.states, 1, most) for group in groups]))
        self._memory = _together(self._memory, _Memory(new, np.array(counts)))

    def _check(self, active: list[int]) -> None:
        """Texts of about one length are passed together, all asked before one is awaited."""
        assert self._memory is not None
        given = {i: self._texts[i][1].whole() for i in active}
        if len(active) > _TEXTS_AT_ONCE:
            active.sort(key=lambda i: len(given[i]))
        asked = []
        for i in range(0, len(active), _TEXTS_AT_ONCE):
            some = active[i : i + _TEXTS_AT_ONCE]
            asked.append((some, self._ask(self._memory.of(some), [given[i] for i in some])))
        for some, answers in asked:
            tokens, logprobs, seen = (None if x is None else np.array(x) for x in answers)
            assert tokens is not None and logprobs is not None
            for row, i in enumerate(some):
                text, states = self._texts[i][1], self._memory.counts[i]
                part = slice(text.known, len(given[i]))
                attention = None if seen is None else seen[row, part, :states]
                text.hear(Said(tokens[row, part], logprobs[row, part], attention))

    def _ask(
        self, memory: _Memory, texts: list[list[int]]
    ) -> tuple[mx.array, mx.array, mx.array | None]:
        """What is said after each token of some texts, under way: `Said` of (N, L)."""
        lengths = np.array([len(text) for text in texts])
        used = np.arange(lengths.max()) < lengths[:, None]
        padded = np.full(used.shape, self._model.config.decoder.pad_token_id, np.int32)
        padded[used] = list(itertools.chain(*texts))
        logits, weights = self._model.decoder(
            mx.array(padded), memory.layers, self._layer, memory.padding()
        )
        logits = logits.astype(mx.float32)
        best = logits.argmax(axis=-1)
        logprobs = logits.max(axis=-1) - mx.logsumexp(logits, axis=-1)
        seen = None if weights is None else weights.astype(mx.float32)
        mx.async_eval(best, logprobs, seen)
        return best, logprobs, seen


def _padded(x: mx.array, axis: int, length: int) -> mx.array:
    missing = length - x.shape[axis]
    return mx.pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)]) if missing else x


def _joined(parts: list[mx.array]) -> mx.array:
    return parts[0] if len(parts) == 1 else mx.concatenate(parts)


def _together(old: _Memory | None, new: _Memory) -> _Memory:
    if old is None:
        return new
    pairs = list(zip(old.layers, new.layers, strict=True))
    most = max(layers[0][0].shape[2] for layers in (old.layers, new.layers))
    layers = [
        (
            _joined([_padded(k, 2, most) for k, _ in both]),
            _joined([_padded(v, 2, most) for _, v in both]),
        )
        for both in pairs
    ]
    return _Memory(layers, np.concatenate([old.counts, new.counts]))
