"""Beam search, step by step as transformers does it, with keys and values kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import mlx.core as mx
import numpy as np

from .constraints import Constraints
from .decoder import KeysValues
from .hypothesis import Hypothesis
from .options import GenerateOptions
from .trocr import TrOCR

# What transformers adds to a score to rule it out; a true infinity would order ties otherwise.
_OUT = np.float32(-1e9)


@dataclass
class _Node:
    """A token of a hypothesis; hypotheses with a common beginning share their nodes."""

    token: int
    logprob: float
    attention: np.ndarray | None
    parent: _Node | None


@dataclass
class _Finished:
    score: np.float32
    node: _Node | None
    complete: bool


def _path(node: _Node | None) -> list[_Node]:
    nodes = []
    while node is not None:
        nodes.append(node)
        node = node.parent
    return nodes[::-1]


@dataclass
class _Image:
    """The search for one image: running beams with their sums of log-probabilities."""

    beams: int
    running: list[_Node | None] = field(init=False)
    scores: np.ndarray = field(init=False)
    finished: list[_Finished] = field(init=False)
    hopeful: bool = True  # a running beam may still beat a finished one
    done: bool = False

    def __post_init__(self) -> None:
        self.running = [None] * self.beams
        # All beams begin alike: only the first may go on, or all would stay alike.
        self.scores = np.full(self.beams, _OUT, np.float32)
        self.scores[0] = 0
        self.finished = [_Finished(_OUT, None, False)] * self.beams

    def step(
        self,
        candidates: list[tuple[np.float32, int, _Node]],
        length: int,
        options: GenerateOptions,
    ) -> list[int]:
        """Take the best candidates (score, beam they come from, node), best first.

        `length` counts the tokens so far with the start token, without the candidates'.
        Returns, for each beam that runs on, the one it comes from.
        """
        at_end = length + 1 >= options.max_length
        stops = [at_end or node.token in options.eos for _, _, node in candidates]
        self._finish(candidates, stops, length, options)
        totals = np.array([score for score, _, _ in candidates], np.float32)
        totals += np.where(stops, _OUT, np.float32(0))
        chosen = np.argsort(-totals, kind="stable")[: self.beams]
        self.scores = totals[chosen]
        self.running = [candidates[i][2] for i in chosen]
        self._judge(length + 1, options)
        full = all(f.complete for f in self.finished) and options.early_stopping is True
        self.done = all(stops) or full or not self.hopeful
        return [candidates[i][1] for i in chosen]

    def _finish(
        self,
        candidates: list[tuple[np.float32, int, _Node]],
        stops: list[bool],
        length: int,
        options: GenerateOptions,
    ) -> None:
        """Keep the best finished ones; only the first `beams` candidates may finish."""
        full = all(f.complete for f in self.finished) and options.early_stopping is True
        if full or not self.hopeful:
            return
        divisor = np.float32(length**options.length_penalty)
        new = [
            _Finished(score / divisor, node, True)
            for (score, _, node), stop in zip(candidates[: self.beams], stops, strict=False)
            if stop
        ]
        merged = sorted([*self.finished, *new], key=lambda f: -f.score)
        self.finished = merged[: self.beams]

    def _judge(self, length: int, options: GenerateOptions) -> None:
        """Whether the best running beam could still enter the finished ones."""
        if options.early_stopping == "never" and options.length_penalty > 0:
            length = options.max_length
        best = self.scores[0] / np.float32((length - 1) ** options.length_penalty)
        worst = min(f.score for f in self.finished)
        self.hopeful = self.hopeful and any(
            best > (worst if f.complete else _OUT) for f in self.finished
        )

    def hypothesis(self) -> Hypothesis:
        nodes = _path(self.finished[0].node)
        rows = [n.attention for n in nodes if n.attention is not None]
        return Hypothesis(
            [n.token for n in nodes], [n.logprob for n in nodes], np.stack(rows) if rows else None
        )


def beam_search(
    model: TrOCR,
    memory: list[KeysValues],
    options: GenerateOptions,
    between: Callable[[], None],
) -> list[Hypothesis]:
    """`memory`: what the decoder reads of M images; returns the best hypothesis of each.

    `between` is called before every step.
    """
    beams = options.num_beams
    images = [_Image(beams) for _ in range(memory[0][0].shape[0])]
    active = list(images)
    constraints = Constraints(options)
    layer = options.attention_layer % len(memory) if options.keep_attention else None
    decoding = model.decoding(memory, layer)
    tokens = mx.full((len(images) * beams,), options.start, mx.int32)
    for length in range(1, options.max_length):
        between()
        logits, weights = decoding.step(tokens)
        logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        scores = logprobs
        if constraints:
            sequences = [
                [options.start, *(n.token for n in _path(node))]
                for image in active
                for node in image.running
            ]
            scores = constraints(mx.array(logprobs), sequences)
        seen = None if weights is None else np.array(weights)
        origins = []
        for i, (image, best) in enumerate(
            zip(active, _best(active, scores, logprobs, options), strict=True)
        ):
            candidates = []
            for score, beam, token, logprob in best:
                attention = None if seen is None else seen[i * beams + beam]
                node = _Node(token, logprob, attention, image.running[beam])
                candidates.append((score, beam, node))
            origins.append(image.step(candidates, length, options))
        if all(image.done for image in active):
            break
        keep = [i for i, image in enumerate(active) if not image.done]
        rows = [i * beams + beam for i in keep for beam in origins[i]]
        decoding.take(rows, keep if len(keep) < len(active) else None)
        active = [active[i] for i in keep]
        tokens = mx.array([n.token for image in active for n in image.running if n])
    return [image.hypothesis() for image in images]


def _best(
    active: list[_Image], scores: mx.array, logprobs: mx.array, options: GenerateOptions
) -> list[list[tuple[np.float32, int, int, float]]]:
    """For each image the best continuations: (sum, beam, token, the token's log-probability).

    So many that, should the best all end, there are still enough to go on with.
    """
    beams, vocabulary = options.num_beams, scores.shape[-1]
    count = max(2, 1 + len(options.eos)) * beams
    sums = scores.reshape(len(active), beams, vocabulary)
    sums = sums + mx.array(np.stack([image.scores for image in active]))[..., None]
    sums = sums.reshape(len(active), -1)
    order = mx.argpartition(-sums, count - 1, axis=-1)[:, :count]
    top = mx.take_along_axis(sums, order, axis=-1)
    single = mx.take_along_axis(logprobs.reshape(len(active), -1), order, axis=-1)
    mx.eval(order, top, single)
    result = []
    for ids, values, logs in zip(*map(np.array, (order, top, single)), strict=True):
        result.append(
            [
                (values[i], int(ids[i]) // vocabulary, int(ids[i]) % vocabulary, float(logs[i]))
                for i in np.lexsort((ids, -values))
            ]
        )
    return result
