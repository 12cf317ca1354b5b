"""With a small model that reads first, pages are read one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest

from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.recognizer import Recognizer, service
from ocrmypdf_trocr_mlx.recognizer.pieces import Fitting, LineImage, Transcript
from ocrmypdf_trocr_mlx.recognizer.reading import Reading
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber

WAIT = 20.0


class InTurn:
    """Stands in for both models: tells the pages of lines by how wide these are, takes `steps` for
    each, and waits for `may_go` of a page before the first."""

    mixes = True

    def __init__(self, fitting: Fitting, pages: str, steps: int = 1) -> None:
        self.fitting = fitting
        self.pages, self.steps = pages, steps
        self.may_go = {page: threading.Event() for page in pages}
        self.began = {page: threading.Event() for page in pages}
        # What was begun with, and what was being read then.
        self.added: list[tuple[str, str]] = []
        self._left: dict[int, tuple[str, int]] = {}
        self._count = 0

    def begin(self) -> InTurn:
        self._count = 0
        return self

    def __len__(self) -> int:
        return len(self._left)

    def add(self, images: Sequence[LineImage], between: Callable[[], None]) -> None:
        pages = [self.pages[round(image.width / image.pixels.shape[0]) - 1] for image in images]
        at_work = "".join(sorted(page for page, _ in self._left.values()))
        self.added.append(("".join(sorted(pages)), at_work))
        self._left |= enumerate(((page, self.steps) for page in pages), self._count)
        self._count += len(images)

    def step(self, between: Callable[[], None]) -> list[tuple[int, Transcript]]:
        for page in {page for page, _ in self._left.values()}:
            self.began[page].set()
            assert self.may_go[page].wait(WAIT)
        self._left = {number: (page, steps - 1) for number, (page, steps) in self._left.items()}
        done = [number for number, (_, steps) in self._left.items() if not steps]
        for number in done:
            del self._left[number]
        return [(n, Transcript(["a"], [0.0], np.ones((1, 4), np.float32), 0.25)) for n in done]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load(resolve(None))


@contextmanager
def recognizer(
    stand_in: InTurn, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> Iterator[Recognizer]:
    monkeypatch.setattr(service, "QuickFirst", lambda checkpoint, quick: stand_in)
    found = Recognizer(checkpoint, device="cpu", batch_size=batch_size, lanes=1, quick=checkpoint)
    try:
        yield found
    finally:
        found.close()


def lines(stand_in: InTurn, page: str, count: int) -> list[np.ndarray]:
    """Crops with something black all over, whose shape tells their page."""
    width = 48 * (1 + stand_in.pages.index(page))
    return [np.tile(np.array([[0, 255]], np.uint8), (48, width // 2))] * count


def done(futures: list[Future[Reading]]) -> None:
    for future in futures:
        future.result(WAIT)


def test_the_first_page_is_read_first_and_few_lines_before_it(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = InTurn(Transcriber(checkpoint).fitting, "xABc")
    with recognizer(stand_in, checkpoint, monkeypatch, batch_size=8) as reader:
        futures = reader.submit_all(lines(stand_in, "x", 1))
        assert stand_in.began["x"].wait(WAIT)
        for page, count in (("A", 12), ("B", 12), ("c", 3)):
            futures += reader.submit_all(lines(stand_in, page, count))
        for event in stand_in.may_go.values():
            event.set()
        done(futures)
    # A batch has eight lines where there are as many, be it of the next page.
    batches = [pages for pages, _ in stand_in.added]
    assert batches == ["x", "AAAAAccc", "AAAAAAAB", "BBBBBBBB", "BBB"]


def test_only_lines_whose_turn_it_is_join_what_is_being_read(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = InTurn(Transcriber(checkpoint).fitting, "ABc", steps=3)
    with recognizer(stand_in, checkpoint, monkeypatch, batch_size=32) as reader:
        futures = reader.submit_all(lines(stand_in, "A", 12))
        futures += reader.submit_all(lines(stand_in, "B", 9))
        stand_in.may_go["A"].set()
        assert stand_in.began["B"].wait(WAIT)
        futures += reader.submit_all(lines(stand_in, "c", 2))
        stand_in.may_go["B"].set()
        stand_in.may_go["c"].set()
        done(futures)
    of_b = [at_work for pages, at_work in stand_in.added if "B" in pages]
    assert of_b == [""], "lines of a later page joined"
    assert ("cc", "B" * 9) in stand_in.added, "few lines waited"
    assert sum(pages.count("A") for pages, _ in stand_in.added) == 12
