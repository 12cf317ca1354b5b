"""Labels in capitals get the case that a model reads."""

from __future__ import annotations

import dataclasses
import json
import string
from pathlib import Path

import numpy as np
import pytest
from training_data import CHARACTERS, SIZE, write_checkpoint, write_pairs

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber
from ocrmypdf_trocr_mlx.training import case
from ocrmypdf_trocr_mlx.training.batches import Epochs
from ocrmypdf_trocr_mlx.training.data import read_lines
from ocrmypdf_trocr_mlx.training.dataset import Limits, load_dataset
from ocrmypdf_trocr_mlx.training.errors import TrainingError
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.lora import fused_weights
from ocrmypdf_trocr_mlx.training.product import write_product
from ocrmypdf_trocr_mlx.training.scratch import write_scratch
from ocrmypdf_trocr_mlx.training.trainer import Recipe, Trainer, frame_of

mx = pytest.importorskip("mlx.core")

TEXTS = ["Mean", "RIVER", "stone 18", "McAdam", "bread", "NIGHT 7"]


@pytest.fixture(scope="module", autouse=True)
def _device():
    backend.prepare("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """The texts drawn in their case and labelled in capitals, and a line of another kind."""
    folder = write_pairs(tmp_path_factory.mktemp("case") / "lines", TEXTS)
    records = [
        {"image": f"{i:03}.png", "text": text.upper(), "upper_case_labels": True, "page": f"p{i}"}
        for i, text in enumerate(TEXTS)
    ]
    records.append({"image": "000.png", "text": "Mean"})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


@pytest.fixture(scope="module")
def model(data, tmp_path_factory) -> Path:
    """Has learned the lines by heart, in their case."""
    folder = tmp_path_factory.mktemp("reader")
    write_scratch(folder / "start", SIZE, CHARACTERS + string.ascii_uppercase, seed=0)
    checkpoint = load(folder / "start")
    pairs = write_pairs(folder / "pairs", TEXTS)
    samples = load_dataset([pairs], LabelEncoder(folder / "start"), Limits(32)).samples
    epochs = Epochs(samples, frame_of(checkpoint, 6), seed=0, augmented=False)
    trainer = Trainer(checkpoint.model, checkpoint.processor, Recipe(90, 3e-3, 10, ema=0.5))
    for step in range(90):
        trainer(epochs.batch(step))
    (folder / "model").mkdir()
    with trainer.averaged() as trained:
        write_product(folder / "start", fused_weights(trained), folder / "model")
    return folder / "model"


def labelled(data: Path, source: Path):
    return load_dataset([data], LabelEncoder(source), Limits(32), read=case._in_capitals).samples


def test_the_case_is_what_the_image_shows(data, model, tmp_path, capsys):
    out = tmp_path / "new" / "lines"
    command = ["--model", str(model), "--data", str(data), "--out", str(out), "--device", "cpu"]
    assert case.main(command) == 0
    assert f"{len(TEXTS)} lines; 0 were read otherwise" in capsys.readouterr().out
    lines = list(read_lines(out))
    assert [(line.text, line.page) for line in lines] == [(t, f"p{i}") for i, t in enumerate(TEXTS)]
    assert lines[0].pixels.std() > 20
    assert case.main(command) == 1
    assert "exists already" in capsys.readouterr().err


def test_letters_are_kept_and_unread_lines_told(data, model):
    """Labels that the images do not show come back in some case, with little confidence."""
    encode = LabelEncoder(model)
    samples = labelled(data, model)
    wrong = [dataclasses.replace(s, text="QUITE 4") for s in samples]
    right = case.restore_case(load(model), samples, encode)
    restored = case.restore_case(load(model), wrong, encode)
    assert {r.text.upper() for r in restored} == {"QUITE 4"}
    assert max(r.confidence for r in restored) < 0.3 < 0.6 < min(r.confidence for r in right)


def test_each_letter_is_the_likelier_one_after_those_taken(data, tmp_path):
    """An untrained model, step by step without caches."""
    write_scratch(tmp_path, SIZE, CHARACTERS + string.ascii_uppercase, seed=3)
    checkpoint, encode = load(tmp_path), LabelEncoder(tmp_path)
    samples = labelled(data, tmp_path)
    transcriber = Transcriber(checkpoint)
    for sample, restored in zip(
        samples, case.restore_case(checkpoint, samples, encode), strict=True
    ):
        pixels = mx.array(checkpoint.processor([transcriber.fitting(sample.pixels).pixels]))
        tokens, total = [checkpoint.options.start], 0.0
        for character, taken in zip(sample.text, restored.text, strict=True):
            logits = np.array(checkpoint.model(pixels, mx.array([tokens])))[0, -1]
            likely = logits - np.logaddexp.reduce(logits)
            (lower,), (upper,) = encode(character.lower()), encode(character.upper())
            best = lower if likely[lower] > likely[upper] else upper
            assert encode(taken) == [best]
            tokens.append(best)
            total += likely[best]
        logits = np.array(checkpoint.model(pixels, mx.array([tokens])))[0, -1]
        total += logits[2] - np.logaddexp.reduce(logits)
        assert restored.confidence == pytest.approx(np.exp(total / len(tokens)), rel=1e-3)


def test_a_model_with_tokens_of_other_kinds(data, tmp_path):
    source = write_checkpoint(tmp_path / "model")
    checkpoint = load(source)
    encode = LabelEncoder(source)

    def pieces(text: str) -> list[int]:
        return encode(text.lower()) * 2

    samples = load_dataset([data], pieces, Limits(64), read=case._in_capitals).samples
    with pytest.raises(TrainingError, match="'M' is not one token of the model"):
        case.restore_case(checkpoint, samples, pieces)


def test_nothing_is_written_where_nothing_is_read(data, tmp_path, capsys):
    write_scratch(tmp_path / "model", SIZE, CHARACTERS + string.ascii_uppercase, seed=0)
    out = tmp_path / "out"
    command = ["--model", tmp_path / "model", "--data", data, "--out", out, "--device", "cpu"]
    assert case.main([str(c) for c in command]) == 1
    assert "the model reads none of 6 lines" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]
