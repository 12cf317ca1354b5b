"""The recipe in PyTorch: the same model as in MLX, it learns, and its product loads everywhere."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_docs import ROOT, commands
from training_data import CHARACTERS, WORDS, render, write_checkpoint, write_font, write_pairs

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import load, read_config
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.checkpoints.weights import sanitize
from ocrmypdf_trocr_mlx.model.config import TrOCRConfig
from ocrmypdf_trocr_mlx.model.generate import generate
from ocrmypdf_trocr_mlx.model.trocr import TrOCR
from ocrmypdf_trocr_mlx.training import pretrain
from ocrmypdf_trocr_mlx.training.batches import IGNORED, Batch, Epochs
from ocrmypdf_trocr_mlx.training.ctc import ctc_loss
from ocrmypdf_trocr_mlx.training.dataset import Limits, load_dataset
from ocrmypdf_trocr_mlx.training.errors import TrainingError
from ocrmypdf_trocr_mlx.training.follow import MlxFollower
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.trainer import frame_of

mx = pytest.importorskip("mlx.core")
torch = pytest.importorskip("torch", reason="the recipe needs torch: pip install '.[parity]'")

sys.path.append(str(ROOT / "examples"))

from pretrain_torch import train  # noqa: E402
from pretrain_torch.checkpoint import reader_of, write_product  # noqa: E402
from pretrain_torch.learning import Learner, Recipe, distorted, draft_loss, misled  # noqa: E402
from pretrain_torch.model import Reader  # noqa: E402
from pretrain_torch.reading import TorchFollower, evaluate, read  # noqa: E402

ENCODER = {
    "model_type": "vit",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": [24, 96],
    "patch_size": [24, 4],
}
DECODER = {
    "model_type": "trocr",
    "vocab_size": 23,
    "d_model": 32,
    "cross_attention_hidden_size": 32,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 20,
}
OTHER_ENCODER = {"patch_size": [8, 6], "hidden_act": "relu", "qkv_bias": False}
OTHER_DECODER = {"activation_function": "gelu_new", "layernorm_embedding": False}


def config(encoder: dict, decoder: dict, frames: int = 2) -> TrOCRConfig:
    values = {"encoder": {**ENCODER, **encoder}, "decoder": {**DECODER, **decoder}}
    return TrOCRConfig.from_dict({**values, "draft_frames": frames})


@pytest.fixture(scope="module", autouse=True)
def _device() -> Iterator[None]:
    backend.prepare("cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more would wait for each other in models so small
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("source") / "model")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", WORDS)


def stirred(model: Reader) -> Reader:
    """All its weights are random, also those that begin as zeros."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        ({}, {}),
        (OTHER_ENCODER, OTHER_DECODER),
        ({}, {"d_model": 40, "cross_attention_hidden_size": None, "scale_embedding": True}),
        ({"hidden_size": 48}, {"cross_attention_hidden_size": 48}),
    ],
    ids=["as the bundled one", "several rows", "projected", "wider encoder"],
)
def test_model_is_that_of_mlx(encoder, decoder) -> None:
    wanted = config(encoder, decoder)
    mine, theirs = stirred(Reader(wanted)), TrOCR(wanted)
    weights = {name: mx.array(value.detach().numpy()) for name, value in mine.state_dict().items()}
    theirs.load_weights(list(sanitize(weights).items()))  # strict: all names are known
    rng = np.random.default_rng(3)
    pixels = rng.uniform(-1, 1, (3, 24, 72)).astype(np.float32)  # narrower than the image
    tokens = rng.integers(0, 23, (3, 9))
    with torch.no_grad():
        states = mine.encode(torch.from_numpy(pixels))
        logits, looked = mine.decode(torch.from_numpy(tokens), states, 1)
        frames = mine.frames(states)
    expected = theirs.encode(mx.array(pixels[..., None]))
    said, seen = theirs.decoder(mx.array(tokens), theirs.memory(expected), weights_of=1)
    assert frames.shape == (3, 2 * 72 // wanted.encoder.patch_size[1], 23)
    for a, b in ((states, expected), (logits, said), (looked, seen)):
        np.testing.assert_allclose(a, b, atol=1e-4)
    np.testing.assert_allclose(frames, theirs.draft_head.frames(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("encoder", "decoder", "reason"),
    [
        ({"model_type": "deit"}, {}, "not a plain ViT"),
        ({"hidden_act": "silu"}, {}, "its activation is silu"),
        ({}, {"use_learned_position_embeddings": False}, "positions are computed"),
        ({}, {"tie_word_embeddings": False}, "output layer is not the token table"),
    ],
)
def test_what_it_cannot_do_is_refused(encoder, decoder, reason) -> None:
    with pytest.raises(TrainingError, match=reason):
        Reader(config(encoder, decoder))


def test_stretching_models_are_refused(source) -> None:
    checkpoint = load(source)
    processor = dataclasses.replace(checkpoint.processor, pad_to_aspect=False)
    with pytest.raises(TrainingError, match="it is not a line model"):
        reader_of(source, dataclasses.replace(checkpoint, processor=processor))


def test_it_learns_ten_lines_by_heart(source, pairs) -> None:
    torch.manual_seed(0)
    checkpoint = load(source)
    samples = load_dataset([pairs], LabelEncoder(source), Limits(32)).samples
    frame, steps = frame_of(checkpoint, len(samples)), 200
    epochs = Epochs(samples, frame, seed=0, augmented=False)
    model = reader_of(source, checkpoint)
    assert evaluate(model, checkpoint, samples, frame)["all"].texts.cer > 0.9
    learner = Learner(model, checkpoint.processor, frame.end, Recipe(3e-3, 20, 20))
    for step in range(steps):
        learner.learn(epochs.batch(step), step / steps)
    learner.finish()
    errors = evaluate(model, checkpoint, samples, frame)["all"]
    assert errors.texts.cer < 0.03
    assert errors.drafts.cer < 0.2


def batch_of(source: Path, pairs: Path) -> Batch:
    samples = load_dataset([pairs], LabelEncoder(source), Limits(32)).samples
    return Epochs(samples, frame_of(load(source), 4), seed=0, augmented=False).batch(0)


def test_the_product_is_the_average_of_the_weights(source, pairs) -> None:
    checkpoint, batch = load(source), batch_of(source, pairs)
    model = reader_of(source, checkpoint)
    weight = model.decoder.model.decoder.layers[0].fc1.weight
    learner = Learner(model, checkpoint.processor, 2, Recipe(1e-2, 1, 0))
    expected = weight.detach().clone()
    for step in range(1, 5):
        learner.learn(batch, 0.0)
        keep = step / (step + 9)
        expected = keep * expected + (1 - keep) * weight.detach()
    assert (weight - expected).abs().max() > 1e-3
    learner.finish()
    torch.testing.assert_close(weight.detach(), expected)


def test_the_rate_rises_by_steps_and_falls_with_what_is_done(source, pairs) -> None:
    checkpoint = load(source)
    model = reader_of(source, checkpoint)
    learner = Learner(model, checkpoint.processor, 2, Recipe(0.1, 4, 0))
    assert learner.lr(0.0) == pytest.approx(0.025)
    learner.step = 10
    rates = [learner.lr(done) for done in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([0.1, 0.05075, 0.0015])


def test_time_begins_with_the_first_step(monkeypatch) -> None:
    clock = iter([100.0, 100.0, 102.5, 110.0])
    monkeypatch.setattr(train.time, "monotonic", lambda: next(clock))
    pace = train.Pace(None, 10.0)
    assert [pace.done(0), pace.done(1)] == [0.0, 0.0]
    assert [pace.done(2), pace.done(3)] == [0.25, 1.0]
    assert train.Pace(4, None).done(3) == 0.75


@pytest.mark.parametrize("head_steps", [0, 1])
def test_the_head_begins_alone(source, pairs, head_steps) -> None:
    """What its loss says to the encoder, and does not say yet."""
    checkpoint = load(source)
    model = reader_of(source, checkpoint)
    learner = Learner(model, checkpoint.processor, 2, Recipe(1e-3, 1, head_steps))
    learner._losses(batch_of(source, pairs)).drafted.backward()
    assert model.draft_head.proj.weight.grad.abs().sum() > 0
    taught = model.encoder.layernorm.weight.grad is not None
    assert taught == (head_steps == 0)


def test_loss_of_drafts_is_that_of_mlx() -> None:
    """Per token, of the texts without their ends; a text too long for its frames is left out."""
    rng = np.random.default_rng(2)
    frames = rng.normal(0, 1, (3, 6, 9)).astype(np.float32)
    end, texts = 2, [[4, 4, 5], [], [3, 4, 5, 6, 7, 8, 3]]
    targets = np.full((3, 9), IGNORED)
    for row, text in zip(targets, texts, strict=True):
        row[: len(text) + 1] = [*text, end]
    lengths = mx.array([len(text) for text in texts])
    expected = ctc_loss(mx.array(frames), mx.array(np.maximum(targets, 0)), lengths, blank=1)
    loss = draft_loss(torch.from_numpy(frames), torch.from_numpy(targets), end, blank=1)
    assert expected[2].item() > 1e6
    assert loss.item() == pytest.approx(expected[:2].sum().item() / 10, rel=1e-5)


def test_the_decoder_is_misled_now_and_then() -> None:
    targets = torch.full((400, 12), IGNORED)
    targets[:, :9] = torch.randint(5, 9, (400, 9))
    targets[:, 9] = 2
    tokens = torch.full_like(targets, 1)
    tokens[:, 0], tokens[:, 1:10] = 2, targets[:, :9]
    given = misled(tokens, targets)
    assert (given[:, 0] == 2).all() and (given[:, 10:] == 1).all()
    assert set(given[:, 1:10].flatten().tolist()) == {5, 6, 7, 8}
    changed = (given != tokens).float().mean(1) * 12 / 9
    # Half the lines, a tenth of the tokens, of which a quarter is right by chance.
    assert changed.mean().item() == pytest.approx(0.5 * 0.1 * 0.75, abs=0.01)
    assert 0.5 < (changed == 0).float().mean() < 0.9


def test_distorted_images_keep_their_text() -> None:
    line = torch.from_numpy(np.array(render("stone"))).float().expand(20, -1, -1)
    seen = distorted(line)
    assert seen.min() >= 0 and seen.max() <= 255
    assert len(torch.unique(seen.mean((1, 2)))) == 20
    dark = line[0] < 64
    assert all((image[~dark].mean() - image[dark].mean()) > 100 for image in seen)


@pytest.fixture(scope="module")
def printed() -> list[np.ndarray]:
    texts = ("Plain print, 10 points", "to be read at a glance")
    return [np.asarray(render(text, 48)) for text in texts]


def test_it_reads_and_looks_as_mlx_does(printed) -> None:
    """With the bundled weights, stored in 8 bits: texts by drafts, and places of given texts."""
    source = resolve(None)
    checkpoint = load(source)
    model = reader_of(source, checkpoint)
    pixels = np.full((2, 48, 640), 255, np.uint8)
    for row, image in zip(pixels, printed, strict=True):
        row[:, : image.shape[1]] = image
    found = read(model, checkpoint, pixels)
    texts = ["Plain print, 10 points", "to be read at a glance"]
    assert [text for text, _ in found] == texts
    assert all(draft[:4] == text[:4] for text, draft in found)
    tokens = [LabelEncoder(source)(text) for text in texts]
    mine = TorchFollower(model, checkpoint)(pixels, tokens)
    for a, b in zip(mine, MlxFollower(checkpoint)(pixels, tokens), strict=True):
        np.testing.assert_allclose(a.logprobs, b.logprobs, atol=1e-3)
        np.testing.assert_allclose(a.attention, b.attention, atol=1e-4)


def test_texts_do_not_depend_on_drafts(source) -> None:
    """Drafts at random are corrected to what greedy search writes in MLX, a token a step."""
    checkpoint = load(source)
    model = stirred(reader_of(source, checkpoint))
    weights = {k: mx.array(v.detach().numpy()) for k, v in model.state_dict().items()}
    weights = {k: v for k, v in weights.items() if not k.startswith("draft_head")}
    checkpoint.model.load_weights(list(sanitize(weights).items()))
    pixels = np.random.default_rng(5).integers(0, 256, (6, 24, 96), np.uint8)
    options = dataclasses.replace(checkpoint.options, num_beams=1)
    images = mx.array(checkpoint.processor(list(pixels)))
    expected = generate(checkpoint.model, images, options)
    found = read(model, checkpoint, pixels)
    assert [text for text, _ in found] == [checkpoint.tokenizer.decode(h.tokens) for h in expected]
    assert len({text for text, _ in found}) > 1
    assert all(draft and draft != text for text, draft in found)


def test_the_product_loads_here_and_in_transformers(source, tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    model = stirred(reader_of(source, load(source)))
    write_product(source, model, tmp_path / "out")
    assert read_config(tmp_path / "out")["draft_frames"] == 2
    pixels = np.random.default_rng(1).uniform(-1, 1, (2, 24, 144)).astype(np.float32)
    tokens = np.array([[2, 7, 9], [2, 5, 6]])
    with torch.no_grad():
        states = model.encode(torch.from_numpy(pixels))
        logits, frames = model.decode(torch.from_numpy(tokens), states)[0], model.frames(states)
    here = load(tmp_path / "out").model
    assert here.has_drafts
    close = {"atol": 0.02, "rtol": 0.02}  # stored in float16
    np.testing.assert_allclose(here(mx.array(pixels[..., None]), mx.array(tokens)), logits, **close)
    seen = here.encode(mx.array(pixels[..., None]))
    np.testing.assert_allclose(here.draft_head.frames(seen), frames, **close)
    there = transformers.VisionEncoderDecoderModel.from_pretrained(tmp_path / "out").float().eval()
    with torch.no_grad():
        colours = torch.from_numpy(pixels)[:, None].expand(-1, 3, -1, -1)
        said = there(pixel_values=colours, decoder_input_ids=torch.from_numpy(tokens)).logits
    np.testing.assert_allclose(said, logits, **close)


def command(tmp_path: Path, pairs: Path, *more: object) -> list[str]:
    write_font(tmp_path / "squares.ttf", CHARACTERS)
    (tmp_path / "text.txt").write_text("the quick brown fox\n" * 20)
    (tmp_path / "characters.txt").write_text(CHARACTERS)
    words = ["--out", tmp_path / "out", "--dev", pairs, "--real", pairs, "--batch-size", 2]
    words += ["--fonts", tmp_path, "--texts", tmp_path / "text.txt", "--workers", 0]
    words += ["--characters", tmp_path / "characters.txt", "--device", "cpu"]
    return [str(word) for word in (*words, *more)]


def test_ctrl_c_writes_what_was_learned(source, pairs, tmp_path, monkeypatch, capsys) -> None:
    learn, learners = Learner.learn, []

    def interrupted(self, *arguments):
        learners[:] = [self]
        losses = learn(self, *arguments)
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return losses

    monkeypatch.setattr(Learner, "learn", interrupted)
    arguments = command(tmp_path, pairs, "--init", source, "--steps", 1000)
    arguments += ["--lr", "0.01", "--warmup", "1"]
    assert train.main(arguments) == 0
    log = (tmp_path / "out-training" / "log.txt").read_text()
    assert log == capsys.readouterr().err
    assert "stopped at step 3\n" in log
    assert log.index("before: all: CER") < log.index("after: all: CER")
    learned, before = load(tmp_path / "out").model, load(source).model
    names = [name for name, _ in learners[0].model.named_parameters()]
    average = learners[0]._average[names.index("decoder.model.decoder.embed_tokens.weight")]
    weight = learned.decoder.embed_tokens.weight
    np.testing.assert_allclose(weight, average, atol=1e-3)
    assert mx.abs(weight - before.decoder.embed_tokens.weight).max().item() > 5e-3
    # What is there is not written over.
    assert train.main(arguments) == 1
    assert "exists already" in capsys.readouterr().err


def test_from_nothing_by_time(pairs, tmp_path) -> None:
    sizes = ["--image", "24x144", "--patch", "24x4", "--dims", 32, "--heads", 2]
    sizes += ["--encoder-layers", 1, "--decoder-layers", 1]
    assert train.main(command(tmp_path, pairs, "--seconds", 0.2, *sizes)) == 0
    checkpoint = load(tmp_path / "out")
    assert checkpoint.config.decoder.d_model == 32 and checkpoint.model.has_drafts
    assert "before" not in (tmp_path / "out-training" / "log.txt").read_text()


def test_no_time_is_refused(pairs, tmp_path, capsys) -> None:
    assert train.main(command(tmp_path, pairs, "--seconds", 0)) == 1
    assert "give a positive number" in capsys.readouterr().err
    assert not (tmp_path / "out-training").exists()


def test_documented_commands_have_their_options() -> None:
    page = ROOT / "docs" / "how-to" / "finetune.md"
    modules = {"pretrain_torch.train": train, "ocrmypdf_trocr_mlx.training.pretrain": pretrain}
    found = set()
    for line in commands(page):
        python, *arguments = shlex.split(line)
        if python == "python" and arguments[1] in modules:
            modules[arguments[1]]._parser().parse_args(arguments[2:])
            found.add(arguments[1])
    assert found == set(modules)
