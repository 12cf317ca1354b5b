"""Greedy search that has the decoder check drafts: several tokens a pass, the same texts."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import mlx.core as mx
import numpy as np

from .decoder import Decoder, KeysValues, KVCache
from .draft import Draft
from .hypothesis import Growing, Hypothesis
from .options import GenerateOptions

# Enough for a GPU; fewer texts are padded less, and the host looks at some while it reads others.
_TEXTS_AT_ONCE = 256


class Said(NamedTuple):
    """What the decoder says after each of the L tokens that it was given of a text.

    `tokens` and `logprobs` (L,), and `attention` (L, S) if it is kept.
    """

    tokens: np.ndarray
    logprobs: np.ndarray
    attention: np.ndarray | None


class Checker(Protocol):
    """The decoder's side; rows are numbered as the images are."""

    def check(self, rows: list[int], given: list[list[int]]) -> list[Said]:
        """What is said after each of the given tokens, which follow what was kept of the rows."""

    def keep(self, row: int, count: int) -> None:
        """So many of the tokens last given were right."""


class _PassedOn(KVCache):
    """Keys and values of a pass that begins with the text: all there are, and not kept."""

    def update(self, both: mx.array) -> KeysValues:
        return both[0], both[1]


class Checking:
    """A checker that keeps no keys: on a GPU a pass over a whole text costs what a step does.

    Texts of about one length are passed together, all asked before the first answer is awaited.
    """

    def __init__(self, decoder: Decoder, memory: list[KeysValues], weights_of: int | None):
        self._decoder = decoder
        self._memory = memory
        self._weights_of = weights_of
        self._kept: list[list[int]] = [[] for _ in range(memory[0][0].shape[0])]
        self._given: dict[int, list[int]] = {}

    def check(self, rows: list[int], given: list[list[int]]) -> list[Said]:
        self._given = dict(zip(rows, given, strict=True))
        by_length = sorted(rows, key=lambda row: len(self._kept[row]) + len(self._given[row]))
        asked = []
        for i in range(0, len(rows), _TEXTS_AT_ONCE):
            some = by_length[i : i + _TEXTS_AT_ONCE]
            asked.append((some, self._ask(some)))
        said: dict[int, Said] = {}
        for some, answer in asked:
            tokens, logprobs = np.array(answer[0]), np.array(answer[1])
            seen = None if answer[2] is None else np.array(answer[2])
            for i, row in enumerate(some):
                start = len(self._kept[row])
                part = slice(start, start + len(self._given[row]))
                attention = None if seen is None else seen[i, part]
                said[row] = Said(tokens[i, part], logprobs[i, part], attention)
        return [said[row] for row in rows]

    def _ask(self, rows: list[int]) -> tuple[mx.array, mx.array, mx.array | None]:
        """What is said after each token of some texts, under way: `Said` of (N, L)."""
        texts = [self._kept[row] + self._given[row] for row in rows]
        lengths = np.array([len(text) for text in texts])
        used = np.arange(lengths.max()) < lengths[:, None]
        padded = np.full(used.shape, self._decoder.config.pad_token_id, np.int32)
        padded[used] = list(itertools.chain(*texts))
        memory = self._memory
        if rows != list(range(len(self._kept))):
            taken = mx.array(rows)
            memory = [(k[taken], v[taken]) for k, v in memory]
        caches: list[KVCache] = [_PassedOn() for _ in memory]
        logits, weights = self._decoder(mx.array(padded), memory, caches, self._weights_of)
        logits = logits.astype(mx.float32)
        best = logits.argmax(axis=-1)
        logprobs = logits.max(axis=-1) - mx.logsumexp(logits, axis=-1)
        seen = None if weights is None else weights.astype(mx.float32)
        mx.async_eval(best, logprobs, seen)
        return best, logprobs, seen

    def keep(self, row: int, count: int) -> None:
        self._kept[row] += self._given[row][:count]


def check_drafts(
    checker: Checker,
    drafts: list[list[int]],
    options: GenerateOptions,
    between: Callable[[], None],
    lengths: Sequence[int] | None = None,
) -> list[Hypothesis]:
    """The texts that greedy search gives, however good or bad the drafts are.

    `lengths` are the texts' own `max_length`.
    """
    lengths = lengths or [options.max_length] * len(drafts)
    of_length = {n: dataclasses.replace(options, max_length=n) for n in set(lengths)}
    texts = [Growing(of_length[length]) for length in lengths]
    expected = [Draft(tokens) for tokens in drafts]
    last = [options.start] * len(drafts)
    active = [row for row, text in enumerate(texts) if text.room]
    while active:
        between()
        given = [[last[i], *expected[i].ahead(texts[i].room - 1)] for i in active]
        for row, tokens, said in zip(active, given, checker.check(active, given), strict=True):
            new = said.tokens.tolist()
            right = 1 + _agreed(tokens[1:], new)
            new = new[:right]
            seen = None if said.attention is None else said.attention[:right]
            texts[row].extend(new, said.logprobs[:right].tolist(), seen)
            expected[row].say(new)
            if not texts[row].done:
                checker.keep(row, right)
                last[row] = new[-1]
        active = [row for row in active if not texts[row].done]
    return [
        text.hypothesis(draft.agreement(len(text.tokens) - 1))
        for text, draft in zip(texts, expected, strict=True)
    ]


def confirm_drafts(
    checker: Checker, drafts: list[list[int]], options: GenerateOptions, lengths: Sequence[int]
) -> list[Hypothesis | None]:
    """The drafts that are all that greedy search gives; None for the others.

    A single pass tells that.
    """
    found: list[Hypothesis | None] = [None] * len(drafts)
    # With its start and its end a text must not be longer than its `max_length`.
    rows = [i for i, most in enumerate(lengths) if len(drafts[i]) + 2 <= most]
    given = [[options.start, *drafts[row]] for row in rows]
    for row, said in zip(rows, checker.check(rows, given) if rows else [], strict=True):
        tokens = said.tokens.tolist()
        if tokens[:-1] == drafts[row] and tokens[-1] in options.eos:
            found[row] = Hypothesis(tokens, said.logprobs.tolist(), said.attention)
    return found


def _agreed(draft: list[int], said: list[int]) -> int:
    """How many tokens of a draft are what was said, up to the first that is not."""
    if said[:-1] == draft:
        return len(draft)
    return next(i for i, pair in enumerate(zip(draft, said, strict=False)) if pair[0] != pair[1])
