"""What GPUs are given to do, done by MLX on whatever there is: the results are the same."""

from __future__ import annotations

from collections.abc import Iterator

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from test_checkpoints import published_weights, write
from test_drafts import FAMILIES, random_model

from ocrmypdf_trocr_mlx.checkpoints import parallel
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.model import attention, cpu, encoding, portions
from ocrmypdf_trocr_mlx.model.generate import nothing
from ocrmypdf_trocr_mlx.model.trocr import TrOCR
from ocrmypdf_trocr_mlx.recognizer.pieces import Transcript
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber
from ocrmypdf_trocr_mlx.samples import TEXTS, rendered_line


@pytest.fixture(params=FAMILIES)
def model(request) -> Iterator[TrOCR]:
    mx.set_default_device(mx.cpu)
    with cpu.left_to_mlx():
        yield random_model(request.param)


def pictures(count: int) -> mx.array:
    return mx.random.normal((count, 16, 64, 1), key=mx.random.key(5))


@pytest.mark.parametrize("size", [1, 50_000, 1 << 30])
def test_portions_of_a_batch(model: TrOCR, monkeypatch, size: int) -> None:
    pixels = pictures(7)
    expected = model.encode(pixels)
    monkeypatch.setattr(portions, "PORTION_BYTES", size)
    monkeypatch.setattr(encoding, "PORTION_BYTES", size)
    called: list[int] = []
    states = encoding._encode_in_portions(
        model, pixels, expected.shape[1], lambda: called.append(1)
    )
    assert len(called) == {1: 7, 50_000: 4, 1 << 30: 1}[size]
    np.testing.assert_allclose(states, expected, atol=5e-5)
    for ours, theirs in zip(encoding.memory_of(model, states), model.memory(expected), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=5e-5)


def test_portions_wait_for_the_one_before(monkeypatch) -> None:
    monkeypatch.setattr(portions, "PORTION_BYTES", 10)
    events: list[tuple[str, int]] = []
    monkeypatch.setattr(mx, "async_eval", lambda x: events.append(("begin", len(x))))
    monkeypatch.setattr(mx, "eval", lambda x: events.append(("wait", len(x))))
    queue, x = portions.Portions(), mx.zeros(1)
    for size in (4, 5, 1, 20):
        queue.add(size, x)
    assert events == [("begin", 1), ("wait", 0), ("begin", 1), ("wait", 1)]


@pytest.mark.parametrize("name", ["published", "bundled"])
def test_weights_read_by_several_threads(tmp_path, monkeypatch, name: str) -> None:
    """A checkpoint in floats, and one whose 8-bit storage must be expanded first."""
    mx.set_default_device(mx.cpu)
    folder = resolve("bundled") if name == "bundled" else write(tmp_path, published_weights())
    expected = load(folder, mx.float16).model.parameters()
    monkeypatch.setattr(parallel, "serves", lambda source: True)
    found = load(folder, mx.float16).model.parameters()
    for (key, ours), (_, theirs) in zip(tree_flatten(found), tree_flatten(expected), strict=True):
        assert ours.dtype == theirs.dtype and mx.array_equal(ours, theirs), key


def test_plain_products_for_attention(model: TrOCR, monkeypatch) -> None:
    memory = model.memory(model.encode(pictures(3)))
    tokens = mx.array([[2, 7, 8, 3, 9, 11], [2, 6, 5, 1, 1, 1], [2, 4, 4, 4, 4, 4]])
    expected = model.decoder(tokens, memory)[0]
    monkeypatch.setattr(attention, "_is_plain", lambda queries, keys, masked: True)
    found = model.decoder(tokens, memory)[0]
    np.testing.assert_allclose(found, expected, atol=5e-5)


def test_transcripts_of_lines_that_join() -> None:
    """Of all widths, some while others are read; the same as a processor's."""
    mx.set_default_device(mx.cpu)
    checkpoint = load(resolve(None))
    transcriber = Transcriber(checkpoint)
    random = np.random.default_rng(3)
    lines = []
    for i, text in enumerate([t[: 3 + 9 * k] for t in TEXTS for k in range(3)]):
        line = rendered_line(text).astype(np.float32)
        noisy = line + random.normal(0, 60 * (i % 3 == 0), line.shape)
        lines.append(transcriber.fitting(noisy.clip(0, 255).astype(np.uint8)))
    expected = transcriber(lines)
    assert len({line.pixels.shape[1] for line in lines}) > 4
    found: dict[int, Transcript] = {}
    with cpu.left_to_mlx():
        reading = Transcriber(checkpoint).begin()
        for i in range(0, len(lines), 5):
            reading.add(lines[i : i + 5], nothing)
            found |= reading.step(nothing)
        while reading:
            found |= reading.step(nothing)
    for number, theirs in enumerate(expected):
        ours = found[number]
        assert ours.texts == theirs.texts and ours.agreement == theirs.agreement
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-3)
        np.testing.assert_allclose(ours.attention, theirs.attention, atol=1e-3)
