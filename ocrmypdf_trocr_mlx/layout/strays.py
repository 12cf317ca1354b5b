"""Pieces of ink that a segment gathered from above and below its line: each on its own again.

Blurred along the line, a pile of digits at its end, a scribble or a stain joins its ridge; with
them the line would be as high as they reach.
"""

from __future__ import annotations

import numpy as np

from .segments import Segment, quantile

# In letter sizes: accents and descenders make no line higher than HIGH.
HIGH = 2.4
# Letters and marks (lower than LETTER) of the line have their feet at most so far above the tops
# of most letters, and their heads at most so far below the baseline.
LETTER, ABOVE, BELOW = 0.6, (0.1, 0.5), (-0.1, 0.6)
# At most this share of the pieces is taken off.
MOST = 0.5
# Feet so near each other stand on one baseline.
LEVEL = 0.3


def without_strays(segment: Segment) -> list[Segment]:
    """The segment less the pieces that stand off its line, and a segment for each of these."""
    chars, size = segment.chars, segment.size
    if len(chars) < 4 or segment.bottom - segment.top < HIGH * size:
        return [segment]
    base, top = _band(segment)
    high = chars[:, 3] - chars[:, 1] > LETTER * size
    above, below = (np.where(high, of_letter, of_mark) for of_letter, of_mark in (ABOVE, BELOW))
    off = (chars[:, 3] < top - above * size) | (chars[:, 1] > base + below * size)
    # Noise has no line that most of it stands on.
    if not 0 < np.count_nonzero(off) < MOST * len(off):
        return [segment]
    share = segment.area / len(chars)
    own = Segment(chars[~off], share * np.count_nonzero(~off), segment.ground)
    return [own, *(Segment(piece[None], share, segment.ground) for piece in chars[off])]


def _band(segment: Segment) -> tuple[float, float]:
    """The height that most letters, by their width, stand at, and that of the tops of most."""
    letters = segment.letters[np.argsort(segment.letters[:, 3], kind="stable")]
    feet = letters[:, 3]
    reach = LEVEL * segment.size
    first, last = np.searchsorted(feet, feet - reach), np.searchsorted(feet, feet + reach, "right")
    widths = np.append(0.0, np.cumsum(letters[:, 2] - letters[:, 0]))
    k = int(np.argmax(widths[last] - widths[first]))
    return float(feet[k]), quantile(letters[first[k] : last[k], 1], 0.25)
