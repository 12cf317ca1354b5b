"""Greedy search, a token a step, for images that come and go: those that wait take the places of
texts that are done.

On a GPU a step is under way before the host has seen what the last one said.  All that it has to
know is where texts end, and it may know it a step late.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from . import cpu
from .constraints import Constraints
from .decoder import KeysValues
from .decoding import TextsByStep
from .encoding import encode, memory_of
from .hypothesis import Growing, Hypothesis
from .options import GenerateOptions
from .trocr import TrOCR

# Texts that are done leave the batch when they are this share of it: leaving copies the others.
COMPACT_SHARE = 0.25


class Stepping:
    """See `running.Running`; images join those of as many states."""

    def __init__(self, model: TrOCR, options: GenerateOptions):
        self._model, self._options = model, options
        self._layer = options.kept_layer(len(model.decoder.layers))
        self._constraints = Constraints(options)
        self._on_gpu = mx.default_device().type == mx.gpu
        self._count = 0
        self._waiting: list[_Group] = []
        self._rows: list[_Text | None] = []
        self._states = 0  # of each image
        self._decoding: TextsByStep | None = None
        self._tokens = mx.zeros(0, mx.int32)
        self._said: _Said | None = None  # by a step, and not looked at

    def __len__(self) -> int:
        return len(self._active()) + sum(len(texts) for texts, _ in self._waiting)

    def add(self, images: mx.array, max_length: int, between: Callable[[], None]) -> None:
        options = dataclasses.replace(self._options, max_length=max_length)
        texts = [_Text(self._count + i, Growing(options)) for i in range(len(images))]
        self._count += len(texts)
        memory = memory_of(self._model, encode(self._model, images, between))
        self._waiting.append((texts, memory))

    def step(self, between: Callable[[], None]) -> list[tuple[int, Hypothesis]]:
        """Until so many texts are done that others may take their places."""
        self._let_in()
        active = self._active()
        while True:
            done = {text for text in active if text.growing.done}
            if len(done) >= max(1, COMPACT_SHARE * len(active)):
                break
            between()
            self._go_on()
        self._rows = [None if text in done else text for text in self._rows]
        if not self._active():
            self._said = None  # what was said after their ends
        return [(text.number, text.hypothesis()) for text in done]

    def _active(self) -> list[_Text]:
        return [text for text in self._rows if text is not None]

    def _let_in(self) -> None:
        """Fill the places that are free, and have no more of them than must be."""
        kept = [i for i, text in enumerate(self._rows) if text is not None]
        texts, memory = self._joining(bool(kept))
        if not kept:
            self._decoding = self._model.decoding(memory, self._layer)
            self._rows = [*texts]
            self._tokens = mx.full((len(texts),), self._options.start, mx.int32)
            return
        assert self._decoding is not None
        size = self._size(len(kept) + len(texts))
        if size != len(self._rows):
            rows = kept + kept[:1] * (size - len(kept))
            self._decoding.take(rows, rows)
            self._tokens = self._tokens[mx.array(rows)]
            self._rows = [self._rows[i] for i in kept] + [None] * (size - len(kept))
        if texts:
            free = [i for i, text in enumerate(self._rows) if text is None][: len(texts)]
            self._decoding.enter(free, memory)
            self._tokens[mx.array(free)] = self._options.start
            for i, text in zip(free, texts, strict=True):
                self._rows[i] = text

    def _joining(self, others: bool) -> tuple[list[_Text], list[KeysValues]]:
        """Those of the images that wait that may be read together, and with others."""
        if not self._waiting or (others and self._constraints):
            return [], []  # a constraint is for texts that are equally long
        if not others:
            self._states = _states(self._waiting[0])
        # Nobody overtakes those that do not fit: they would wait as long as others come.
        same = itertools.takewhile(lambda group: _states(group) == self._states, self._waiting)
        fitting = list(same)
        del self._waiting[: len(fitting)]
        if not fitting:
            return [], []
        if len(fitting) == 1:
            return fitting[0]
        by_layer = zip(*(memory for _, memory in fitting), strict=True)
        memory = [
            (mx.concatenate([k for k, _ in both]), mx.concatenate([v for _, v in both]))
            for both in by_layer
        ]
        return [text for texts, _ in fitting for text in texts], memory

    def _size(self, count: int) -> int:
        """Rows for so many texts: as many as there are, if few are left over."""
        rows = len(self._rows)
        return rows if (1 - COMPACT_SHARE) * rows < count <= rows else count

    def _go_on(self) -> None:
        """A token for each text."""
        assert self._decoding is not None
        logits, weights = self._decoding.step(self._tokens)
        if self._constraints:
            start = self._options.start
            tokens = [[start, *text.growing.tokens] if text else [start] for text in self._rows]
            logits = self._constraints(logits, tokens)
        best, logprobs = _best(logits)
        self._tokens = best if isinstance(best, mx.array) else mx.array(best)
        before, self._said = self._said, _Said(list(self._rows), best, logprobs, weights)
        if not self._on_gpu or self._constraints:
            before, self._said = self._said, None
        else:
            mx.async_eval(best, logprobs, weights)
        if before is not None:
            before.tell()


@dataclass(eq=False)
class _Text:
    """A text in the making, and the steps that said its tokens, with its row in each."""

    number: int
    growing: Growing
    said: list[tuple[_Said, int]] = field(default_factory=list)

    def hypothesis(self) -> Hypothesis:
        seen = [said.attention[row] for said, row in self.said if said.attention is not None]
        attention = np.stack(seen) if seen else None
        return Hypothesis(self.growing.tokens, self.growing.logprobs, attention)


@dataclass(eq=False)
class _Said:
    """What a step said of its rows: tokens, log-probabilities (N,), attention (N, S) if kept."""

    texts: list[_Text | None]
    tokens: mx.array | np.ndarray
    logprobs: mx.array | np.ndarray
    weights: mx.array | np.ndarray | None

    def tell(self) -> None:
        """The texts what they are told; waits for it to be computed."""
        tokens, logprobs = np.array(self.tokens).tolist(), np.array(self.logprobs).tolist()
        for row, text in enumerate(self.texts):
            if text is not None and not text.growing.done:
                before = len(text.growing.tokens)
                text.growing.extend([tokens[row]], [logprobs[row]], None)
                if len(text.growing.tokens) > before:
                    text.said.append((self, row))

    @functools.cached_property
    def attention(self) -> np.ndarray | None:
        return None if self.weights is None else np.array(self.weights)


# Images of one size, and what the decoder's layers read of them.
_Group = tuple[list[_Text], list[KeysValues]]


def _states(group: _Group) -> int:
    (keys, _), *_ = group[1]
    return keys.shape[2]


def _best(logits: mx.array) -> tuple[mx.array | np.ndarray, mx.array | np.ndarray]:
    """The likeliest tokens (N,) and their log-probabilities."""
    if cpu.serves(logits):
        return cpu.best_tokens(logits)
    logprobs = logits.max(axis=-1) - mx.logsumexp(logits, axis=-1)
    return logits.argmax(axis=-1).astype(mx.int32), logprobs
