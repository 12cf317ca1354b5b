"""The losses on where characters stand, and what a checkpoint from nothing looks at."""

from __future__ import annotations

import math

import numpy as np
import pytest
from training_data import CHARACTERS, SIZE, parameters, write_checkpoint

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.training.batches import BEYOND, THIRDS, Batch, Fitted, Frame
from ocrmypdf_trocr_mlx.training.errors import TrainingError
from ocrmypdf_trocr_mlx.training.guidance import GuidedModel, attention_loss, frame_loss
from ocrmypdf_trocr_mlx.training.scratch import Size
from ocrmypdf_trocr_mlx.training.trainer import Recipe, Trainer

mx = pytest.importorskip("mlx.core")

END, VOCABULARY, STEPS = 2, 8, 120
# Two lines: "56" from column 1 to 4 of 6, and one whose places are not known.
TARGETS = mx.array([[5, 6, END, -1], [7, END, -1, -1]])
EDGES = mx.array([[1.0, 2.0, 4.0, BEYOND, BEYOND], [math.nan] * 5])
# What stands under each half column of the first line.
UNDER = [END, END, 5, 5, 6, 6, 6, 6, END, END, END, END]


@pytest.fixture(scope="module", autouse=True)
def _device():
    backend.prepare("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return load(write_checkpoint(tmp_path_factory.mktemp("guided") / "model"))


def test_frame_loss_is_that_of_the_character_under_each_half_column():
    logits = np.random.default_rng(0).normal(size=(2, 12, VOCABULARY)).astype(np.float32)
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum(axis=1, keepdims=True)
    expected = -np.log(shares[np.arange(12), UNDER]).mean()
    loss, gradient = mx.value_and_grad(lambda x: frame_loss(x, TARGETS, EDGES, END))(
        mx.array(logits)
    )
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    wanted = shares - np.eye(VOCABULARY)[UNDER]
    np.testing.assert_allclose(np.array(gradient)[0], wanted / 12, atol=1e-6)
    assert not np.array(gradient)[1].any()


def test_an_empty_line_has_no_character_anywhere():
    logits = np.full((1, 12, VOCABULARY), -20.0, np.float32)
    logits[..., END] = 20
    edges = mx.array([[BEYOND] * 5])
    assert frame_loss(mx.array(logits), mx.array([[END, -1, -1, -1]]), edges, END).item() < 1e-6


def test_attention_is_pulled_to_the_next_character():
    """To column 1 for the first, 2 and 3 for the second, and nowhere for the end of the text."""
    attention = np.full((2, 4, 6), 1 / 6, np.float32)
    loss, gradient = mx.value_and_grad(lambda x: attention_loss(x, EDGES))(mx.array(attention))
    pull = -np.array(gradient)
    assert math.isfinite(loss.item())
    assert pull[0, 0].argmax() == 1
    assert pull[0, 1, 2] == pytest.approx(pull[0, 1, 3]) == pull[0, 1].max()
    assert not pull[0, 2:].any()
    assert not pull[1].any()
    there, elsewhere = np.zeros((2, 2, 4, 6), np.float32)
    there[:, 0, 1] = there[:, 1, 2] = 1
    elsewhere[:, 0, 5] = elsewhere[:, 1, 0] = 1
    assert attention_loss(mx.array(there), EDGES).item() < 0.2
    assert attention_loss(mx.array(elsewhere), EDGES).item() > 3


def test_nothing_known_is_no_loss():
    unknown = mx.full((2, 5), math.nan)
    assert frame_loss(mx.zeros((2, 12, VOCABULARY)), TARGETS, unknown, END).item() == 0
    assert attention_loss(mx.zeros((2, 4, 6)), unknown).item() == 0


def line(text: str, width: int) -> Fitted:
    """A line with each character a stroke of its own height, and where it stands."""
    pixels = np.full((SIZE.height, width), 255, np.uint8)
    edges = np.linspace(8, width - 24, len(text) + 1)
    for i, character in enumerate(text):
        left, right = round(edges[i]), round(edges[i + 1]) - 2
        pixels[2 + CHARACTERS.index(character) :, left:right] = 0
    return Fitted(pixels, [4 + CHARACTERS.index(c) for c in text], edges)


def batch(checkpoint, seed: int) -> Batch:
    """Eight lines of six characters of nine."""
    random = np.random.default_rng(seed)
    frame = Frame(checkpoint.processor, 2, END, 1, 32, batch_size=8, parts=THIRDS)
    texts = ["".join(random.choice(list("abcdefghi"), 6)) for _ in range(8)]
    return frame.assemble([line(t, 96) for t in texts], 96, 8, longest=6)


def test_a_batch_tells_the_edges(checkpoint):
    made = batch(checkpoint, 0)
    assert made.edges.shape == (8, made.tokens.shape[1] + 1)
    np.testing.assert_allclose(made.edges[0, :7], np.linspace(8, 72, 7), atol=1e-4)
    assert (made.edges[:, 7:] == BEYOND).all()


def test_a_guided_model_says_what_the_model_says(checkpoint):
    made = batch(checkpoint, 0)
    pixels = mx.array(made.pixels[..., None] / 255.0, mx.float32)
    seen = GuidedModel(checkpoint.model, END)(pixels, mx.array(made.tokens))
    expected = checkpoint.model(pixels, mx.array(made.tokens))
    np.testing.assert_allclose(np.array(seen.logits), np.array(expected), atol=1e-4)
    assert seen.frames.shape == (8, 2 * 96 // SIZE.patch_width, 4 + len(CHARACTERS))
    assert [a.shape for a in seen.attention] == [(8, 16, 24)] * SIZE.decoder_layers
    # With the class token's share, which is left out, it would be 1.
    assert 0.8 < np.array(seen.attention[0]).sum(axis=-1).mean() < 1


def test_guided_it_learns_sooner(tmp_path):
    """Lines never seen before; without guidance they are guessed at all that time."""
    losses = {}
    for guided in (True, False):
        checkpoint = load(write_checkpoint(tmp_path / str(guided)))
        model = GuidedModel(checkpoint.model, END) if guided else checkpoint.model
        trainer = Trainer(model, checkpoint.processor, Recipe(STEPS, lr=3e-3, warmup=10))
        said = [trainer(batch(checkpoint, seed)).item() for seed in range(STEPS)]
        losses[guided] = np.mean(said[-10:])
    assert losses[True] < 0.65 * losses[False]


def test_a_guided_training_is_taken_up(tmp_path):
    """Also the head's weights and moments are saved; the model they leave is as it was."""
    checkpoint = load(write_checkpoint(tmp_path / "model"))
    names = parameters(checkpoint.model).keys()

    def trainer() -> Trainer:
        fresh = load(tmp_path / "model")
        return Trainer(GuidedModel(fresh.model, END), fresh.processor, Recipe(4, 1e-3, 1))

    whole, first, second = trainer(), trainer(), trainer()
    for seed in range(4):
        whole(batch(checkpoint, seed))
    for seed in range(2):
        first(batch(checkpoint, seed))
    first.save(tmp_path / "state.safetensors", {})
    second.load(tmp_path / "state.safetensors")
    for seed in range(2, 4):
        second(batch(checkpoint, seed))
    with whole.averaged() as expected, second.averaged() as got:
        assert parameters(got).keys() == names
        for name, value in parameters(expected).items():
            np.testing.assert_array_equal(parameters(got)[name], value)
    plain = Trainer(load(tmp_path / "model").model, checkpoint.processor, Recipe(4, 1e-3, 1))
    with pytest.raises(TrainingError, match="the state of another model"):
        plain.load(tmp_path / "state.safetensors")


def test_heads_begin_by_looking_beside_themselves(checkpoint):
    """Of positions alone, the three heads of the last layer look two columns left, right, here."""
    size, weights = SIZE, parameters(checkpoint.model)
    places = weights["encoder.embeddings.position_embeddings"][0, 1:]
    qkv = weights["encoder.layers.0.attention.qkv_proj.weight"]
    queries, keys = (places @ part.T for part in np.split(qkv, 3)[:2])
    width = size.dims // size.heads
    for head, offset in enumerate((-2, 2, 0)):
        part = slice(head * width, (head + 1) * width)
        looked = (queries[:, part] @ keys[:, part].T).argmax(axis=1)
        inner = np.arange(4, len(looked) - 4)
        assert (np.abs(looked[inner] - inner - offset) <= 1).mean() > 0.8


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"dims": 45}, "dims 45 for 5 heads"), ({"patch_width": 7}, "patches of 16x7 do not fill")],
)
def test_sizes_that_do_not_go_together(change, reason):
    with pytest.raises(TrainingError, match=reason):
        Size(**change)
