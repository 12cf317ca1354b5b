"""Reading order: columns, then rows; paragraphs and blocks on the way.

A gutter is a strip no line crosses.  It parts columns of running text only if both sides hold
lines that fill their column; beside a table's or receipt's gutter one reads on row by row.  Notes
beside running text, whose lines stand between its rows, are read after it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .lines import TextLine

# Notes are so many letter sizes wide at most, most of their lines so many at least, or they are
# specks, and their letters so much lower than the text's.  A
# line of them that is no more than this share of its size off a line of the text is level with
# it; so many at least, and most, are not.  They follow each other by no more than so many times
# their size, and the text has so many rows.
NOTES, WORD, LOWER, LEVEL, LEAST, PITCH, TEXT = 15.0, 3.0, 0.95, 0.15, 2, 3.5, 5

Row = list[TextLine]  # parts of one line, from left to right
Paragraph = list[Row]
Block = list[Paragraph]


@dataclass
class _Parts:
    """Line parts as columns of numbers; `row`: which of the page's rows each belongs to."""

    lines: list[TextLine]
    left: np.ndarray
    right: np.ndarray
    row: np.ndarray
    size: float

    def take(self, chosen: np.ndarray) -> _Parts:
        lines = [self.lines[i] for i in np.flatnonzero(chosen)]
        return _Parts(lines, self.left[chosen], self.right[chosen], self.row[chosen], self.size)


def reading_order(lines: list[TextLine]) -> list[Block]:
    """Blocks of paragraphs of rows of line parts, in reading order."""
    if not lines:
        return []
    ordered = [(t, i) for i, row in enumerate(_rows(lines)) for t in row]
    parts = _Parts(
        [t for t, _ in ordered],
        np.array([t.left for t, _ in ordered]),
        np.array([t.right for t, _ in ordered]),
        np.array([i for _, i in ordered]),
        float(np.median([t.size for t in lines])),
    )
    blocks: list[list[Row]] = []
    _read(parts, blocks)
    return [_paragraphs(rows) for rows in blocks if rows]


def _read(parts: _Parts, blocks: list[list[Row]]) -> None:
    """Append the rows of `parts` to `blocks`, a new block for each column."""
    gutter = _gutter(parts)
    if gutter is not None:
        for side in (parts.right <= gutter, parts.right > gutter):
            blocks.append([])
            _read(parts.take(side), blocks)
        blocks.append([])
        return
    notes = _notes(parts)
    if notes is not None:
        for side in (~notes, notes):
            blocks.append([])
            _read(parts.take(side), blocks)
        blocks.append([])
        return
    strip = _strips(parts)
    count = int(strip.max()) + 1
    if not blocks:
        blocks.append([])
    if count == 1:
        blocks[-1].extend(_rows(parts.lines))
        return
    i = 0
    while i < count:
        j = _columns_from(parts, strip, i, count)
        chosen = (strip >= i) & (strip < j)
        _read(parts.take(chosen), blocks)
        i = j


def _columns_from(parts: _Parts, strip: np.ndarray, i: int, count: int) -> int:
    """End of the longest run of strips from `i` that one gutter parts; i + 1 if none does."""

    def is_parted(end: int) -> bool:
        some = parts.take((strip >= i) & (strip < end))
        return _gutter(some) is not None or _notes(some) is not None

    most = i + 1
    while most < count:
        chosen = (strip >= i) & (strip < most + 1)
        if not len(_white(parts.left[chosen], parts.right[chosen], parts.size)[0]):
            break
        most += 1
    # A gutter that ends earlier than some white strip: first roughly, then to the strip.
    end = most
    while end > i + 1 and not is_parted(end):
        end -= max(1, (end - i) // 5)
    while i + 1 < end < most and is_parted(end + 1):
        end += 1
    return end


def _strips(parts: _Parts) -> np.ndarray:
    """The number, from the top, of the strip between blank rows that each part lies in."""
    # The x-height counts: descenders reach into the next line's ascenders.
    top = np.array([t.middle - 0.4 * t.size for t in parts.lines])
    bottom = np.array([t.middle + 0.4 * t.size for t in parts.lines])
    order = np.argsort(top, kind="stable")
    floor = np.maximum.accumulate(bottom[order])
    starts = np.append(False, top[order][1:] > floor[:-1])
    strip = np.empty(len(order), int)
    strip[order] = np.cumsum(starts)
    return strip


def _white(left: np.ndarray, right: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """(x, width) of the strips no part crosses, the widest first."""
    order = np.argsort(left, kind="stable")
    reach = np.maximum.accumulate(right[order])[:-1]
    width = left[order][1:] - reach
    wide = np.flatnonzero(width > 0.6 * size)
    wide = wide[np.argsort(-width[wide], kind="stable")]
    return reach[wide] + width[wide] / 2, width[wide]


def _gutter(parts: _Parts) -> float | None:
    """x of the widest gutter between two columns of running text, if there is one."""
    if len(parts.lines) < 6:
        return None
    for x in _white(parts.left, parts.right, parts.size)[0]:
        left = parts.right <= x
        if _is_column(parts, left) and _is_column(parts, ~left):
            return float(x)
    return None


def _notes(parts: _Parts) -> np.ndarray | None:
    """Which parts are notes beside running text, (N,) bool, if there are any."""
    if len(parts.lines) < TEXT + LEAST:
        return None
    for x in _white(parts.left, parts.right, parts.size)[0]:
        left = parts.right <= x
        for notes in (left, ~left):
            if _are_notes(parts, notes):
                return notes
    return None


def _are_notes(parts: _Parts, notes: np.ndarray) -> bool:
    """Is this side narrow, beside running text, and are its lines not the rows of that?"""
    if np.count_nonzero(notes) < LEAST:
        return False
    width = parts.right[notes].max() - parts.left[notes].min()
    rows_beside = np.count_nonzero(np.bincount(parts.row[~notes]))
    if width > NOTES * parts.size or rows_beside < TEXT or not _is_column(parts, ~notes):
        return False
    text = [t for t, is_note in zip(parts.lines, notes, strict=True) if not is_note]
    beside = [t for t, is_note in zip(parts.lines, notes, strict=True) if is_note]
    if np.median([t.width for t in beside]) < WORD * parts.size:
        return False
    size, usual = (float(np.median([t.size for t in some])) for some in (beside, text))
    pitch = np.diff(sorted(t.middle for t in beside))
    if size > LOWER * usual or pitch.max() > PITCH * size:
        return False
    # At the ends that are next to each other: lines may still slope.
    if beside[0].left < text[0].left:
        own, rows = [t.y_right for t in beside], [t.y_left for t in text]
    else:
        own, rows = [t.y_left for t in beside], [t.y_right for t in text]
    off = np.abs(np.subtract.outer(own, rows)).min(axis=1)
    between = off > LEVEL * np.array([t.size for t in beside])
    return bool(between.sum() >= LEAST and between.mean() > 0.5)


def _is_column(parts: _Parts, side: np.ndarray) -> bool:
    """At least three rows of running text: most rows fill most of the width."""
    if np.count_nonzero(side) < 3:
        return False
    width = parts.right[side].max() - parts.left[side].min()
    if width < 15 * parts.size:
        return False
    filled = np.bincount(parts.row[side], parts.right[side] - parts.left[side])
    filled = np.sort(filled[filled > 0])
    return len(filled) >= 3 and bool(filled[int(0.6 * (len(filled) - 1))] > 0.6 * width)


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
    pitch = [b[0].middle - a[0].middle for a, b in itertools.pairwise(rows)]
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
