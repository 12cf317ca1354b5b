"""Percentiles of grey levels are numpy's, bit for bit."""

from __future__ import annotations

import numpy as np

from ocrmypdf_trocr_mlx.levels import percentiles, percentiles_of_counts

SHARES = (0.5, 3, 50, 90, 99)


def test_percentiles() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 500, 3000):
        for levels in (rng.integers(0, 256, size), rng.choice([20, 235], size)):
            gray = levels.astype(np.uint8)
            expected = np.percentile(gray, SHARES)
            np.testing.assert_array_equal(percentiles(gray, SHARES), expected)
            counts = np.bincount(gray, minlength=256)
            several = percentiles_of_counts(np.stack([counts, counts[::-1]]), SHARES)
            np.testing.assert_array_equal(several[0], expected)
            np.testing.assert_array_equal(several[1], np.percentile(255 - gray, SHARES))
