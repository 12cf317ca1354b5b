"""Figures as pictures, by matplotlib, which need not be there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def drawn(path: Path, count: int, size: tuple[float, float]) -> Iterator[list[Any]]:
    """Axes, `count` side by side, to draw on; what is drawn is written as a PNG in the end.

    `size`: width and height of all, in inches.  Raises ImportError where matplotlib is missing.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, count, figsize=size, squeeze=False)
    try:
        yield list(axes[0])
        figure.savefig(path, format="png", dpi=120, bbox_inches="tight")
    finally:
        pyplot.close(figure)
