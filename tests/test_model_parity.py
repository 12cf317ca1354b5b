"""The model against transformers and torch: same weights, same tokens."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ocrmypdf_trocr_mlx.checkpoints.load import load

mx = pytest.importorskip("mlx.core")
torch = pytest.importorskip("torch", reason="parity needs torch: pip install '.[parity]'")
transformers = pytest.importorskip("transformers", reason="parity needs transformers")

from ocrmypdf_trocr_mlx.model import cpu_encoder  # noqa: E402
from ocrmypdf_trocr_mlx.model.activations import activation  # noqa: E402
from ocrmypdf_trocr_mlx.model.generate import generate  # noqa: E402
from ocrmypdf_trocr_mlx.model.options import GenerateOptions  # noqa: E402

VOCABULARY = 61
DECODER = {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "decoder_layers": 3,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 96,
    "max_position_embeddings": 40,
}
FAMILIES = {
    "A": {"activation_function": "gelu", "layernorm_embedding": True, "tie_word_embeddings": True},
    "B": {
        "activation_function": "relu",
        "use_learned_position_embeddings": False,
        "layernorm_embedding": False,
        "scale_embedding": True,
        "tie_word_embeddings": False,
    },
    "C": {
        "activation_function": "relu",
        "layernorm_embedding": True,
        "scale_embedding": True,
        "tie_word_embeddings": False,
    },
}
# One activation for both halves, as a fine-tune or a model of one's own may have it.
FAMILIES["A relu"] = {**FAMILIES["A"], "activation_function": "relu"}
FAMILIES["A tanh"] = {**FAMILIES["A"], "activation_function": "gelu_new"}
ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": [24, 24],
    "patch_size": [8, 8],
}
ENCODERS = {
    "vit": (transformers.ViTConfig, {"qkv_bias": False}),
    "deit": (transformers.DeiTConfig, {"qkv_bias": True}),
    "lines": (transformers.ViTConfig, {"image_size": [24, 48], "patch_size": [12, 6]}),
    "relu": (transformers.ViTConfig, {"hidden_act": "relu"}),
    "tanh": (transformers.ViTConfig, {"hidden_act": "gelu_new"}),
}
MODELS = [
    ("A", "vit"),
    ("A", "lines"),
    ("B", "vit"),
    ("C", "deit"),
    ("A relu", "relu"),
    ("A tanh", "tanh"),
]
SEARCHES = {
    "greedy": {},
    "greedy no repeats": {"no_repeat_ngram_size": 2, "min_length": 6},
    "forced": {"forced_bos_token_id": 7, "forced_eos_token_id": 2, "begin_suppress_tokens": [9]},
    "suppressed": {"suppress_tokens": [3, 4, 5, 6], "num_beams": 2},
    "beams": {"num_beams": 4},
    "beams as in fine-tunes": {
        "num_beams": 4,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "early_stopping": True,
    },
    "beams, short": {"num_beams": 3, "length_penalty": -1.0, "min_length": 4},
    "beams, never early": {"num_beams": 10, "early_stopping": "never", "length_penalty": 0.7},
}


def random_model(family: str, encoder: str, seed: int = 0, **special):
    """A transformers model of tiny size, with weights large enough to read different texts."""
    config_class, changes = ENCODERS[encoder]
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        config_class(**{**ENCODER, **changes}),
        transformers.TrOCRConfig(
            **DECODER, **FAMILIES[family], cross_attention_hidden_size=ENCODER["hidden_size"]
        ),
    )
    ids = {"decoder_start_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, **special}
    for name, value in ids.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    model = transformers.VisionEncoderDecoderModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.5, 1.5)
            elif "embed_tokens" in name and FAMILIES[family].get("scale_embedding"):
                parameter.normal_(0, 0.25 / DECODER["d_model"] ** 0.5)
            else:
                parameter.normal_(0, 0.25)
        # Ends that come now and then: some rows of a batch finish early, others not at all.
        model.decoder.get_output_embeddings().weight[2] *= 1.5
    return model


def save(model, folder, encoder: str) -> None:
    """Write the checkpoint folder; save_pretrained gives the weights their published names."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    height, width = model.config.encoder.image_size
    processor = {"size": {"height": height, "width": width}, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    vocabulary |= {chr(0x21 + i): i for i in range(4, VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))


def images(model, count: int) -> np.ndarray:
    height, width = model.config.encoder.image_size
    return np.random.default_rng(1).normal(size=(count, height, width, 3)).astype(np.float32)


def to_torch(pixels: np.ndarray):
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())


@pytest.fixture(scope="module", params=MODELS, ids=["-".join(m) for m in MODELS])
def pair(request, tmp_path_factory):
    family, encoder = request.param
    folder = tmp_path_factory.mktemp("checkpoint")
    reference = random_model(family, encoder)
    save(reference, folder, encoder)
    return reference, load(folder)


def test_logits(pair):
    reference, checkpoint = pair
    pixels = images(reference, 3)
    tokens = np.random.default_rng(2).integers(4, VOCABULARY, (3, 20))
    tokens[:, 0] = 2
    with torch.no_grad():
        expected = reference(
            pixel_values=to_torch(pixels), decoder_input_ids=torch.from_numpy(tokens)
        ).logits.numpy()
    got = np.array(checkpoint.model(mx.array(pixels), mx.array(tokens)))
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["gelu", "relu", "gelu_new"])
def test_activations(name):
    """In the usual range, far out, and where the parts of an approximation meet."""
    values = np.concatenate(
        [np.linspace(-9, 9, 100_001), [-1e30, -40, 0, 40, 1e30], np.linspace(5.59, 5.61, 1001)]
    ).astype(np.float32)
    expected = transformers.activations.ACT2FN[name](torch.from_numpy(values).double()).numpy()
    got = np.array(activation(name)(mx.array(values)))
    np.testing.assert_allclose(got, expected, atol=1e-6, rtol=1e-6)


def test_a_step_of_its_own_is_as_a_text_at_once(pair):
    """On a Linux CPU steps are computed by other code than whole texts are."""
    reference, checkpoint = pair
    model, tokens = checkpoint.model, np.random.default_rng(3).integers(0, VOCABULARY, (3, 39))
    memory = model.memory(model.encode(mx.array(images(reference, 3))))
    expected, seen = model.decoder(mx.array(tokens), memory, 1)
    decoding = model.decoding(memory, 1)
    for position in range(tokens.shape[1]):
        logits, weights = decoding.step(mx.array(tokens[:, position]))
        np.testing.assert_allclose(np.array(logits), expected[:, position], atol=1e-4)
        np.testing.assert_allclose(np.array(weights), seen[:, position], atol=1e-5)


@pytest.mark.parametrize("search", SEARCHES)
def test_tokens(pair, search):
    reference, checkpoint = pair
    pixels = images(reference, 6)
    values = {"max_length": 24, **SEARCHES[search]}
    with torch.no_grad():
        expected = reference.generate(to_torch(pixels), do_sample=False, **values).tolist()
    config = json.loads(json.dumps(reference.config.to_dict(), default=str))
    options = GenerateOptions.from_config(config, values)
    got = generate(checkpoint.model, mx.array(pixels), options)
    assert len({tuple(row) for row in expected}) > 1, "the images must not all read alike"
    for row, hypothesis in zip(expected, got, strict=True):
        padded = [2, *hypothesis.tokens]
        assert padded + [1] * (len(row) - len(padded)) == row
        assert len(hypothesis.logprobs) == len(hypothesis.tokens)


def test_images_that_are_encoded_in_parts(pair, monkeypatch):
    reference, checkpoint = pair
    pixels = images(reference, 5)
    with torch.no_grad():
        expected = reference.generate(to_torch(pixels), do_sample=False, max_length=24).tolist()
    config = json.loads(json.dumps(reference.config.to_dict(), default=str))
    options = GenerateOptions.from_config(config, {"max_length": 24})
    states = checkpoint.config.encoder.num_states(*pixels.shape[1:3])
    assert states == checkpoint.model.encode(mx.array(pixels)).shape[1]
    encoded = []
    encode, chunks = type(checkpoint.model).encode, cpu_encoder._chunks
    monkeypatch.setattr(
        type(checkpoint.model), "encode", lambda s, x: encoded.append(len(x)) or encode(s, x)
    )

    def counted(lengths):
        for first, bounds in chunks(lengths):
            encoded.append(len(bounds) - 1)
            yield first, bounds

    monkeypatch.setattr(cpu_encoder, "_chunks", counted)  # on Linux CPUs
    monkeypatch.setattr(cpu_encoder, "STATES_AT_ONCE", 2 * states + 1)
    got = generate(checkpoint.model, mx.array(pixels), options)
    assert encoded == [2, 2, 1] or mx.default_device().type == mx.gpu
    for row, hypothesis in zip(expected, got, strict=True):
        assert row[: 1 + len(hypothesis.tokens)] == [2, *hypothesis.tokens]
