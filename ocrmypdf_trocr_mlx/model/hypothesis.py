"""What decoding gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Hypothesis:
    """What was read: the tokens without the start token, the end token included if it came.

    `logprobs` has the natural log-probability of each token given those before it.  Row t of
    `attention`, if asked for, is where token t was seen: weights over the S encoder positions
    (prefix tokens, then patches row by row), averaged over the heads of one decoder layer.
    """

    tokens: list[int]
    logprobs: list[float]
    attention: np.ndarray | None = None
