"""Paper that isn't flat: how the lines on it run, and their letters moved as if it were flat.

Long runs of letters show the slope of the lines around them.  From place to place along these
slopes one comes along a line, whatever lies between; on the flat page a letter stands as high as
its line does in the middle of the page.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from .clutter import Mask
from .lines import TextLine
from .segments import Segment

# Slopes are seen over so many letters, in runs that are so many letter sizes wide.
WINDOW, STEP, LONG = 9, 4, 10.0
# In letter sizes: the cells of the field of slopes, and how far around it a run tells of them.
CELL, ALONG, ACROSS = 4.0, 6.0, 10.0
# Steeper ones are no lines'; so different from those around them, they are strays.
WALL, STRAY = 0.5, 0.12
# A page is bent where so many runs, and such a share of them, are steep and for the most part
# differ from what is around them by this share of the slope; and where letters, against others,
# would be moved by so many letter sizes.  Lines find together over less, each with a bend of its
# own.
LEAST, SHARE, STEEP, ALIKE, FLAT = 12, 0.08, 0.05, 0.25, 1.0
# In letter sizes: a line of a bent page is straight where it is so nearly.
STRAIGHT = 0.05


@dataclass
class Surface:
    """The slopes of the lines of a page: float (rows, columns), dy/dx in cells of `cell` pixels.

    No slopes at all: the page is flat.  At x = `middle` the heights of the flat page are those of
    the page itself.  `tilt`: degrees by which the page must be turned, counter-clockwise, for its
    lines to be level in the mean.
    """

    slopes: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    cell: float = 1.0
    middle: float = 0.0
    tilt: float = 0.0

    @property
    def is_flat(self) -> bool:
        return not self.slopes.size

    def flat(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How high points of the page, x and y (N,), are on the flat one."""
        return self._along(x, np.full_like(x, self.middle), y)

    def bent(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """How high points of the flat page, x and y (N,), are on the page."""
        return self._along(np.full_like(x, self.middle), x, y)

    def _along(self, start: np.ndarray, end: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The height at x = `end` of the lines that are as high as `y` at x = `start`, all (N,)."""
        steps = int(np.ceil(np.abs(end - start).max() / self.cell))
        h = (end - start) / max(steps, 1)
        for k in range(steps):
            x = start + k * h
            y = y + h * self._slope(x + h / 2, y + h / 2 * self._slope(x, y))
        return y

    def _slope(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Between the middles of cells."""
        rows, columns = self.slopes.shape
        u = np.clip(x / self.cell - 0.5, 0, columns - 1.001)
        v = np.clip(y / self.cell - 0.5, 0, rows - 1.001)
        i, j = v.astype(int), u.astype(int)
        a, b = v - i, u - j
        upper = (1 - b) * self.slopes[i, j] + b * self.slopes[i, j + 1]
        return (1 - a) * upper + a * (
            (1 - b) * self.slopes[i + 1, j] + b * self.slopes[i + 1, j + 1]
        )

    def flattened(self, boxes: np.ndarray) -> np.ndarray:
        """Letters' boxes x0, y0, x1, y1, (N, 4 and more), on the flat page: moved, none turned."""
        x, feet = (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]
        moved = boxes.copy()
        moved[:, [1, 3]] += (self.flat(x, feet) - feet)[:, None]
        return moved

    def flattened_mask(self, mask: Mask) -> Mask:
        """A mask of the page, uint8 (H, W), as it is on the flat page."""
        height, width = mask.shape
        x, y = np.arange(0.0, width, self.cell / 2), np.arange(0.0, height, self.cell / 2)
        xs, ys = (grid.ravel() for grid in np.meshgrid(x, y))
        moved = (self.bent(xs, ys) - ys).reshape(len(y), len(x)).astype(np.float32)
        # From the grid's points to every pixel: pixel x lies at 2 x / cell on the grid.
        scale = np.float32(2 / self.cell)
        columns, rows = np.meshgrid(
            np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        )
        moved = cv2.remap(
            moved, columns * scale, rows * scale, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return cv2.remap(mask, columns, rows + moved, cv2.INTER_NEAREST)

    def bent_line(self, line: TextLine) -> TextLine:
        """A line of the flat page on the page."""
        if self.is_flat:
            return line
        count = max(2, round(line.width / self.cell) + 1)
        x = np.linspace(line.left, line.right, count)
        y = self.bent(x, line.base(x))
        straight = replace(line, y_left=float(y[0]), y_right=float(y[-1]), bend=())
        if np.abs(y - straight.base(x)).max() < STRAIGHT * line.size:
            return straight
        return line.along(x, y)


def find_surface(segments: list[Segment], shape: tuple[int, int], size: float) -> Surface:
    """How the lines of a page, of `shape` (H, W), run: most letters are `size` pixels high."""
    x, y, slope = _slopes(segments).T
    if not len(x):
        return Surface()
    cell = CELL * size
    surface = Surface(_blurred(x, y, slope, shape, cell), cell, float(x.min() + x.max()) / 2)
    # Twice more, for what the blur took off where slopes change.
    for _ in range(2):
        off = slope - surface._slope(x, y)
        near = np.abs(off) < STRAY
        surface.slopes = surface.slopes + _blurred(x[near], y[near], off[near], shape, cell)
    if not _is_bent(surface, x, y, slope, size):
        return Surface()
    surface.tilt = float(np.degrees(np.arctan(np.mean(surface._slope(x, y)))))
    return surface


def _is_bent(
    surface: Surface, x: np.ndarray, y: np.ndarray, slope: np.ndarray, size: float
) -> bool:
    """Do many runs of letters clearly slope, as others near them do?"""
    around = surface._slope(x, y)
    steep = np.abs(around) > STEEP
    if steep.sum() < max(LEAST, SHARE * len(x)) or np.ptp(surface.flat(x, y) - y) < FLAT * size:
        return False
    off = np.abs(slope - around)[steep]
    return float(np.median(off)) < ALIKE * float(np.median(np.abs(around[steep])))


def _slopes(segments: list[Segment]) -> np.ndarray:
    """(n, 3) x, y and slope (Theil-Sen) of the feet of each few letters of long segments."""
    feet = [
        np.column_stack(((s.letters[:, 0] + s.letters[:, 2]) / 2, s.letters[:, 3]))
        for s in segments
        if s.right - s.left > LONG * s.size and len(s.letters) >= WINDOW
    ]
    if not feet:
        return np.empty((0, 3))
    at = np.arange(WINDOW)
    windows = np.concatenate(
        [f[np.arange(0, len(f) - WINDOW + 1, STEP)[:, None] + at] for f in feet]
    )
    x, y = windows[..., 0], windows[..., 1]
    i, j = np.triu_indices(WINDOW, WINDOW // 3)
    slope = np.median((y[:, j] - y[:, i]) / np.maximum(x[:, j] - x[:, i], 1.0), axis=1)
    found = np.column_stack((np.median(windows, axis=1), slope))
    return found[np.abs(slope) < WALL]


def _blurred(
    x: np.ndarray,
    y: np.ndarray,
    slope: np.ndarray,
    shape: tuple[int, int],
    cell: float,
) -> np.ndarray:
    """The mean slope around each cell; 0 where there is none far and wide."""
    rows, columns = (max(2, int(np.ceil(n / cell))) for n in shape)
    at = (np.clip(y / cell, 0, rows - 1).astype(int), np.clip(x / cell, 0, columns - 1).astype(int))
    total, count = np.zeros((2, rows, columns))
    np.add.at(total, at, slope)
    np.add.at(count, at, 1)
    along, across, border = ALONG / CELL, ACROSS / CELL, cv2.BORDER_REPLICATE
    total, count = (
        cv2.GaussianBlur(v, (0, 0), sigmaX=along, sigmaY=across, borderType=border)
        for v in (total, count)
    )
    return total / np.maximum(count, 1e-3)
