"""Reading order: columns, then rows; paragraphs and blocks on the way.

A gutter is a strip no line crosses.  It parts columns of running text only if both sides hold
lines that fill their column; beside a table's or receipt's gutter one reads on row by row.
"""

from __future__ import annotations

import numpy as np

from .lines import TextLine

Row = list[TextLine]  # parts of one line, from left to right
Paragraph = list[Row]
Block = list[Paragraph]


def reading_order(lines: list[TextLine]) -> list[Block]:
    """Blocks of paragraphs of rows of line parts, in reading order."""
    blocks: list[list[Row]] = []
    _read(lines, blocks)
    return [_paragraphs(rows) for rows in blocks if rows]


def _read(lines: list[TextLine], blocks: list[list[Row]]) -> None:
    """Append the rows of `lines` to `blocks`, a new block for each column."""
    gutter = _gutter(lines)
    if gutter is not None:
        for side in (True, False):
            blocks.append([])
            _read([t for t in lines if (t.right <= gutter) == side], blocks)
        blocks.append([])
        return
    strips = _strips(lines)
    if len(strips) == 1:
        if not blocks:
            blocks.append([])
        blocks[-1].extend(_rows(lines))
        return
    i = 0
    while i < len(strips):
        j = _columns_from(strips, i)
        _read([t for s in strips[i:j] for t in s], blocks)
        i = j


def _columns_from(strips: list[list[TextLine]], i: int) -> int:
    """End of the longest run of strips from `i` that one gutter parts; i + 1 if none does."""
    for j in range(len(strips), i + 1, -1):
        if j - i == len(strips):
            continue  # the whole was tried by the caller
        if _gutter([t for s in strips[i:j] for t in s]) is not None:
            return j
    return i + 1


def _strips(lines: list[TextLine]) -> list[list[TextLine]]:
    """Lines grouped by the horizontal strips that blank rows part, from top to bottom."""
    strips: list[list[TextLine]] = []
    floor = -np.inf
    for t in sorted(lines, key=lambda t: t.middle - 0.5 * t.size):
        # The x-height counts: descenders reach into the next line's ascenders.
        if t.middle - 0.4 * t.size > floor or not strips:
            strips.append([])
        strips[-1].append(t)
        floor = max(floor, t.middle + 0.4 * t.size)
    return strips


def _gutter(lines: list[TextLine]) -> float | None:
    """x of the widest gutter between two columns of running text, if there is one."""
    if len(lines) < 6:
        return None
    size = float(np.median([t.size for t in lines]))
    spans = sorted((t.left, t.right) for t in lines)
    best, where, reach = 0.6 * size, None, spans[0][1]
    for left, right in spans[1:]:
        if left - reach > best and _are_columns(lines, (left + reach) / 2, size):
            best, where = left - reach, (left + reach) / 2
        reach = max(reach, right)
    return where


def _are_columns(lines: list[TextLine], x: float, size: float) -> bool:
    sides = [[t for t in lines if t.right <= x], [t for t in lines if t.left >= x]]
    return all(_is_column(side, size) for side in sides)


def _is_column(side: list[TextLine], size: float) -> bool:
    """At least three rows of running text: most rows fill most of the width."""
    rows = _rows(side)
    if len(rows) < 3:
        return False
    left, right = min(t.left for t in side), max(t.right for t in side)
    if right - left < 15 * size:
        return False
    widths = np.array([sum(t.width for t in row) for row in rows])
    return bool(np.percentile(widths, 60) > 0.6 * (right - left))


def _rows(lines: list[TextLine]) -> list[Row]:
    """Line parts grouped into rows, from top to bottom, each from left to right."""
    rows: list[Row] = []
    for t in sorted(lines, key=lambda t: t.middle):
        for row in reversed(rows[-4:]):
            near = min(row, key=lambda u: max(u.left - t.right, t.left - u.right))
            y, v = (near.y_right, t.y_left) if near.right < t.left + 1 else (near.y_left, t.y_right)
            apart = t.left >= near.right - t.size or t.right <= near.left + t.size
            if apart and abs(y - v) < 0.45 * min(t.size, near.size) + 0.1 * max(t.size, near.size):
                row.append(t)
                break
        else:
            rows.append([t])
    for row in rows:
        row.sort(key=lambda t: t.left)
    return rows


def _paragraphs(rows: list[Row]) -> Block:
    """Rows parted where the leading grows, the size changes or a first line is indented."""
    block: Block = [[rows[0]]]
    pitch = [b[0].middle - a[0].middle for a, b in zip(rows, rows[1:], strict=False)]
    usual = float(np.median(pitch)) if pitch else 0.0
    for above, row, step in zip(rows, rows[1:], pitch, strict=False):
        a, b = above[0], row[0]
        looser = step > 1.35 * usual or step > 3.5 * max(a.size, b.size)
        resized = max(a.size, b.size) > 1.5 * min(a.size, b.size)
        indented = b.left - a.left > 1.5 * b.size and len(row) == 1 and len(block[-1]) > 1
        if looser or resized or indented or step < 0:
            block.append([])
        block[-1].append(row)
    return block
