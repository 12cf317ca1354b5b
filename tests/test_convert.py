"""Checkpoints in other precisions: near the original, and whole or not there at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_checkpoints import CONFIG, published_weights, write

from ocrmypdf_trocr_mlx.checkpoints.convert import convert
from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.weights import read_weights

mx = pytest.importorskip("mlx.core")
nn = pytest.importorskip("mlx.nn")

OUTPUT = "decoder.output_projection.weight"
EMBEDDINGS = "decoder.model.decoder.embed_tokens.weight"


def widened() -> tuple[dict, dict[str, np.ndarray]]:
    """CONFIG and its weights eight times as wide, for groups of 32 and 64 to fit in."""
    config = json.loads(json.dumps(CONFIG).replace(": 8,", ": 64,").replace(": 16,", ": 128,"))
    config["decoder"]["cross_attention_hidden_size"] = 64
    config["dtype"] = "float32"
    random = np.random.default_rng(5)
    sizes = {8: 64, 16: 128}
    weights = {}
    for key, value in published_weights().items():
        shape = [sizes.get(n, n) for n in value.shape]
        if "projection.weight" in key:
            shape = [64, 3, 8, 8]
        weights[key] = random.normal(size=shape).astype(np.float32) * 0.3
    return config, weights


@pytest.fixture
def source(tmp_path):
    config, weights = widened()
    (tmp_path / "source").mkdir()
    return write(tmp_path / "source", weights, config)


def logits(checkpoint) -> np.ndarray:
    pixels = mx.array(np.random.default_rng(1).normal(size=(2, 16, 32, 3)).astype(np.float32))
    tokens = mx.array([[2, 5, 6], [2, 7, 8]])
    return np.array(checkpoint.model(pixels, tokens).astype(mx.float32))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 0), ("float16", 0.02), ("bfloat16", 0.2)])
def test_floats(source, tmp_path, dtype, tolerance) -> None:
    convert(source, tmp_path / "target", dtype)
    stored = read_weights(tmp_path / "target")
    assert {str(value.dtype) for value in stored.values()} == {f"mlx.core.{dtype}"}
    assert not any("pooler" in key for key in stored)
    assert json.loads((tmp_path / "target" / "config.json").read_text())["dtype"] == dtype
    expected = logits(load(source))
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(logits(load(tmp_path / "target")), expected, atol=tolerance)


@pytest.mark.parametrize("bits, tolerance", [(8, 0.1), (4, 1.5)])
def test_quantized(source, tmp_path, bits, tolerance) -> None:
    convert(source, tmp_path / "target", "float32", bits)
    config = json.loads((tmp_path / "target" / "config.json").read_text())
    assert config["quantization"] == {"bits": bits, "group_size": 64}
    kept = load(tmp_path / "target", keep_quantized=True)
    layer = kept.model.decoder.layers[0]
    assert isinstance(layer.self_attn.qkv_proj, nn.QuantizedLinear) and layer.fc1.bits == bits
    assert isinstance(kept.model.decoder.embed_tokens, nn.QuantizedEmbedding)
    assert isinstance(kept.model.decoder.embed_positions, nn.Embedding)
    expected = logits(load(source))
    got = logits(kept)
    assert 1e-4 < np.abs(got - expected).max() < tolerance
    # Expanded, which is for processors, it is the same model.
    plain = load(tmp_path / "target")
    assert isinstance(plain.model.decoder.layers[0].fc1, nn.Linear)
    np.testing.assert_allclose(logits(plain), got, atol=1e-3)
    # As MLX itself would quantize the loaded model.
    reference = load(source)
    nn.quantize(
        reference.model,
        64,
        bits,
        class_predicate=lambda p, m: (
            p.split(".")[-1]
            in ("qkv_proj", "kv_proj", "q_proj", "o_proj", "out_proj", "fc1", "fc2", "embed_tokens")
        ),
    )
    np.testing.assert_allclose(got, logits(reference), atol=1e-4)


def test_a_table_that_serves_twice_is_stored_once(source, tmp_path) -> None:
    config, weights = widened()
    weights[OUTPUT] = weights.pop(EMBEDDINGS)
    (tmp_path / "only output").mkdir()
    write(tmp_path / "only output", weights, config)
    convert(tmp_path / "only output", tmp_path / "a", bits=4)
    weights[EMBEDDINGS] = weights[OUTPUT]
    write(source, weights, config)
    convert(source, tmp_path / "b", bits=4)
    for name in ("a", "b"):
        stored = read_weights(tmp_path / name)
        assert OUTPUT not in stored and EMBEDDINGS in stored
        load(tmp_path / name, keep_quantized=True)


def test_packed_and_back(source, tmp_path) -> None:
    convert(source, tmp_path / "packed", "int8")
    convert(tmp_path / "packed", tmp_path / "again", "float32")
    packed = logits(load(tmp_path / "packed"))
    np.testing.assert_allclose(logits(load(tmp_path / "again")), packed, atol=1e-5)


def test_what_cannot_be_converted(source, tmp_path) -> None:
    convert(source, tmp_path / "q", bits=8)
    with pytest.raises(CheckpointError, match="is quantized"):
        convert(tmp_path / "q", tmp_path / "again")
    with pytest.raises(CheckpointError, match="exists already"):
        convert(source, tmp_path / "q")
    config, weights = widened()
    del weights["encoder.layernorm.bias"]
    write(source, weights, config)
    with pytest.raises(CheckpointError, match="1 missing"):
        convert(source, tmp_path / "bad")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["q", "source"], "nothing is left behind"


def test_quantization_that_is_not_ours(source) -> None:
    config = json.loads((source / "config.json").read_text())
    for values in ({"bits": 4}, {"bits": 7, "group_size": 64}, {"mode": "mxfp4"}, "4 bits"):
        (source / "config.json").write_text(json.dumps({**config, "quantization": values}))
        with pytest.raises(CheckpointError, match=r"quantization .* is not supported"):
            load(source)
