"""Images that join others that are being read say what they say alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import mlx.core as mx
import pytest
from greedy import assert_same, greedy
from test_drafts import FAMILIES, OPTIONS, random_model

from ocrmypdf_trocr_mlx.model import cpu, decoding, rounds
from ocrmypdf_trocr_mlx.model.generate import generate, nothing
from ocrmypdf_trocr_mlx.model.hypothesis import Hypothesis
from ocrmypdf_trocr_mlx.model.options import GenerateOptions
from ocrmypdf_trocr_mlx.model.rounds import Rounds
from ocrmypdf_trocr_mlx.model.running import Running
from ocrmypdf_trocr_mlx.model.stepping import Stepping
from ocrmypdf_trocr_mlx.model.trocr import TrOCR

# Numbers, widths and lengths of texts of the images that come one after the other.
COMING = [(5, 64, 30), (1, 64, 9), (4, 40, 30), (3, 64, 24), (2, 24, 1), (6, 64, 30)]


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    mx.set_default_device(mx.cpu)
    return request.param


@pytest.fixture
def model(family: str) -> TrOCR:
    return random_model(family)


@pytest.fixture(params=["numpy", "mlx", "gpu"])
def way(request) -> Iterator[str]:
    """On Linux processors numpy computes what MLX does elsewhere, and GPUs are a step ahead."""
    if request.param == "numpy":
        yield "numpy"
        return
    with cpu.left_to_mlx():
        yield request.param


def stepping(model: TrOCR, options: GenerateOptions, way: str) -> Stepping:
    found = Stepping(model, options)
    found._on_gpu = way == "gpu"
    return found


def coming() -> list[tuple[mx.array, int]]:
    return [
        (mx.random.normal((count, 16, width, 1), key=mx.random.key(i)), length)
        for i, (count, width, length) in enumerate(COMING)
    ]


def read_as_they_come(reading: Running, every: int) -> list[Hypothesis]:
    """A group joins after so many steps."""
    found = dict[int, Hypothesis]()
    for images, length in coming():
        reading.add(images, length, nothing)
        for _ in range(every):
            if reading:
                found |= reading.step(nothing)
    while reading:
        found |= reading.step(nothing)
    return [found[i] for i in range(len(found))]


@functools.cache
def alone(family: str, options: GenerateOptions) -> list[Hypothesis]:
    model = random_model(family)
    return [
        text
        for images, length in coming()
        for text in greedy(model, images, dataclasses.replace(options, max_length=length))
    ]


@pytest.mark.parametrize("changed", [{}, {"loop_limit": 3}, {"keep_attention": False}])
@pytest.mark.parametrize("every", [0, 1, 3])
def test_step_by_step(
    family: str, way: str, every: int, changed: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_ROOM", 4)  # which is soon doubled
    options = dataclasses.replace(OPTIONS, **changed)
    found = read_as_they_come(stepping(random_model(family), options, way), every)
    assert_same(found, alone(family, options))


@pytest.mark.parametrize("at_once", [2, 256])
@pytest.mark.parametrize("every", [0, 1, 3])
def test_by_drafts(family: str, every: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_TEXTS_AT_ONCE", at_once)
    with cpu.left_to_mlx():
        found = read_as_they_come(Rounds(random_model(family), OPTIONS), every)
    assert_same(found, alone(family, OPTIONS))
    assert any(0 < text.agreement < 1 for text in found), "some drafts should be wrong"


def test_they_take_the_places_of_others(model: TrOCR, way: str) -> None:
    """No batch is larger than it must be for the texts that are in the making."""
    reading, sizes = stepping(model, OPTIONS, way), []
    go_on = reading._go_on

    def counted() -> None:
        sizes.append((len(reading._rows), len(reading)))
        go_on()

    reading._go_on = counted  # type: ignore[method-assign]
    images = mx.random.normal((24, 16, 64, 1), key=mx.random.key(1))
    found = dict[int, Hypothesis]()
    for i in range(0, 24, 4):
        reading.add(images[i : i + 4], 30, nothing)
        found |= reading.step(nothing)
    while reading:
        found |= reading.step(nothing)
    assert_same([found[i] for i in range(24)], greedy(model, images, OPTIONS))
    assert max(rows for rows, _ in sizes) > 4, "none of them joined others"
    assert all(0.75 * rows < texts or rows == texts for rows, texts in sizes)


def test_nobody_waits_as_long_as_others_come(model: TrOCR, way: str) -> None:
    """An image of another width has its turn although ever more of the first width come."""
    reading, found = stepping(model, OPTIONS, way), dict[int, Hypothesis]()
    images = mx.random.normal((4, 16, 64, 1), key=mx.random.key(1))
    reading.add(images, 30, nothing)
    reading.add(mx.random.normal((1, 16, 40, 1), key=mx.random.key(2)), 30, nothing)
    for _ in range(12):
        found |= reading.step(nothing)
        reading.add(images[:1], 30, nothing)
    assert 4 in found


def test_texts_of_equal_length_where_a_constraint_is_for_these(model: TrOCR, way: str) -> None:
    ends = {"eos": tuple(range(2, 40, 3)), "min_length": 4, "forced_eos_token_id": (2,)}
    options = dataclasses.replace(OPTIONS, **ends, max_length=16)
    images = mx.random.normal((9, 16, 64, 1), key=mx.random.key(2))
    expected = [text for image in images for text in generate(model, image[None], options)]
    lengths = {len(text.tokens) for text in expected}
    assert min(lengths) >= 3 and max(lengths) == 15 and len(lengths) > 1
    assert all(text.tokens[-1] == 2 for text in expected if len(text.tokens) == 15)
    reading, found = stepping(model, options, way), dict[int, Hypothesis]()
    for i in range(0, 9, 3):
        reading.add(images[i : i + 3], options.max_length, nothing)
        found |= reading.step(nothing)
    while reading:
        found |= reading.step(nothing)
    assert_same([found[i] for i in range(9)], expected)


def test_what_interrupts_ends_it(model: TrOCR, way: str) -> None:
    def closed() -> None:
        raise KeyboardInterrupt

    for reading in (stepping(model, OPTIONS, way), Rounds(model, OPTIONS)):
        reading.add(mx.zeros((2, 16, 64, 1)), 30, nothing)
        with pytest.raises(KeyboardInterrupt):
            reading.step(closed)


def test_a_row_that_is_done_goes_no_further_than_the_last_position(model: TrOCR, way: str) -> None:
    """The first text has all positions there are, and then waits for others to be done."""
    options = dataclasses.replace(OPTIONS, eos=(), max_length=40)
    reading, found = stepping(model, options, way), dict[int, Hypothesis]()
    images = mx.random.normal((12, 16, 64, 1), key=mx.random.key(4))
    reading.add(images[:1], 40, nothing)
    reading.add(images[1:4], 20, nothing)
    found |= reading.step(nothing)
    assert sorted(found) == [1, 2, 3]
    reading.add(images[4:], 40, nothing)
    while reading:
        found |= reading.step(nothing)
    expected = greedy(model, images, options)
    assert_same([found[0], *(found[i] for i in range(4, 12))], expected[:1] + expected[4:])
