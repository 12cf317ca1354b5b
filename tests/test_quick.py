"""A small model reads first; the large one reads what that is not sure of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import Checkpoint, load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.recognizer import Recognizer, quick
from ocrmypdf_trocr_mlx.recognizer.pieces import LineImage, Transcript
from ocrmypdf_trocr_mlx.recognizer.quick import QuickFirst, is_sure, load_quick
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber
from ocrmypdf_trocr_mlx.samples import TEXTS, rendered_line

ATTENTION = np.ones((1, 4), np.float32)


def transcript(text: str, likely: float = 0.0) -> Transcript:
    """A text of which the last character is `likely`."""
    logprobs = [0.0] * (len(text) - 1) + [likely]
    return Transcript([*text], logprobs, ATTENTION, 0.25)


@pytest.fixture(scope="module")
def models() -> tuple[Checkpoint, Checkpoint]:
    backend.prepare("cpu")
    folder = resolve(None)
    small = load_quick(folder, 1)
    assert small is not None
    return load(folder), small


@pytest.fixture
def asked(monkeypatch) -> dict[str, list[int]]:
    """How many lines each model was asked for at a time."""
    counts: dict[str, list[int]] = {"bundled": [], "quick": []}

    def count(name: str) -> None:
        read = getattr(Transcriber, name)

        def counting(self, images, between: Callable[[], None]) -> list:
            counts[self._checkpoint.name].append(len(images))
            return read(self, images, between)

        monkeypatch.setattr(Transcriber, name, counting)

    count("__call__")
    count("confirmed")
    return counts


@pytest.mark.parametrize(
    ("found", "sure"),
    [
        (transcript("surely", likely=-0.15), True),
        (transcript("surely", likely=-3.0), False),  # one letter may be another
        (transcript("41"), True),
        (transcript("1841", likely=-0.15), False),  # no word tells which figure it is
        (transcript("It"), True),
        (transcript("It", likely=-0.15), False),
        (transcript("  "), True),
        (transcript("  ", likely=-0.15), False),
    ],
)
def test_sure_is_what_is_likely(found: Transcript, sure: bool) -> None:
    assert is_sure(found) == sure


def test_what_is_doubtful_is_read_again_in_its_place(models, monkeypatch) -> None:
    large, small = models
    given: dict[str, list[LineImage]] = {}

    def confirmed(self, images, between: Callable[[], None]) -> list[Transcript | None]:
        given[self._checkpoint.name] = images
        return [transcript("clear"), transcript("d0ubtful", -2.0), None]

    def read(self, images, between: Callable[[], None]) -> list[Transcript]:
        given[self._checkpoint.name] = images
        return [transcript("doubtful"), transcript("clearer")]

    monkeypatch.setattr(Transcriber, "confirmed", confirmed)
    monkeypatch.setattr(Transcriber, "__call__", read)
    lines = [LineImage(np.zeros((48, 64), np.uint8), width) for width in (10, 20, 30)]
    found = QuickFirst(large, small)(lines)
    assert ["".join(t.texts) for t in found] == ["clear", "doubtful", "clearer"]
    assert given == {"quick": lines, "bundled": lines[1:]}


def test_what_is_doubtful_waits_while_more_comes(models, monkeypatch) -> None:
    large, small = models
    asked: list[list[int]] = []

    def confirmed(self, images, between: Callable[[], None]) -> list[Transcript | None]:
        return [transcript("clear") if x.width % 20 else None for x in images]

    def read(self, images, between: Callable[[], None]) -> list[Transcript]:
        asked.append([x.width for x in images])
        return [transcript("hard") for _ in images]

    monkeypatch.setattr(Transcriber, "confirmed", confirmed)
    monkeypatch.setattr(Transcriber, "__call__", read)
    sizes = ((10, 64), (20, 32), (30, 64), (40, 96), (50, 64))
    lines = [LineImage(np.zeros((48, padded), np.uint8), width) for width, padded in sizes]
    odd = LineImage(lines[0].pixels, 15, unusual=True)
    reading = QuickFirst(large, small).begin()
    found = []
    for images in (lines[:2], lines[2:], [odd]):
        reading.add(images, lambda: None)
        found.append({i: "".join(t.texts) for i, t in reading.step(lambda: None)})
    assert found == [{0: "clear"}, {2: "clear", 4: "clear"}, {1: "hard", 3: "hard", 5: "hard"}]
    assert asked == [[40, 15, 20]] and not len(reading)  # by their padded widths


def test_confirmed_is_what_is_read_and_drafted_alike(models) -> None:
    """Of lines under more and more noise some are drafted wrongly."""
    transcriber = Transcriber(models[1])
    random = np.random.default_rng(4)
    lines = [rendered_line(text) for text in TEXTS for _ in range(4)]
    for i, line in enumerate(lines):
        noise = random.normal(0, 40 * (i % 4), line.shape)
        lines[i] = np.clip(line + noise, 0, 255).astype(np.uint8)
    images = sorted(map(transcriber.fitting, lines), key=lambda image: image.width)
    confirmed, read = transcriber.confirmed(images), transcriber(images)
    for a, b in zip(confirmed, read, strict=True):
        assert (a is not None) == (b.agreement == 1.0 and b.texts[-1:] == [""])
        if a is not None:
            assert a.texts == b.texts
            np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-4)
            np.testing.assert_allclose(a.attention, b.attention, atol=1e-4)
    assert 4 < sum(a is None for a in confirmed) < 28


def test_most_clear_lines_are_read_by_the_small_model_alone(models, asked) -> None:
    recognizer = Recognizer(models[0], device="cpu", quick=models[1])
    try:
        futures = recognizer.submit_all([rendered_line(text) for text in TEXTS])
        found = [future.result() for future in futures]
    finally:
        recognizer.close()
    assert [reading.text for reading in found] == [*TEXTS]
    assert sum(asked["quick"]) == len(TEXTS)
    assert sum(asked["bundled"]) <= len(TEXTS) / 2
    # Words stand where the large model sees them.
    alone = Recognizer(models[0], device="cpu")
    try:
        expected = alone.read([rendered_line(text) for text in TEXTS])
    finally:
        alone.close()
    for mine, its in zip(found, expected, strict=True):
        for a, b in zip(mine.words, its.words, strict=True):
            assert abs(a.left - b.left) <= 3 and abs(a.right - b.right) <= 3


def test_what_is_hard_to_read_is_read_by_the_large_model(models, asked) -> None:
    hard = rendered_line(TEXTS[0]) + np.random.default_rng(0).normal(0, 120, (48, 1))
    hard = cv2.blur(np.clip(hard, 0, 255).astype(np.uint8), (9, 9))
    recognizer = Recognizer(models[0], device="cpu", quick=models[1])
    try:
        recognizer.submit(hard).result()
    finally:
        recognizer.close()
    assert asked == {"quick": [1], "bundled": [1]}


def test_lines_that_come_from_anywhere_are_read_by_the_large_model(models, asked) -> None:
    recognizer = Recognizer(models[0], device="cpu", quick=models[1])
    try:
        found = recognizer.read([rendered_line(text) for text in TEXTS])
    finally:
        recognizer.close()
    assert [reading.text for reading in found] == [*TEXTS]
    assert (asked["quick"], sum(asked["bundled"])) == ([], len(TEXTS))


def test_it_is_asked_on_processors_and_for_the_likeliest_text_only(monkeypatch, tmp_path) -> None:
    folder = resolve(None)
    assert load_quick(folder, 4) is None  # beams: who asks for them wants the best there is
    assert load_quick(tmp_path, 1) is None
    monkeypatch.setattr(quick, "on_cpu", lambda: False)
    assert load_quick(folder, 1) is None


def test_other_images_are_refused(models) -> None:
    large, small = models
    processor = dataclasses.replace(small.processor, height=64)
    with pytest.raises(CheckpointError, match="its images are not those of bundled"):
        QuickFirst(large, dataclasses.replace(small, processor=processor))
