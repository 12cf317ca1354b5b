"""Tokens that may not, or must, come next: transformers' logits processors."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx

from .options import GenerateOptions


class Constraints:
    """Applied to the scores of a step (N, V); false where the options ask for nothing."""

    def __init__(self, options: GenerateOptions):
        self.options = options

    def __bool__(self) -> bool:
        o = self.options
        return bool(
            o.no_repeat_ngram_size
            or o.min_length > 1
            or o.forced_bos_token_id is not None
            or o.forced_eos_token_id
            or o.suppress_tokens
            or o.begin_suppress_tokens
        )

    def __call__(self, scores: mx.array, sequences: Sequence[Sequence[int]]) -> mx.array:
        """`sequences`: the tokens of each row so far, start token first.

        They are of one length, but for those of texts that are done.
        """
        o, length = self.options, max(map(len, sequences))
        if o.no_repeat_ngram_size:
            scores = self._ban_ngrams(scores, sequences)
        if length < o.min_length:
            scores = _ban(scores, o.eos)
        if length == 1 and o.forced_bos_token_id is not None:
            scores = _force(scores, (o.forced_bos_token_id,))
        if length == o.max_length - 1 and o.forced_eos_token_id:
            scores = _force(scores, o.forced_eos_token_id)
        scores = _ban(scores, o.suppress_tokens)
        if length == (1 if o.forced_bos_token_id is None else 2):
            scores = _ban(scores, o.begin_suppress_tokens)
        return scores

    def _ban_ngrams(self, scores: mx.array, sequences: Sequence[Sequence[int]]) -> mx.array:
        size = self.options.no_repeat_ngram_size
        pairs = [
            (row, token)
            for row, tokens in enumerate(sequences)
            for token in repeats(tokens, size)
            if token < scores.shape[-1]
        ]
        if pairs:
            rows, tokens = zip(*pairs, strict=True)
            scores[mx.array(rows), mx.array(tokens)] = -mx.inf
        return scores


def repeats(tokens: Sequence[int], size: int) -> set[int]:
    """The tokens that would complete an n-gram of this size a second time."""
    prefix = list(tokens[len(tokens) + 1 - size :])
    starts = range(len(tokens) - size + 1)
    return {tokens[i + size - 1] for i in starts if list(tokens[i : i + size - 1]) == prefix}


def _ban(scores: mx.array, tokens: Sequence[int]) -> mx.array:
    if tokens:
        scores[:, mx.array(list(tokens))] = -mx.inf
    return scores


def _force(scores: mx.array, tokens: Sequence[int]) -> mx.array:
    forced = mx.full(scores.shape, -mx.inf, scores.dtype)
    forced[:, mx.array(list(tokens))] = 0
    return forced
