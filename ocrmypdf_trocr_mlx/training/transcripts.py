"""Lines of ALTO and PAGE XML, cut from their page images.

Such files come from Transkribus, eScriptorium, kraken, Larex and others; namespaces differ by
version, so elements are known by their local names alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from lxml import etree

from .crop import cut_line
from .data import IMAGE_SUFFIXES, UNREADABLE, Found, Line, Problem, clean_text, decode_gray
from .errors import TrainingError


@dataclass(frozen=True)
class _Drawn:
    """A transcribed line; points (N, 2) in the units of the file."""

    id: str
    text: str
    polygon: np.ndarray | None
    baseline: np.ndarray | None


@dataclass(frozen=True)
class _Page:
    """`width` is that of the page in the units of the points, None where they are pixels."""

    image: str
    width: float | None
    lines: list[_Drawn]


def read_transcript(path: Path, required: bool) -> Found:
    """The lines of a file; one that is neither ALTO nor PAGE is passed over unless `required`."""
    try:
        root = _parse(path)
    except (OSError, etree.XMLSyntaxError) as e:
        if required:
            raise TrainingError(f"{path}: not XML that can be read: {e}") from e
        yield Problem(str(path), f"not XML that can be read: {e}")
        return
    kind = etree.QName(root).localname.lower()
    if kind not in _FORMATS:
        if required:
            raise TrainingError(f"{path}: neither ALTO nor PAGE, its root is <{kind}>")
        return
    for page in _FORMATS[kind](root):
        yield from _cut(path, page)


def _parse(path: Path) -> etree._Element:
    """Without entities, DTDs or the network: the file may come from anywhere."""
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, remove_comments=True
    )
    root = etree.fromstring(path.read_bytes(), parser)
    if root is None:
        raise OSError("it is empty")
    return root


def _cut(path: Path, page: _Page) -> Found:
    image = _find_image(path, page.image)
    if image is None:
        yield Problem(str(path), f"its page image {page.image!r} is neither beside it nor above")
        return
    try:
        pixels = decode_gray(image.read_bytes())
    except UNREADABLE as e:
        yield Problem(str(image), f"the image cannot be read: {e}")
        return
    scale = pixels.shape[1] / page.width if page.width else 1.0
    for drawn in page.lines:
        yield _line(path, drawn, pixels, scale)


def _line(path: Path, drawn: _Drawn, pixels: np.ndarray, scale: float) -> Line | Problem:
    name = f"{path}#{drawn.id}"
    text = clean_text(drawn.text)
    if not text:
        return Problem(name, "its text is empty")
    if drawn.polygon is None or len(drawn.polygon) < 2:
        return Problem(name, "it has neither a polygon nor a box")
    baseline = None if drawn.baseline is None else scale * drawn.baseline
    try:
        return Line(name, text, cut_line(pixels, scale * drawn.polygon, baseline), str(path))
    except ValueError as e:
        return Problem(name, str(e))


def _find_image(path: Path, named: str) -> Path | None:
    """The page image: as named, or as the XML is, in its folder, above, or in a folder there.

    A path inside the file is another machine's: only the name counts.
    """
    name = PurePosixPath(PureWindowsPath(named).as_posix()).name
    stems = [path.stem, PurePosixPath(name).stem]
    names = [name, *(stem + suffix for stem in stems for suffix in IMAGE_SUFFIXES)]
    folders = [path.parent, path.parent.parent, *sorted(path.parent.parent.glob("im*/"))]
    candidates = (folder / n for n in names if n for folder in folders)
    return next((c for c in candidates if c.is_file() and c != path), None)


# ---- PAGE


def _read_page(root: etree._Element) -> Iterator[_Page]:
    for page in _all(root, "Page"):
        lines = [
            _Drawn(
                line.get("id", "?"),
                _page_text(line),
                _points(_child(line, "Coords")),
                _points(_child(line, "Baseline")),
            )
            for line in _all(page, "TextLine")
        ]
        width = _number(page, "imageWidth")
        yield _Page(page.get("imageFilename", ""), width, lines)


def _page_text(line: etree._Element) -> str:
    """The line's own text, of several the first; else that of its words."""
    texts = _children(line, "TextEquiv")
    if not texts:
        return " ".join(_page_text(word) for word in _children(line, "Word"))
    best = min(texts, key=lambda t: _number(t, "index") or 0)
    unicode = _child(best, "Unicode")
    return "" if unicode is None else unicode.text or ""


# ---- ALTO


def _read_alto(root: etree._Element) -> Iterator[_Page]:
    names = [e.text or "" for e in _all(root, "fileName")]
    for page in _all(root, "Page"):
        lines = [
            _Drawn(line.get("ID", "?"), _alto_text(line), _alto_polygon(line), _alto_baseline(line))
            for line in _all(page, "TextLine")
        ]
        # Units may be pixels, tenths of millimetres or 1/1200 inch: the page's width tells.
        yield _Page(names[0].strip() if names else "", _number(page, "WIDTH"), lines)


def _alto_text(line: etree._Element) -> str:
    parts = []
    for element in line:
        kind = etree.QName(element).localname if isinstance(element.tag, str) else ""
        if kind in ("String", "HYP"):
            parts.append(element.get("CONTENT", ""))
        elif kind == "SP":
            parts.append(" ")
    if not any(part == " " for part in parts):  # words without the spaces between them
        return " ".join(_with_hyphen(parts, line))
    return "".join(parts)


def _with_hyphen(parts: list[str], line: etree._Element) -> list[str]:
    """The hyphen joined to the word it follows."""
    if len(parts) > 1 and _children(line, "HYP"):
        return [*parts[:-2], parts[-2] + parts[-1]]
    return parts


def _alto_polygon(line: etree._Element) -> np.ndarray | None:
    shape = _child(line, "Shape")
    polygon = None if shape is None else _points(_child(shape, "Polygon"), "POINTS")
    if polygon is not None:
        return polygon
    box = [_number(line, key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    if None in box:
        return None
    x, y, w, h = (v or 0.0 for v in box)
    return np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])


def _alto_baseline(line: etree._Element) -> np.ndarray | None:
    """Points, or in ALTO up to 4.1 one number, the height of a level baseline."""
    points = _points(line, "BASELINE")
    return points if points is not None and len(points) > 1 else None


# ---- both


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def _points(element: etree._Element | None, key: str = "points") -> np.ndarray | None:
    """Pairs of numbers, however they are parted: "1,2 3,4" or "1 2 3 4"."""
    values = [] if element is None else _NUMBER.findall(element.get(key, ""))
    if len(values) < 2:
        return None
    return np.array([float(v) for v in values[: len(values) // 2 * 2]]).reshape(-1, 2)


def _number(element: etree._Element, key: str) -> float | None:
    match = _NUMBER.search(element.get(key, ""))
    return float(match.group()) if match else None


def _all(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return element.iter(f"{{*}}{name}")


def _children(element: etree._Element, name: str) -> list[etree._Element]:
    return element.findall(f"{{*}}{name}")


def _child(element: etree._Element, name: str) -> etree._Element | None:
    return element.find(f"{{*}}{name}")


_FORMATS: dict[str, Callable[[etree._Element], Iterator[_Page]]] = {
    "pcgts": _read_page,
    "alto": _read_alto,
}
