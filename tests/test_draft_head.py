"""Teaching a model to draft: the loss by its definition, and a head that learns."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from training_data import WORDS, write_checkpoint, write_pairs

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.weights import read_weights
from ocrmypdf_trocr_mlx.model.draft import collapse
from ocrmypdf_trocr_mlx.training import draft
from ocrmypdf_trocr_mlx.training.batches import Epochs
from ocrmypdf_trocr_mlx.training.ctc import ctc_loss
from ocrmypdf_trocr_mlx.training.dataset import Limits, load_dataset
from ocrmypdf_trocr_mlx.training.finetune import FinetuneOptions, run
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.trainer import frame_of

mx = pytest.importorskip("mlx.core")

BLANK = 1


@pytest.fixture(scope="module", autouse=True)
def _device():
    backend.prepare("cpu")


@pytest.mark.parametrize("text", [[], [2], [2, 3], [2, 2], [3, 2, 3]])
def test_loss_sums_all_ways_to_say_a_text(text: list[int]) -> None:
    logits = np.random.default_rng(4).normal(0, 2, (1, 5, 4)).astype(np.float32)
    chances = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
    total = sum(
        np.prod([chances[t, token] for t, token in enumerate(path)])
        for path in itertools.product(range(4), repeat=5)
        if collapse(np.array([path]), BLANK)[0].tolist() == text
    )
    padded = mx.array([[*text, 0, 0, 0, 0][:4]])
    loss = ctc_loss(mx.array(logits), padded, mx.array([len(text)]), BLANK)
    assert loss.item() == pytest.approx(-np.log(total), rel=1e-5)


def test_loss_and_gradient_as_in_torch() -> None:
    torch = pytest.importorskip("torch", reason="parity needs torch: pip install '.[parity]'")
    rng = np.random.default_rng(6)
    logits = rng.normal(0, 1, (3, 12, 7)).astype(np.float32)
    targets, lengths = rng.integers(2, 7, (3, 5)), [5, 2, 0]
    targets[0] = [4, 4, 3, 3, 3]
    theirs = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        theirs.log_softmax(-1).transpose(0, 1),
        torch.tensor(targets),
        torch.full((3,), 12),
        torch.tensor(lengths),
        blank=BLANK,
        reduction="none",
    )
    expected.sum().backward()

    def loss(x):
        return ctc_loss(x, mx.array(targets), mx.array(lengths), BLANK)

    np.testing.assert_allclose(loss(mx.array(logits)), expected.detach(), rtol=1e-5)
    gradient = mx.grad(lambda x: loss(x).sum())(mx.array(logits))
    np.testing.assert_allclose(gradient, theirs.grad, atol=1e-5)


def test_too_long_a_text_costs_much_and_teaches_nothing() -> None:
    def loss(x):
        return ctc_loss(x, mx.array([[2, 2, 3]]), mx.array([3]), BLANK).sum()

    value, gradient = mx.value_and_grad(loss)(mx.zeros((1, 3, 4)))
    assert value.item() > 1e6 and np.isfinite(np.array(gradient)).all()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("source") / "model")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", WORDS)


def test_head_learns(source, pairs) -> None:
    checkpoint = load(source)
    samples = load_dataset([pairs], LabelEncoder(source), Limits(32)).samples
    frame = frame_of(checkpoint, len(samples))
    batch = Epochs(samples, frame, seed=0, augmented=False).batch(0)
    states = checkpoint.model.encode(mx.array(checkpoint.processor(list(batch.pixels))))
    texts = draft._texts(batch, frame.end)

    def loss(head) -> float:
        return draft._loss(head, states, *texts, frame.pad).item()

    assert not checkpoint.model.has_drafts
    head = draft.train_head(checkpoint, samples, steps=150, batch_size=len(samples), lr=0.02)
    print(loss(draft.new_head(checkpoint)), loss(head))
    assert loss(head) < 0.2 * loss(draft.new_head(checkpoint))


def test_command(source, pairs, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--model", str(source), "--data", str(pairs), "--out", str(out)]
    arguments += ["--device", "cpu", "--batch-size", "2"]
    assert draft.main([*arguments, "--steps", "2"]) == 0
    assert "of the drafted tokens are corrected" in capsys.readouterr().out
    checkpoint = load(out)
    assert checkpoint.model.has_drafts
    assert json.loads((out / "config.json").read_text())["draft_frames"] == 2
    before, after = read_weights(source), read_weights(out)
    assert {k for k in after if k not in before} == {
        "draft_head.proj.weight",
        "draft_head.proj.bias",
    }
    assert all(mx.array_equal(before[k], after[k]) for k in before)
    # What is there is not overwritten, and is said before the work is done.
    assert draft.main([*arguments, "--steps", "1000000"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_stretched_images_are_refused(source, pairs, tmp_path, capsys) -> None:
    folder = tmp_path / "stretching"
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["pad_to_aspect"] = False
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    arguments = ["--model", str(folder), "--data", str(pairs), "--out", str(tmp_path / "out")]
    assert draft.main([*arguments, "--device", "cpu"]) == 1
    assert "stretches its images" in capsys.readouterr().err


def test_finetuning_leaves_it_as_it_is(source, pairs, tmp_path) -> None:
    with_head = tmp_path / "with head"
    arguments = ["--model", str(source), "--data", str(pairs), "--out", str(with_head)]
    assert draft.main([*arguments, "--device", "cpu", "--batch-size", "2", "--steps", "1"]) == 0
    done = run(
        FinetuneOptions(
            data=[pairs],
            dev=[pairs],
            out=tmp_path / "tuned",
            model=str(with_head),
            epochs=1,
            batch_size=4,
            lr=1e-2,
            device="cpu",
        )
    )
    assert done.finished
    before, after = read_weights(with_head), read_weights(tmp_path / "tuned")
    changed = {k for k in before if not mx.array_equal(before[k], after[k])}
    assert changed and not any(k.startswith("draft_head") for k in changed)
    assert load(tmp_path / "tuned").model.has_drafts
