"""The log of a training as a picture: loss and held-out CER over the steps."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from .loop import read_log

_SIZE = (960, 540)
_LEFT, _TOP, _RIGHT, _BOTTOM = 80, 40, 80, 50
_LOSS, _CER, _GRID, _INK = (31, 119, 180), (214, 39, 40), (225, 225, 225), (60, 60, 60)
_TICKS = 5

Points = list[tuple[float, float]]


def plot_log(folder: Path) -> Path:
    """Draw log.csv of the folder as loss.png beside it."""
    rows = read_log(folder)
    losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    cers = [(row["step"], 100 * row["cer"]) for row in rows if "cer" in row]
    image = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(image)
    last = max((x for x, _ in losses), default=1.0)
    _grid(draw, last)
    _curve(draw, losses, last, _LOSS, "loss", left=True)
    _curve(draw, cers, last, _CER, "CER %", left=False)
    path = folder / "loss.png"
    image.save(path)
    return path


def _x(value: float, last: float) -> float:
    return _LEFT + (_SIZE[0] - _LEFT - _RIGHT) * value / max(1.0, last)


def _y(share: float) -> float:
    return _SIZE[1] - _BOTTOM - (_SIZE[1] - _TOP - _BOTTOM) * share


def _curve(
    draw: ImageDraw.ImageDraw,
    points: Points,
    last: float,
    colour: tuple[int, int, int],
    title: str,
    left: bool,
) -> None:
    """The points, if any, over an axis of their own from 0, at the left or the right edge."""
    if not points:
        return
    top = _round_up(max(y for _, y in points))
    font = ImageFont.load_default(16)
    edge = 12 if left else _SIZE[0] - _RIGHT + 12
    for i in range(_TICKS + 1):
        y = _y(i / _TICKS)
        draw.text((edge, y), f"{top * i / _TICKS:.3g}", colour, font, anchor="lm")
    draw.text((edge, 16), title, colour, font, anchor="lm")
    line = [(_x(x, last), _y(min(1.0, y / top))) for x, y in points]
    draw.line(line, colour, 2)
    if len(line) < 60:
        for x, y in line:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), colour)


def _grid(draw: ImageDraw.ImageDraw, last: float) -> None:
    """Level lines, and the steps below."""
    font = ImageFont.load_default(16)
    for i in range(_TICKS + 1):
        y = _y(i / _TICKS)
        draw.line((_LEFT, y, _SIZE[0] - _RIGHT, y), _GRID)
        x = _x(last * i / _TICKS, last)
        draw.text((x, _SIZE[1] - 24), f"{last * i / _TICKS:.0f}", _INK, font, anchor="mm")


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 5, 10) if value <= m * power)
