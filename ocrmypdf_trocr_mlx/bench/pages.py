"""The tables of whole pages: how well each engine reads them, and finds their lines and words."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .boxes import BoxScore, Fragment, fragment_score, is_off, line_score, word_score
from .engines import Engine, Found, Timed, timed
from .report import number, percent
from .scores import TextScore, score
from .truth import TruthPage, is_case_blind, named, read_folder, spread

log = logging.getLogger(__name__)

READING = ("set", "engine", "pages", "fCER %", "CER %", "F1 %", "off truth %")
FINDING = (
    "covered %",
    "cut %",
    "off %",
    "merged %",
    "lines %",
    "words %",
    "word IoU",
    "s/page",
    "CPU s/page",
)


@dataclass
class Result:
    """One engine on one page, or on the pages of a folder added up.

    `off_truth`: characters read in lines that lie on no line of the truth: invented ones, but
    also those of a letterhead that the truth leaves out.
    """

    pages: int = 0
    text: TextScore = field(default_factory=TextScore)
    boxes: BoxScore = field(default_factory=BoxScore)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    off_truth: int = 0

    def __add__(self, other: Result) -> Result:
        return Result(
            self.pages + other.pages,
            self.text + other.text,
            self.boxes + other.boxes,
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.off_truth + other.off_truth,
        )


def measure(page: TruthPage, timing: Timed, reading: bool, nocase: bool) -> Result:
    """Compare what was found on a page with its truth; where it was not read, only the boxes."""
    lines = [line.box for line in page.lines if line.box is not None]
    found = [line.box for line in timing.found.lines]
    boxes = line_score(lines, found) + fragment_score(fragments(page), found)
    if timing.found.words or not timing.found.lines:
        words = [word.box for word in page.words]
        boxes += word_score(words, [word.box for word in timing.found.words])
    text, off = TextScore(), 0
    if reading:
        read = [line.text for line in timing.found.lines]
        text = score([line.text for line in page.lines], read, nocase)
        off = sum(len(line.text) for line in timing.found.lines if is_off(line.box, lines))
    return Result(1, text, boxes, timing.seconds, timing.cpu_seconds, off)


def fragments(page: TruthPage) -> list[Fragment]:
    """The smallest boxes that are known: the words of each line, or the line itself."""
    parts: list[Fragment] = []
    for line in page.lines:
        boxes = [word.box for word in line.words]
        if not boxes and line.box is not None:
            boxes = [line.box]
        parts += [Fragment(box, max(b.height for b in boxes)) for box in boxes]
    return parts


@dataclass
class Table:
    """Results by folder, engine and page."""

    pages: dict[tuple[str, str], dict[str, Result]] = field(default_factory=dict)

    def totals(self) -> dict[tuple[str, str], Result]:
        return {key: sum(pages.values(), Result()) for key, pages in self.pages.items()}

    def reading_rows(self) -> list[list[str]]:
        """Rows under READING and FINDING."""
        return [
            [*key, str(r.pages), *_reading(r), *_finding(r)] for key, r in self.totals().items()
        ]

    def finding_rows(self) -> list[list[str]]:
        """Rows under the first three of READING and FINDING."""
        return [[*key, str(r.pages), *_finding(r)] for key, r in self.totals().items()]

    def to_json(self) -> list[dict[str, Any]]:
        """One record for each folder, engine and page."""
        return [
            {"set": folder, "engine": engine, "page": name, **asdict(result)}
            for (folder, engine), pages in self.pages.items()
            for name, result in pages.items()
        ]


def _reading(result: Result) -> list[str]:
    text = result.text
    off = result.off_truth / max(1, text.characters)
    return [percent(share) for share in (text.fcer, text.cer, text.f1, off)]


def _finding(result: Result) -> list[str]:
    boxes = result.boxes
    return [
        percent(boxes.fragment_recall),
        percent(boxes.cut / max(1, boxes.fragments)),
        percent(boxes.off / max(1, boxes.boxes)),
        percent(boxes.merged / max(1, boxes.boxes)),
        percent(boxes.line_recall),
        percent(boxes.word_recall),
        number(boxes.mean_overlap),
        number(result.seconds / max(1, result.pages)),
        number(result.cpu_seconds / max(1, result.pages)),
    ]


def run(
    folders: list[Path],
    engines: dict[str, Engine],
    limit: int | None = None,
    reading: bool = True,
    nocase: bool = False,
    save: Path | None = None,
) -> Table:
    """Run the engines on the pages of the folders, one after the other on each page.

    `reading`: compare the text, too, without regard to case where a folder's truth has none.
    `save`: a folder for what each engine found, in the form of the truth.
    """
    table = Table()
    for folder in folders:
        every = read_folder(folder)
        pages = spread(every, limit)
        blind = reading and (nocase or is_case_blind(page.text for page in every))
        for count, page in enumerate(pages, start=1):
            log.info("%s: page %d of %d, %s", folder.name, count, len(pages), page.name)
            for name, engine in engines.items():
                timing = timed(engine, page.image)
                results = table.pages.setdefault((named(folder.name, blind), name), {})
                results[page.name] = measure(page, timing, reading, blind)
                if save is not None:
                    _save(timing.found, page, save / folder.name / name)
    return table


def _save(found: Found, page: TruthPage, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [{"text": line.text, "bbox": list(vars(line.box).values())} for line in found.lines]
    data = {"image": str(page.image), "lines": lines}
    path = folder / f"{page.name}.json"
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
