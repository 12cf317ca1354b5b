"""Reading checkpoints: strictly, safely, and with transformers' semantics."""

from __future__ import annotations

import json
import pickle
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ocrmypdf_trocr_mlx.checkpoints.convert import convert
from ocrmypdf_trocr_mlx.checkpoints.describe import describe
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.checkpoints.weights import expand, read_weights
from ocrmypdf_trocr_mlx.model.options import GenerateOptions

mx = pytest.importorskip("mlx.core")

CONFIG = {
    "model_type": "vision-encoder-decoder",
    "encoder": {
        "model_type": "vit",
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": [16, 32],
        "patch_size": [8, 8],
    },
    "decoder": {
        "model_type": "trocr",
        "vocab_size": 12,
        "d_model": 8,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 16,
        "max_position_embeddings": 30,
        "cross_attention_hidden_size": 8,
    },
    "decoder_start_token_id": 2,
    "eos_token_id": 2,
    "pad_token_id": 1,
}


def published_weights() -> dict[str, np.ndarray]:
    """Random weights of CONFIG under the names that published checkpoints use."""
    random = np.random.default_rng(0)
    weights = {}

    def add(name: str, *shape: int) -> None:
        weights[name] = random.normal(size=shape).astype(np.float32)

    def layer(name: str, *shape: int) -> None:
        add(f"{name}.weight", *shape)
        add(f"{name}.bias", shape[0])

    add("encoder.embeddings.cls_token", 1, 1, 8)
    add("encoder.embeddings.position_embeddings", 1, 9, 8)
    layer("encoder.embeddings.patch_embeddings.projection", 8, 3, 8, 8)
    block = "encoder.encoder.layer.0."
    for name in ("query", "key", "value"):
        layer(f"{block}attention.attention.{name}", 8, 8)
    layer(f"{block}attention.output.dense", 8, 8)
    layer(f"{block}intermediate.dense", 16, 8)
    layer(f"{block}output.dense", 8, 16)
    for name in (f"{block}layernorm_before", f"{block}layernorm_after", "encoder.layernorm"):
        layer(name, 8)
    layer("encoder.pooler.dense", 8, 8)
    decoder = "decoder.model.decoder."
    add(f"{decoder}embed_tokens.weight", 12, 8)
    add(f"{decoder}embed_positions.weight", 32, 8)
    layer(f"{decoder}layernorm_embedding", 8)
    for attention in ("self_attn", "encoder_attn"):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            layer(f"{decoder}layers.0.{attention}.{name}", 8, 8)
        layer(f"{decoder}layers.0.{attention}_layer_norm", 8)
    layer(f"{decoder}layers.0.fc1", 16, 8)
    layer(f"{decoder}layers.0.fc2", 8, 16)
    layer(f"{decoder}layers.0.final_layer_norm", 8)
    return weights


def write(folder: Path, weights: dict[str, np.ndarray], config: dict | None = None) -> Path:
    (folder / "config.json").write_text(json.dumps(config or CONFIG))
    processor = {"size": {"height": 16, "width": 32}, "pad_to_aspect": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    vocabulary = {t: i for i, t in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"abcdefgh"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    save_file(weights, folder / "model.safetensors")
    return folder


def logits(folder: Path) -> np.ndarray:
    pixels = mx.array(np.random.default_rng(1).normal(size=(2, 16, 32, 3)).astype(np.float32))
    return np.array(load(folder).model(pixels, mx.array([[2, 5, 6], [2, 7, 8]])))


def test_both_generations_of_names(tmp_path):
    """The names that transformers 5 holds in memory, and a copy of the tied table."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = write(tmp_path / "old", published_weights())
    renames = {
        "encoder.encoder.layer.": "encoder.layers.",
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "0.output.dense": "0.mlp.fc2",
    }
    weights = {}
    for key, value in published_weights().items():
        for before, after in renames.items():
            key = key.replace(before, after)
        weights[key] = value
    weights["decoder.output_projection.weight"] = weights[
        "decoder.model.decoder.embed_tokens.weight"
    ]
    new = write(tmp_path / "new", weights)
    np.testing.assert_array_equal(logits(old), logits(new))


def test_missing_and_unexpected_weights_are_listed(tmp_path):
    weights = published_weights()
    del weights["encoder.layernorm.bias"]
    weights["decoder.model.decoder.layers.1.fc1.bias"] = np.zeros(16, np.float32)
    weights["decoder.model.decoder.layers.0.fc2.bias"] = np.zeros(9, np.float32)
    with pytest.raises(CheckpointError) as error:
        load(write(tmp_path, weights))
    message = str(error.value)
    assert "1 missing (encoder.layernorm.bias)" in message
    assert "1 unexpected (decoder.layers.1.fc1.bias)" in message
    assert "decoder.layers.0.fc2.bias (9,) for (8,)" in message
    assert "\n" not in message


@pytest.mark.parametrize("kind", ["roberta", "gpt2"])
def test_other_decoders_are_refused(tmp_path, kind):
    config = {**CONFIG, "decoder": {**CONFIG["decoder"], "model_type": kind}}
    with pytest.raises(CheckpointError, match=r"decoder '.*' is not supported.*trocr"):
        load(write(tmp_path, published_weights(), config))


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load(tmp_path)
    write(tmp_path, published_weights())
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        load(tmp_path)


class Malicious:
    """Unpickled the ordinary way it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "owned")


def test_a_malicious_pickle_is_refused(tmp_path):
    harm = tmp_path / "harm"
    pickle.loads(pickle.dumps(Malicious(harm)))
    assert harm.exists(), "the pickle does what it is meant to"
    harm.unlink()
    write(tmp_path, published_weights())
    (tmp_path / "model.safetensors").unlink()
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": Malicious(harm)}))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: refused"):
        load(tmp_path)
    assert not harm.exists()


def test_torch_files_read_as_torch_reads_them(tmp_path):
    torch = pytest.importorskip("torch", reason="writing pytorch_model.bin needs torch")
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {
        "plain": base,
        "transposed view": base.T,
        "slice": base[1:3, 2:5],
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "parameter": torch.nn.Parameter(base + 1),
        "scalar": torch.tensor(3),
    }
    torch.save(state, tmp_path / "pytorch_model.bin")
    weights = read_weights(tmp_path)
    assert weights.keys() == state.keys()
    assert weights["bfloat16"].dtype == mx.bfloat16
    for name, tensor in state.items():
        got = np.array(weights[name].astype(mx.float32))
        np.testing.assert_array_equal(got, tensor.detach().float().numpy())


def test_packed_weights_are_near(tmp_path):
    (tmp_path / "float").mkdir()
    source = write(tmp_path / "float", published_weights())
    convert(source, tmp_path / "packed", "int8")
    packed = expand(read_weights(tmp_path / "packed"), mx.float32)
    stored = read_weights(tmp_path / "packed")
    assert stored["decoder.model.decoder.layers.0.fc1.weight"].dtype == mx.int8
    for name, value in published_weights().items():
        if "pooler" not in name:
            largest = np.abs(value).max(axis=tuple(range(1, value.ndim)) or None, keepdims=True)
            # Half a step of 127, and what float16 does to the scale.
            assert (np.abs(np.array(packed[name]) - value) <= largest * (0.5 / 127 + 1e-3)).all()
    np.testing.assert_allclose(logits(tmp_path / "packed"), logits(source), atol=0.5)


def test_the_model_serves_another_thread(tmp_path):
    model = load(write(tmp_path, published_weights())).model
    result = []

    def work() -> None:
        result.append(np.array(model(mx.zeros((1, 16, 32, 3)), mx.array([[2]]))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert result and np.isfinite(result[0]).all()


def test_a_narrow_image_takes_the_first_columns(tmp_path):
    model = load(write(tmp_path, published_weights())).model
    table = model.encoder.embeddings.position_embeddings
    narrow = model.encoder.embeddings(mx.zeros((1, 16, 16, 1)))
    full = model.encoder.embeddings(mx.zeros((1, 16, 32, 1)))
    assert narrow.shape == (1, 1 + 2 * 2, 8) and full.shape[1] == table.shape[1]
    expected = np.array(full)[0, [0, 1, 2, 5, 6]]  # rows of four columns, two of each
    np.testing.assert_array_equal(np.array(narrow)[0], expected)
    with pytest.raises(ValueError, match="do not fit the model"):
        model.encode(mx.zeros((1, 16, 20, 1)))


def test_resolve(tmp_path):
    assert resolve(str(tmp_path)) == tmp_path
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        resolve(str(tmp_path / "absent"))
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="not a file of weights"):
        resolve(str(tmp_path / "file"))


def shards(folder: Path, weights: dict[str, np.ndarray]) -> Path:
    """Split model.safetensors in two, with an index as transformers writes it."""
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for i in range(2):
        name = f"model-0000{i + 1}-of-00002.safetensors"
        part = dict(list(weights.items())[i::2])
        save_file(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_sharded_weights(tmp_path):
    expected = logits(write(tmp_path, published_weights()))
    index = shards(tmp_path, published_weights())
    np.testing.assert_array_equal(logits(tmp_path), expected)
    (tmp_path / "model-00002-of-00002.safetensors").rename(tmp_path.parent / "away.safetensors")
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.safetensors is missing"):
        load(tmp_path)
    for text in (
        '{"weight_map": {"a": "../away.safetensors"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": ["a"]}',
        '{"weight_map": {"a": 1}}',
        "[]",
        "{",
    ):
        index.write_text(text)
        with pytest.raises(CheckpointError, match="index"):
            load(tmp_path)


def test_a_file_of_weights(tmp_path):
    """A checkpoint may be named by one of its files: others beside it are not read."""
    expected = logits(write(tmp_path, published_weights()))
    save_file(published_weights(), tmp_path / "best.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"")
    file = resolve(str(tmp_path / "best.safetensors"))
    np.testing.assert_array_equal(logits(file), expected)
    convert(file, tmp_path / "converted", "float32")
    np.testing.assert_array_equal(logits(tmp_path / "converted"), expected)
    found = describe(file)
    assert found.stored["files"] == ["best.safetensors"] and not any(
        "pickled" in o for o in found.odd
    )
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load(file)


def test_options():
    assert GenerateOptions.from_config(CONFIG, None).max_length == 30
    old = {**CONFIG, "max_length": 20, "decoder": {**CONFIG["decoder"], "max_length": 20}}
    assert GenerateOptions.from_config(old, None).max_length == 30
    tuned = {**CONFIG, "max_length": 24, "num_beams": 4, "eos_token_id": [2, 5]}
    options = GenerateOptions.from_config(tuned, None, length_penalty=2.0)
    assert (options.max_length, options.num_beams, options.eos) == (24, 4, (2, 5))
    assert options.length_penalty == 2.0
    # generation_config.json replaces what config.json says, but for the tokens.
    options = GenerateOptions.from_config(tuned, {"max_length": 512})
    assert (options.max_length, options.num_beams, options.start) == (30, 1, 2)
