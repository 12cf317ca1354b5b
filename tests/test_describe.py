"""`inspect`: what is told of a checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_checkpoints import CONFIG, published_weights, write
from typer.testing import CliRunner

from ocrmypdf_trocr_mlx.checkpoints.convert import convert
from ocrmypdf_trocr_mlx.checkpoints.describe import describe
from ocrmypdf_trocr_mlx.cli import app

FAMILIES = {
    "A": {},
    "B": {
        "activation_function": "relu",
        "use_learned_position_embeddings": False,
        "layernorm_embedding": False,
        "scale_embedding": True,
    },
    "C": {"activation_function": "relu", "scale_embedding": True},
    "none": {"activation_function": "relu"},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families(tmp_path, family) -> None:
    config = {**CONFIG, "decoder": {**CONFIG["decoder"], **FAMILIES[family]}}
    found = describe(write(tmp_path, published_weights(), config))
    assert found.family == family
    assert any("no published decoder" in line for line in found.odd) == (family == "none")


def test_sizes(tmp_path) -> None:
    weights = published_weights()
    # A second copy of the token table counts once, the pooler not at all.
    weights["decoder.output_projection.weight"] = weights[
        "decoder.model.decoder.embed_tokens.weight"
    ]
    (tmp_path / "a").mkdir()
    found = describe(write(tmp_path / "a", weights))
    used = sum(v.size for k, v in published_weights().items() if "pooler" not in k)
    assert found.parameters["total"] == used == sum(found.parameters.values()) / 2
    assert found.memory["float32"] == 4 * used and found.memory["float16"] == 2 * used
    assert found.decoder["tied"] and found.stored["dtype"] == "float32"
    convert(tmp_path / "a", tmp_path / "b", "int8")
    packed = describe(tmp_path / "b")
    assert packed.parameters == found.parameters and packed.stored["dtype"] == "int8"


def test_what_is_odd(tmp_path) -> None:
    config = {**CONFIG, "num_beams": 4, "max_length": 20, "repetition_penalty": 1.3}
    found = describe(write(tmp_path, published_weights(), config))
    odd = "\n".join(found.odd)
    for said in (
        "cut its text after 20 tokens",
        "4 beams",
        "repetition_penalty=1.3 is ignored",
        "starts with the token that also ends it (2)",
        "16 x 32",
    ):
        assert said in odd
    assert "pickled" not in odd and "have no text" not in odd
    config["decoder"] = {**CONFIG["decoder"], "vocab_size": 14}
    weights = published_weights()
    table = "decoder.model.decoder.embed_tokens.weight"
    weights[table] = np.zeros((14, 8), np.float32)
    found = describe(write(tmp_path, weights, config))
    assert "2 of the decoder's 14 tokens have no text" in found.odd


def test_commands(tmp_path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    write(source, published_weights())

    def run(*arguments: str):
        return CliRunner().invoke(app, arguments)

    result = run("inspect", str(source), "--json")
    assert (result.exit_code, json.loads(result.stdout)["family"]) == (0, "A")
    result = run("inspect", str(source))
    assert result.exit_code == 0 and "layernorm embedding yes" in " ".join(result.stdout.split())
    assert run("convert", str(source), str(target), "--dtype", "float16").exit_code == 0
    assert describe(target).stored["dtype"] == "float16"
    assert run("convert", str(source), str(target), "--quantize", "3").exit_code == 2
    result = run("convert", str(source), str(target), "--quantize", "4", "--dtype", "int8")
    assert result.exit_code == 2


def test_converted_and_verified(tmp_path) -> None:
    """torch and transformers make of the source what we make of its conversion."""
    pytest.importorskip("torch", reason="verifying needs torch: pip install '.[parity]'")
    from ocrmypdf_trocr_mlx.checkpoints.verify import verify
    from ocrmypdf_trocr_mlx.samples import rendered_lines

    (tmp_path / "a").mkdir()
    source = write(tmp_path / "a", published_weights(), {**CONFIG, "max_length": 12})
    convert(source, tmp_path / "same", "float32")
    found = verify(source, tmp_path / "same", rendered_lines(2))
    assert found.exact and found.passed and found.tokens >= 2
    weights = published_weights()
    weights["encoder.encoder.layer.0.output.dense.bias"][0] += 2
    (tmp_path / "b").mkdir()
    other = write(tmp_path / "b", weights)
    assert not verify(source, other, rendered_lines(2)).passed
