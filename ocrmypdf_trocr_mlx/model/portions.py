"""Work for a GPU in portions, of which no more than two are under way.

The host is far ahead of a GPU, and what the kernels in its queue read stays in memory: a batch put
through a whole encoder at once leaves there what every layer computed, 5 GB for 32 images and a
model of base size.
"""

from __future__ import annotations

import mlx.core as mx

# A layer's work on so much should take a GPU longer than the host needs for the next: 32 images and
# a model of base size, waited for after each layer, took a fifth more time than all at once.
PORTION_BYTES = 512 << 20


class Portions:
    """Hands over what has come together, and waits for the portion before."""

    def __init__(self) -> None:
        self._pending = 0
        self._under_way: tuple[mx.array, ...] = ()

    def add(self, size: int, *arrays: mx.array) -> None:
        """The arrays are computed next; with what comes between, about so many bytes are written.

        Arrays that were added before, and are not among what these are made of, may be left out.
        """
        self._pending += size
        if self._pending < PORTION_BYTES:
            return
        mx.async_eval(arrays)
        mx.eval(self._under_way)
        self._under_way, self._pending = arrays, 0
