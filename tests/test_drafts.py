"""Texts by drafts: whatever a draft says, the text is that of greedy search."""

from __future__ import annotations

import dataclasses
import functools
import random

import mlx.core as mx
import numpy as np
import pytest
from greedy import assert_same, greedy
from mlx.utils import tree_map_with_path

from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.model import cpu, cpu_encoder, generate, rounds
from ocrmypdf_trocr_mlx.model.checking import check_drafts
from ocrmypdf_trocr_mlx.model.config import DecoderConfig, EncoderConfig, TrOCRConfig
from ocrmypdf_trocr_mlx.model.cpu_checking import CpuChecking
from ocrmypdf_trocr_mlx.model.draft import Distances, Draft, collapse
from ocrmypdf_trocr_mlx.model.hypothesis import Hypothesis
from ocrmypdf_trocr_mlx.model.options import GenerateOptions
from ocrmypdf_trocr_mlx.model.trocr import TrOCR
from ocrmypdf_trocr_mlx.recognizer.cutting import CutLine
from ocrmypdf_trocr_mlx.recognizer.pieces import Transcript
from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber
from ocrmypdf_trocr_mlx.samples import TEXTS, rendered_line
from ocrmypdf_trocr_mlx.training.evaluate import edit_distance

VOCABULARY, BLANK = 40, 1
FAMILIES = {
    "learned positions": {},
    "sines, scaled, untied": {
        "use_learned_position_embeddings": False,
        "scale_embedding": True,
        "layernorm_embedding": False,
        "activation_function": "relu",
        "tie_word_embeddings": False,
    },
}
# Several ends, so that random texts come to one.
ENDS = (2, 5, 9, 13)
OPTIONS = GenerateOptions(start=2, eos=ENDS, pad=1, max_length=30, keep_attention=True)


# With these, images are read differently, and some texts come to an end.
SEEDS = dict(zip(FAMILIES, (6, 4), strict=True))


def random_weight(name: str, old: mx.array) -> mx.array:
    if "norm" in name and name.endswith("weight"):
        return mx.random.uniform(0.5, 1.5, old.shape)
    return (0.5 if old.ndim > 1 else 0.1) * mx.random.normal(old.shape)


def random_model(family: str) -> TrOCR:
    encoder = EncoderConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=(16, 64),
        patch_size=(16, 8),
    )
    decoder = DecoderConfig(
        vocab_size=VOCABULARY,
        d_model=32,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=48,
        max_position_embeddings=40,
        **FAMILIES[family],
    )
    model = TrOCR(TrOCRConfig(encoder, decoder, draft_frames=2))
    mx.random.seed(SEEDS[family])
    model.update(tree_map_with_path(random_weight, model.parameters()))
    mx.eval(model.state)
    return model.eval()


@pytest.fixture(params=FAMILIES)
def model(request) -> TrOCR:
    mx.set_default_device(mx.cpu)
    return random_model(request.param)


def drafts_for(texts: list[list[int]]) -> dict[str, list[list[int]]]:
    rng = random.Random(1)

    def spoilt(tokens: list[int]) -> list[int]:
        out = []
        for token in tokens:
            chance = rng.random()
            if chance > 0.1:  # else it is left out
                out.append(token if chance > 0.2 else rng.randrange(VOCABULARY))
            if chance > 0.9:
                out.append(rng.randrange(VOCABULARY))
        return out

    return {
        "right": [[t for t in text if t not in ENDS] for text in texts],
        "with end": texts,
        "none": [[] for _ in texts],
        "spoilt": [spoilt(text) for text in texts],
        "foreign": [[rng.randrange(VOCABULARY) for _ in range(50)] for _ in texts],
        "going on": [[*text, 5, 6, 7] for text in texts],
    }


@pytest.mark.parametrize("where", ["numpy", "mlx"])
@pytest.mark.parametrize("limits", [{}, {"loop_limit": 3}, {"max_length": 9}, {"max_length": 2}])
def test_text_of_greedy_search(model: TrOCR, where: str, limits: dict, monkeypatch) -> None:
    options = dataclasses.replace(OPTIONS, **limits)
    pixels = mx.random.normal((7, 16, 64, 1), key=mx.random.key(5))
    expected = greedy(model, pixels, options)
    lengths = {len(h.tokens) for h in expected}
    assert len(lengths) > 1 or "max_length" in limits, "texts of different lengths tell more"
    read = by_numpy if where == "numpy" else functools.partial(by_mlx, monkeypatch)
    for name, drafts in drafts_for([h.tokens for h in expected]).items():
        found, passes = read(model, pixels, drafts, options)
        assert_same(found, expected)
        if name in ("right", "with end"):
            assert passes == 1
        elif name == "spoilt":
            assert passes <= max(lengths)


def by_numpy(model: TrOCR, pixels: mx.array, drafts: list, options: GenerateOptions):
    memory, passes = model.memory(model.encode(pixels)), []
    checker = CpuChecking(model.decoder, memory, options.kept_layer(len(memory)))
    return check_drafts(checker, drafts, options, lambda: passes.append(1)), len(passes)


def by_mlx(monkeypatch, model: TrOCR, pixels: mx.array, drafts: list, options: GenerateOptions):
    monkeypatch.setattr(rounds, "collapse", lambda frames, blank: [np.array(d) for d in drafts])
    found, passes = dict[int, Hypothesis](), []
    with cpu.left_to_mlx():
        reading = rounds.Rounds(model, options)
        reading.add(pixels, options.max_length, generate.nothing)
        while reading:
            found |= reading.step(lambda: passes.append(1))
    return [found[i] for i in range(len(pixels))], len(passes)


def test_generate_uses_them(model: TrOCR, monkeypatch) -> None:
    pixels = mx.random.normal((3, 16, 64, 1), key=mx.random.key(7))
    by_draft = generate.generate(model, pixels, OPTIONS)
    monkeypatch.setattr(TrOCR, "has_drafts", False)
    stepwise = generate.generate(model, pixels, OPTIONS)
    assert [h.tokens for h in by_draft] == [h.tokens for h in stepwise]


def test_images_of_several_widths_are_encoded_together(model: TrOCR, monkeypatch) -> None:
    if not cpu_encoder.serves(model):
        pytest.skip("only on Linux processors")
    images = [
        mx.random.normal((count, 16, width, 1), key=mx.random.key(width))
        for count, width in ((3, 64), (1, 24), (2, 40))
    ]
    monkeypatch.setattr(cpu_encoder, "STATES_AT_ONCE", 12)  # in several parts
    states = cpu_encoder.CpuEncoder(model)(images, generate.nothing)
    with cpu.left_to_mlx():
        expected = [np.array(model.encode(group)) for group in images]
    rows = np.concatenate([x.reshape(-1, x.shape[-1]) for x in expected])
    np.testing.assert_allclose(states.rows, rows, atol=1e-5)
    assert np.diff(states.bounds).tolist() == [9, 9, 9, 4, 6, 6]


def test_collapse() -> None:
    frames = [BLANK, 7, 7, BLANK, 7, 9, 9, BLANK, BLANK, 3, BLANK]
    rows = np.array([frames, [4, 4, 5, *[BLANK] * 8], [BLANK] * 11])
    assert [row.tolist() for row in collapse(rows, BLANK)] == [[7, 7, 9, 3], [4, 5], []]


@pytest.mark.parametrize(
    ("draft", "says", "rest"),
    [
        ("hello world", [], "hello world"),
        ("hfllo world", ["he"], "llo world"),  # a wrong token
        ("heello world", ["hel"], "lo world"),  # one too many
        ("hllo world", ["he", "ll"], "o world"),  # one missing, found out two tokens later
        ("hello old word", ["hello w", "orl"], "d word"),
        ("hello hello", ["hello hellow"], ""),
        ("short", ["shorte", "r", " "], ""),
        ("", ["a", "n"], ""),
    ],
)
def test_where_a_draft_goes_on(draft: str, says: list[str], rest: str) -> None:
    expected = Draft([ord(c) for c in draft])
    for part in says:
        expected.say([ord(c) for c in part])
    assert "".join(map(chr, expected.rest)) == rest


def test_drafts_of_the_bundled_model() -> None:
    """They are right nearly everywhere on clean print: else they would cost more than they save."""
    checkpoint = load(resolve(None))
    assert checkpoint.model.has_drafts
    transcriber = Transcriber(checkpoint)
    steps: list[int] = []
    for text in TEXTS[:4]:
        passes: list[int] = []
        transcriber(
            [transcriber.fitting(rendered_line(text))], lambda passes=passes: passes.append(1)
        )
        steps.append(len(passes))
    assert sum(steps) <= 3 * len(steps)


@pytest.mark.parametrize(
    ("draft", "said", "agreement"),
    [
        ("stone", ["stone."], 1.0),
        ("", ["."], 1.0),
        ("sto ne", ["ston", "e."], 5 / 6),
        ("", ["s", "t", "o", "n", "e", "."], 0.0),
        ("..", ["w", "ord."], 0.0),
        ("wood", ["wo", "rd."], 3 / 4),
    ],
)
def test_how_much_was_drafted_as_it_was_said(draft: str, said: list[str], agreement: float) -> None:
    """The last token said, here a full stop, is the end."""
    expected = Draft([ord(c) for c in draft.replace(".", "!")])
    for part in said:
        expected.say([ord(c) for c in part])
    assert expected.agreement(len("".join(said)) - 1) == pytest.approx(agreement)


def test_drafts_count_as_the_textbook_does() -> None:
    """Said piece by piece, right or wrong, to their end and beyond."""
    rng = random.Random(0)
    for _ in range(300):
        drafted = [rng.randrange(4) for _ in range(rng.randrange(12))]
        draft, text = Draft(drafted), []
        for _ in range(rng.randint(1, 4)):
            right = draft.rest[: rng.randint(0, 12)]
            text += (said := [*right, rng.randrange(5)])
            draft.say(said)
            distances = [edit_distance(text, drafted[:i]) for i in range(len(drafted) + 1)]
            nearest = max(i for i, d in enumerate(distances) if d == min(distances))
            assert draft.rest == drafted[nearest:]
        longest = max(len(text) - 1, len(drafted), 1)
        assert draft.agreement(len(text) - 1) == 1 - min(1, max(0, distances[-1] - 1) / longest)


def test_a_text_of_which_nothing_was_drafted_is_unsure() -> None:
    """The same words at the same places, with less confidence."""
    pixels = rendered_line("Chapter IV")
    cut = CutLine(pixels, Transcriber(load(resolve(None))).fitting)
    columns = pixels.shape[1] // 8
    seen = np.eye(columns)[np.linspace(0, columns - 1, 10).astype(int)]
    read = Transcript(list("Chapter IV"), [-0.05] * 10, seen, 1 / columns)
    sure, unsure = (
        cut.reading([dataclasses.replace(read, agreement=agreement)]).words
        for agreement in (0.9, 0.1)
    )
    assert [w.text for w in sure] == [w.text for w in unsure] == ["Chapter", "IV"]
    assert min(w.confidence for w in sure) > 0.9
    assert max(w.confidence for w in unsure) < 0.25


def test_distances_are_those_of_the_textbook() -> None:
    rng = random.Random(2)
    for _ in range(300):
        letters = rng.choice((2, 4, 30))
        draft = [rng.randrange(letters) for _ in range(rng.randrange(40))]
        right = rng.randrange(len(draft) + 1)
        said = draft[:right] + [rng.randrange(letters) for _ in range(rng.randrange(12))]
        table = [*range(len(draft) + 1)]
        for token in said:
            above, table = table, [table[0] + 1]
            for i, drafted in enumerate(draft):
                table.append(min(above[i] + (drafted != token), above[i + 1] + 1, table[i] + 1))
        found = Distances(draft, right)
        found.say(said[right:])
        assert found.to_whole() == table[-1]
        assert found.nearest() == max(i for i, x in enumerate(table) if x == min(table))
