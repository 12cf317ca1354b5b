"""`verify`: agreement with transformers, ties told from faults, errors by precision."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from test_checkpoints import CONFIG, published_weights, write
from typer.testing import CliRunner

from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.cli import app
from ocrmypdf_trocr_mlx.samples import TEXTS, rendered_lines

pytest.importorskip("torch", reason="comparing needs torch: pip install '.[parity]'")

from ocrmypdf_trocr_mlx.bench.parity import Difference, compare
from ocrmypdf_trocr_mlx.checkpoints.reference import Reference, filled_model

EMBEDDINGS = "decoder.model.decoder.embed_tokens.weight"


def checkpoint(folder, weights=None):
    folder.mkdir()
    return write(folder, weights or published_weights(), {**CONFIG, "max_length": 12})


def run(*arguments: object):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


@pytest.fixture
def lines(tmp_path):
    folder = tmp_path / "lines"
    folder.mkdir()
    for i, image in enumerate(rendered_lines(3)):
        Image.fromarray(image).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(TEXTS[i])
    return folder


@pytest.mark.parametrize("beams", [1, 3])
def test_the_same_weights_agree(tmp_path, beams) -> None:
    folder = checkpoint(tmp_path / "a")
    ours = load(folder)
    options = dataclasses.replace(ours.options, num_beams=beams)
    found = compare(Reference(filled_model(folder)), ours, rendered_lines(9), options)
    assert (found.identical, found.lines, found.beams) == (9, 9, beams)
    assert 0 < found.logits < 1e-4 and found.tokens >= 9


@pytest.mark.parametrize("beams", [1, 2])
def test_ties_are_told_from_faults(tmp_path, beams) -> None:
    reference = Reference(filled_model(checkpoint(tmp_path / "a")))
    options = dataclasses.replace(load(tmp_path / "a").options, num_beams=beams)
    images = rendered_lines(4)
    weights = published_weights()
    weights[EMBEDDINGS] = weights[EMBEDDINGS][::-1].copy()
    other = load(checkpoint(tmp_path / "b", weights))
    found = compare(reference, other, images, options)
    assert found.faults == found.differences and len(found.faults) == 4
    assert all(fault.gap > 0.01 for fault in found.faults), "torch prefers its own"

    # Two tokens alike, and with weights that round otherwise the second comes out first.
    first = found.faults[0].torch[0]
    twin = first + 1
    weights = published_weights()
    weights[EMBEDDINGS][twin] = weights[EMBEDDINGS][first]
    reference = Reference(filled_model(checkpoint(tmp_path / "c", weights)))
    weights[EMBEDDINGS][twin] *= 1 + 2e-6
    found = compare(reference, load(checkpoint(tmp_path / "d", weights)), images, options)
    assert found.differences and not found.faults
    assert {d.here[d.position] for d in found.differences} == {twin}


def test_a_text_that_goes_on_is_no_tie() -> None:
    assert not Difference(0, 3, [4, 5, 6], [4, 5, 6, 7], np.inf).is_tie


def test_command(tmp_path, lines) -> None:
    model = checkpoint(tmp_path / "a")
    result = run(model, lines, "--beams", 1, "--beams", 2, "--precision", "float16", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["lines"] == 3
    assert [s["beams"] for s in found["searches"]] == [1, 2]
    assert [s["identical"] for s in found["searches"]] == [3, 3]
    exact, half = found["precisions"]
    assert exact["precision"] == "float32" and exact["changed"] == 0
    assert exact["characters"] == sum(map(len, TEXTS[:3])) and exact["errors"] > 50
    assert half["stored"] < 0.75 * exact["stored"]

    result = run(model, lines, "--limit", 2, "--beams", 1)
    assert result.exit_code == 0
    assert "greedy: 2 of 2 lines token for token as PyTorch" in result.stdout


def test_what_cannot_be_verified(tmp_path, lines) -> None:
    (tmp_path / "empty").mkdir()
    result = run(checkpoint(tmp_path / "a"), tmp_path / "empty", "--no-torch")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no line with its text" in result.stderr
    assert run(tmp_path / "a", lines, "--precision", "3-bit").exit_code == 2
