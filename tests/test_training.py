"""Training: what is learned, that it resumes to the same weights, and what comes out of it."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from training_data import WORDS, parameters, render, write_checkpoint, write_pairs

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.convert import convert
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.weights import read_weights
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber
from ocrmypdf_trocr_mlx.training.augment import augment
from ocrmypdf_trocr_mlx.training.batches import IGNORED, Epochs, stream
from ocrmypdf_trocr_mlx.training.dataset import Limits, load_dataset
from ocrmypdf_trocr_mlx.training.errors import TrainingError
from ocrmypdf_trocr_mlx.training.evaluate import Evaluator, edit_distance
from ocrmypdf_trocr_mlx.training.finetune import FinetuneOptions, run
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder, UnknownCharacters
from ocrmypdf_trocr_mlx.training.lora import add_lora, fused_weights
from ocrmypdf_trocr_mlx.training.product import write_product
from ocrmypdf_trocr_mlx.training.trainer import Recipe, Trainer, frame_of

mx = pytest.importorskip("mlx.core")


@pytest.fixture(scope="module", autouse=True)
def _device():
    backend.prepare("cpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("source") / "model")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", WORDS)


@pytest.fixture
def options(source, pairs, tmp_path):
    return FinetuneOptions(
        data=[pairs],
        dev=[pairs],
        out=tmp_path / "out",
        model=str(source),
        epochs=3,
        batch_size=2,
        lr=1e-3,
        device="cpu",
    )


def samples(source, pairs):
    return load_dataset([pairs], LabelEncoder(source), Limits(32)).samples


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_ten_lines_are_learned_by_heart(source, pairs):
    """The pixels reach the text through the model as the recogniser runs it."""
    checkpoint = load(source)
    lines = samples(source, pairs)
    epochs = Epochs(lines, frame_of(checkpoint, 10), seed=0, augmented=False)
    recipe = Recipe(steps=150, lr=3e-3, warmup=20, ema=0.5)
    trainer = Trainer(checkpoint.model, checkpoint.processor, recipe)
    losses = [trainer(epochs.batch(i)).item() for i in range(recipe.steps)]
    assert losses[0] > 3
    assert losses[-1] < 0.15
    evaluator = Evaluator(checkpoint, lines, "cpu")
    try:
        with trainer.averaged():
            assert evaluator().cer < 0.05
    finally:
        evaluator.close()


def test_resuming_changes_nothing(source, pairs, tmp_path):
    """Six steps at once, and three, saved, and three more in another trainer: equal weights."""
    lines, recipe = samples(source, pairs), Recipe(steps=6, lr=1e-3, warmup=2)

    def trainer() -> tuple[Trainer, Epochs]:
        checkpoint = load(source)
        epochs = Epochs(lines, frame_of(checkpoint, 3), seed=1, augmented=True)
        return Trainer(checkpoint.model, checkpoint.processor, recipe), epochs

    whole, epochs = trainer()
    for i in range(6):
        whole(epochs.batch(i))
    first, epochs = trainer()
    for i in range(3):
        first(epochs.batch(i))
    first.save(tmp_path / "state.safetensors", {})
    second, epochs = trainer()
    second.load(tmp_path / "state.safetensors")
    assert second.step == 3
    for i in range(second.step, 6):
        second(epochs.batch(i))
    assert same(parameters(whole.model), parameters(second.model))
    assert not same(parameters(whole.model), parameters(first.model))
    with whole.averaged(), second.averaged():
        assert same(parameters(whole.model), parameters(second.model))


def test_interrupted_and_taken_up(options, tmp_path):
    """Ctrl-C ends a run after its step; the next one goes on to the same product."""
    whole = run(dataclasses.replace(options, out=tmp_path / "whole"))

    def interrupt(progress):
        if progress.phase == "training" and progress.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = run(options, interrupt)
    assert not stopped.finished
    assert 3 <= stopped.step < stopped.steps
    assert not (options.out / "config.json").exists()
    finished = run(options)
    assert finished.finished
    assert finished.after == whole.after
    assert finished.before == whole.before
    expected = parameters(load(whole.out).model)
    assert same(parameters(load(options.out).model), expected)
    rows = (options.out / "training" / "log.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[0]) for row in rows]
    assert steps == sorted(set(steps))
    assert steps[0] == 0
    assert steps[-1] == whole.steps
    assert (options.out / "training" / "loss.png").is_file()
    assert not list(options.out.glob(".product-*"))
    assert same(parameters(load(run(options).out).model), expected)  # finished: nothing changes


def test_other_settings_are_refused(options):
    run(dataclasses.replace(options, seconds=0))
    with pytest.raises(TrainingError, match=r"other settings \(lr was 0.001, is 0.002\)"):
        run(dataclasses.replace(options, lr=2e-3))


def test_no_checkpoint_is_overwritten(options, source):
    with pytest.raises(TrainingError, match="holds a checkpoint already"):
        run(dataclasses.replace(options, out=source))


def test_lora_fused_computes_the_same(source, tmp_path):
    from mlx.utils import tree_flatten

    model = load(source).model
    frozen = parameters(model)
    add_lora(model, rank=4, seed=0)
    learning = {name.rsplit(".", 1)[1] for name, _ in tree_flatten(model.trainable_parameters())}
    assert learning == {"lora_a", "lora_b"}
    random = np.random.default_rng(0)
    for name, module in model.named_modules():
        if name.endswith(("qkv_proj", "kv_proj", "fc1", "o_proj")):
            module.lora_b = mx.array(random.normal(0, 0.1, module.lora_b.shape), mx.float32)
    pixels = mx.array(random.normal(size=(2, 24, 144, 1)), mx.float32)
    tokens = mx.array([[2, 5, 6], [2, 7, 8]])
    expected = np.array(model(pixels, tokens))
    write_product(source, fused_weights(model), tmp_path)
    fused = load(tmp_path).model
    assert parameters(fused).keys() == frozen.keys()
    np.testing.assert_allclose(np.array(fused(pixels, tokens)), expected, atol=2e-5)
    assert np.abs(np.array(load(source).model(pixels, tokens)) - expected).max() > 1e-2


def test_lora_run(options):
    result = run(dataclasses.replace(options, lora=2, epochs=1))
    assert result.finished
    before, after = read_weights(Path(options.model)), read_weights(options.out)
    assert before.keys() == after.keys()
    changed = [k for k in before if not mx.array_equal(before[k], after[k]).item()]
    assert "decoder.model.decoder.layers.1.encoder_attn.v_proj.weight" in changed
    assert not [k for k in changed if "norm" in k or "embed" in k or k.endswith("bias")]


def test_product_of_a_packed_checkpoint(source, tmp_path):
    """8-bit storage is left for floats, under the same names."""
    convert(source, tmp_path / "packed", "int8")
    model = load(tmp_path / "packed").model
    (tmp_path / "out").mkdir()
    write_product(tmp_path / "packed", fused_weights(model), tmp_path / "out")
    assert read_weights(tmp_path / "out").keys() == read_weights(source).keys()
    for name, value in parameters(load(tmp_path / "out").model).items():
        np.testing.assert_allclose(value, parameters(model)[name], atol=1e-3)


def test_transformers_loads_the_product(options):
    """Key by key: nothing missing but the pooler that TrOCR has not, nothing unexpected."""
    pytest.importorskip("torch")
    from transformers import PreTrainedTokenizerFast, VisionEncoderDecoderModel

    run(dataclasses.replace(options, epochs=1))
    model, info = VisionEncoderDecoderModel.from_pretrained(options.out, output_loading_info=True)
    assert not info["unexpected_keys"]
    assert {k for k in info["missing_keys"] if "pooler" not in k} == set()
    import torch

    pixels = np.random.default_rng(0).normal(size=(1, 24, 144, 3)).astype(np.float32)
    tokens = [[2, 9, 10, 11]]
    with torch.no_grad():
        expected = model.eval()(
            pixel_values=torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()),
            decoder_input_ids=torch.tensor(tokens),
        ).logits.numpy()
    got = np.array(load(options.out).model(mx.array(pixels), mx.array(tokens)))
    np.testing.assert_allclose(got, expected, atol=1e-4)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.out)
    assert tokenizer.decode(tokenizer("amber 18").input_ids, skip_special_tokens=True) == "amber 18"


def test_labels_outside_the_characters(options, pairs, tmp_path, caplog):
    folder = write_pairs(tmp_path / "more", ["river", "Über", "stone"])
    result = run(dataclasses.replace(options, data=[folder], epochs=1))
    assert (result.lines, result.skipped, result.others) == (2, 1, 0)
    assert "characters outside the model's set: Ü" in result.reasons
    assert "001.png" in result.reasons
    assert "1 of 3 lines left out: 1: characters outside the model's set: Ü" in caplog.text
    assert "001.png" in caplog.text
    with pytest.raises(TrainingError, match=r"001\.png: characters outside"):
        run(
            dataclasses.replace(
                options, data=[folder], bad_lines="refuse", out=tmp_path / "refused"
            )
        )
    assert not (tmp_path / "refused").exists()


def test_unknown_characters_are_told(source):
    encode = LabelEncoder(source)
    assert encode("ab 1") == [5, 6, 4, 32]
    with pytest.raises(UnknownCharacters, match="ß é"):
        encode("béßa")


def test_no_tokenizer(tmp_path):
    with pytest.raises(CheckpointError, match="no tokenizer that encodes"):
        LabelEncoder(tmp_path)


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch_size": 0}, {"lr": 3.0}, {"bad_lines": "x"}, {"data": []}]
)
def test_options_that_make_no_sense(options, change):
    with pytest.raises(TrainingError, match=next(iter(change))):
        run(dataclasses.replace(options, **change))


def test_every_line_once_an_epoch(source, pairs):
    frame = frame_of(load(source), 2)
    epochs = Epochs(samples(source, pairs), frame, seed=0, augmented=False)

    def texts(epoch: int) -> list[tuple[int, ...]]:
        rows = []
        for number in range(len(epochs)):
            batch = epochs.batch(epoch * len(epochs) + number)
            assert batch.pixels.shape[2] in frame.widths
            for row in batch.targets:
                if (said := row[row != IGNORED]).size:
                    rows.append(tuple(said))
        return rows

    assert len(set(texts(0))) == len(texts(0)) == len(WORDS)
    assert sorted(texts(1)) == sorted(texts(0))
    assert texts(1) != texts(0)


@pytest.mark.parametrize("columns", [10, 47, 49, 60, 100, 133, 144, 500])
def test_lines_are_as_wide_as_the_recogniser_makes_them(source, columns):
    checkpoint = load(source)
    pixels = np.random.default_rng(0).integers(0, 255, (30, columns), np.uint8)
    image = Transcriber(checkpoint).fitting(pixels)
    frame = frame_of(checkpoint, 1)
    assert frame.width_of(*pixels.shape) == image.pixels.shape[1]
    np.testing.assert_array_equal(frame.fit(pixels), image.pixels[:, : image.width])


def test_worker_processes_make_the_same_batches(source, pairs):
    epochs = Epochs(samples(source, pairs), frame_of(load(source), 4), seed=0, augmented=True)
    with stream(epochs, 2, workers=2) as batches:
        for index, batch in enumerate(itertools.islice(batches, 4), 2):
            np.testing.assert_array_equal(batch.pixels, epochs.batch(index).pixels)
            np.testing.assert_array_equal(batch.targets, epochs.batch(index).targets)


def test_parts_of_some_lines_are_hidden():
    """Under static or a flat grey, at full height, never most of the line."""
    image = np.full((48, 900), 255, np.uint8)
    shares = []
    for seed in range(200):
        changed = augment(image, np.random.default_rng(seed)).astype(int)
        # Paper stays lighter than this whatever its levels become.
        shares.append(np.mean(np.abs(changed - np.median(changed)).mean(axis=0) > 40))
    hidden = np.array([share for share in shares if share])
    assert 0.25 < len(hidden) / len(shares) < 0.55
    assert hidden.max() < 0.4


def test_augmented_lines_stay_lines():
    image = np.asarray(render("stone 1874", 40))
    for seed in range(300):
        changed = augment(image, np.random.default_rng(seed))
        assert changed.dtype == np.uint8
        assert 0.6 < changed.shape[1] / changed.shape[0] / (image.shape[1] / image.shape[0]) < 1.7
        assert changed.std() > 8


def test_edit_distance():
    known = [("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2), ("x", "x", 0)]
    for a, b, distance in known:
        assert edit_distance(a, b) == edit_distance(b, a) == distance
