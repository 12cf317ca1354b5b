"""Lines of many threads, read by several lanes with one model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.model.config import DecoderConfig, EncoderConfig, TrOCRConfig
from ocrmypdf_trocr_mlx.recognizer import Recognizer, service, sizes
from ocrmypdf_trocr_mlx.recognizer.pieces import Fitting, LineImage, Transcript
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber
from ocrmypdf_trocr_mlx.training.evaluate import edit_distance

FONT = ImageFont.load_default(32)


def line(text: str, ink: int = 0) -> np.ndarray:
    image = Image.new("L", (int(FONT.getlength(text)) + 40, 48), 255)
    ImageDraw.Draw(image).text((20, 4), text, font=FONT, fill=ink)
    return np.asarray(image)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load(resolve(None))


def test_each_line_gets_its_own_reading(checkpoint: Checkpoint) -> None:
    words = ["number", "seven", "total", "amount", "of", "the", "customer", "today", "and"]
    # From one word to lines so long that they are read in pieces.
    texts = [" ".join((words * 5)[i : i + 1 + i % 12]) for i in range(36)]
    recognizer = Recognizer(checkpoint, device="cpu", batch_size=4, lanes=3)
    try:
        with ThreadPoolExecutor(4) as pages:
            parts = pages.map(recognizer.read, [[line(t) for t in texts[i::4]] for i in range(4)])
            read = [[reading.text for reading in part] for part in parts]
    finally:
        recognizer.close()
    for part, own in zip(read, [texts[i::4] for i in range(4)], strict=True):
        for text, truth in zip(part, own, strict=True):
            # A model may take a letter for another; a line or a piece gone astray is far more.
            assert edit_distance(text, truth) <= 1


class AtOnce:
    """What a stand-in has begun: it reads all that there is at a step."""

    def __init__(self, read: Callable[[Sequence[LineImage], Callable[[], None]], list[Transcript]]):
        self._read = read
        self._images: list[LineImage] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._images)

    def add(self, images: Sequence[LineImage], between: Callable[[], None]) -> None:
        self._images += images

    def step(self, between: Callable[[], None]) -> list[tuple[int, Transcript]]:
        images, self._images = self._images, []
        first, self._count = self._count, self._count + len(images)
        return list(enumerate(self._read(images, between), first))


class Slow:
    """Stands in for the transcriber: says "a", after a while, and fails where there is no black."""

    mixes = False

    def __init__(self, fitting: Fitting) -> None:
        self.fitting = fitting
        self.lock = threading.Lock()
        self.at_work = self.most = 0
        self.sizes: list[int] = []

    def warm_up(self) -> None:
        pass

    def begin(self) -> AtOnce:
        return AtOnce(self)

    def __call__(self, images: Sequence, between: Callable[[], None]) -> list[Transcript]:
        with self.lock:
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            self.sizes.append(len(images))
        time.sleep(0.05)
        with self.lock:
            self.at_work -= 1
        if any(image.pixels.min() > 50 for image in images):
            raise ValueError("no black")
        return [Transcript(["a"], [0.0], np.ones((1, 4), np.float32), 0.25) for _ in images]


def slow_recognizer(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, batch_size: int, lanes: int
) -> tuple[Recognizer, Slow]:
    stand_in = Slow(Transcriber(checkpoint).fitting)
    monkeypatch.setattr(service, "Transcriber", lambda checkpoint, beams: stand_in)
    recognizer = Recognizer(checkpoint, device="cpu", batch_size=batch_size, lanes=lanes)
    return recognizer, stand_in


@pytest.fixture
def slow(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch):
    recognizer, stand_in = slow_recognizer(checkpoint, monkeypatch, batch_size=8, lanes=3)
    yield recognizer, stand_in
    recognizer.close()


def test_lanes_work_at_the_same_time_and_pieces_come_together(slow) -> None:
    recognizer, stand_in = slow
    long = line("many words of one line that is much too long to be read at once " * 2)
    readings = recognizer.read([long] * 40)
    assert stand_in.most == 3
    assert len({reading.text for reading in readings}) == 1 and len(readings[0].words) == 3


def test_a_gpu_is_given_all_lines_of_a_page_together(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "on_cpu", lambda: False)
    recognizer, stand_in = slow_recognizer(checkpoint, monkeypatch, batch_size=40, lanes=1)
    try:
        assert len(recognizer.read([line("same")] * 70)) == 70
    finally:
        recognizer.close()
    assert stand_in.sizes == [40, 30]


def test_only_the_guilty_line_fails(slow) -> None:
    recognizer, _ = slow
    gray = line("gray", ink=100)
    futures = [recognizer.submit(crop) for crop in [line("fine"), gray, line("fine")] * 5]
    errors = [future.exception(10) for future in futures]
    assert [str(e) if e else "" for e in errors] == ["", "no black", ""] * 5


def test_closing_ends_all_lanes_and_fails_what_waits(slow) -> None:
    recognizer, _ = slow
    futures = [recognizer.submit(line("waiting")) for _ in range(100)]
    recognizer.close()
    done = [future.exception(10) for future in futures]
    assert any("closed" in str(e) for e in done if e)
    with pytest.raises(RuntimeError, match="closed"):
        recognizer.submit(line("too late"))


# Drafts of clean lines are checked in one step, beams take one for each letter.
@pytest.mark.parametrize(("beams", "last"), [(1, 1), (2, 5)])
def test_closing_ends_a_batch_between_two_steps(
    checkpoint: Checkpoint, beams: int, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[None] = []
    check_open = Recognizer._check_open

    def step(recognizer: Recognizer) -> None:
        steps.append(None)
        if len(steps) == last:
            recognizer.close()
        check_open(recognizer)

    monkeypatch.setattr(Recognizer, "_check_open", step)
    recognizer = Recognizer(checkpoint, device="cpu", batch_size=8, beams=beams, lanes=1)
    futures = [recognizer.submit(line("a line of many letters")) for _ in range(8)]

    assert all("closed" in str(future.exception(30)) for future in futures)
    assert len(steps) == last


class OneAfterTheOther:
    """Stands in for the transcriber of a GPU: texts are as many steps long as their images are
    wide, in characters."""

    mixes = True

    def __init__(self, fitting: Fitting) -> None:
        self.fitting = fitting
        self.events: list[str] = []
        self.left: dict[int, int] = {}
        self.count = 0
        self.warm = False

    def warm_up(self) -> None:
        self.warm = True

    def begin(self) -> OneAfterTheOther:
        assert self.warm and not self.left
        self.count = 0
        return self

    def add(self, images: Sequence, between: Callable[[], None]) -> None:
        self.events.append(f"+{len(images)}")
        self.left |= {self.count + i: image.width // 20 for i, image in enumerate(images)}
        self.count += len(images)

    def step(self, between: Callable[[], None]) -> list[tuple[int, Transcript]]:
        between()
        time.sleep(0.01)
        self.left = {number: steps - 1 for number, steps in self.left.items()}
        done = [number for number, steps in self.left.items() if steps <= 0]
        for number in done:
            del self.left[number]
        self.events.append(f"{len(done)} of {len(done) + len(self.left)}")
        return [(n, Transcript(["a"], [0.0], np.ones((1, 4), np.float32), 0.25)) for n in done]

    def __len__(self) -> int:
        return len(self.left)


def test_lines_take_the_places_of_those_that_are_done(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = OneAfterTheOther(Transcriber(checkpoint).fitting)
    monkeypatch.setattr(service, "Transcriber", lambda checkpoint, beams: stand_in)
    monkeypatch.setattr(service, "on_cpu", lambda: False)
    recognizer = Recognizer(checkpoint, device="cpu", batch_size=8, lanes=1)
    short, long = line("word"), line("a line of many more words than that, and one")
    try:
        readings = recognizer.read([long] * 4 + [short] * 12)
        assert recognizer.read([short])[0].text == "a"
    finally:
        recognizer.close()
    assert [reading.text for reading in readings] == ["a"] * 16
    joined = stand_in.events.index("+4", 1)
    assert stand_in.events[0] == "+8" and "4 of 8" in stand_in.events[:joined]
    assert "4 of 8" in stand_in.events[joined:], "the long ones were not waited for"


def test_batches_suit_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    line_model = TrOCRConfig(
        EncoderConfig(image_size=(48, 768), patch_size=(48, 8)),
        DecoderConfig(d_model=384, decoder_layers=3),
    )
    published = TrOCRConfig(EncoderConfig(image_size=(384, 384)), DecoderConfig())
    assert {sizes.suitable_batch(config) for config in (line_model, published)} == {32}
    monkeypatch.setattr(sizes, "on_cpu", lambda: False)
    for gigabytes, batches in ((80, (1024, 47)), (16, (600, 9)), (0.1, (3, 1))):
        monkeypatch.setattr(backend, "gpu_memory", lambda n=gigabytes: int(n * 2**30))
        found = (sizes.suitable_batch(line_model), sizes.suitable_batch(published))
        assert found == batches
