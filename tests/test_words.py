"""Lines cut at their words and put together anew: what is in the image is what the label says."""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import pickle
import random
import re

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from training_data import write_checkpoint

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.resolve import resolve
from ocrmypdf_trocr_mlx.training.batches import IGNORED, Frame
from ocrmypdf_trocr_mlx.training.dataset import Sample
from ocrmypdf_trocr_mlx.training.follow import MlxFollower
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.material import Material, add_arguments, read_material
from ocrmypdf_trocr_mlx.training.mixture import Mixture
from ocrmypdf_trocr_mlx.training.pretrain import main
from ocrmypdf_trocr_mlx.training.regroup import Place, Regrouper
from ocrmypdf_trocr_mlx.training.trainer import frame_of
from ocrmypdf_trocr_mlx.training.words import find_words

HEIGHT = 48
BAR = 6  # pixels of ink, and of paper between two bars
GAP = 9  # between words: paper beside them must not reach the next
LINES = ["the bridge was built", "in 1874, of stone and iron", "a", "Rivers run slowly to the sea"]


@pytest.fixture(scope="module", autouse=True)
def _device():
    backend.prepare("cpu")


def sample(pixels: np.ndarray, text: str, encode=lambda text: [0], page: str = "") -> Sample:
    encoded = cv2.imencode(".png", pixels)[1].tobytes()
    return Sample(text, text, tuple(encode(text)), encoded, *pixels.shape, page=page, source="s")


def printed(text: str) -> tuple[np.ndarray, list[Place]]:
    """A line, and where the ink of its words is."""
    font, places = ImageFont.load_default(40), []
    pixels = np.full((64, round(font.getlength(text)) + 60), 255, np.uint8)
    for match in re.finditer(r"\S+", text):
        word = Image.fromarray(np.full_like(pixels, 255))
        x = 25 + font.getlength(text[: match.start()])
        ImageDraw.Draw(word).text((x, 44), match[0], 0, font, "ls")
        inked = np.flatnonzero((np.asarray(word) < 128).any(axis=0))
        places.append(Place(match[0], inked[0], inked[-1] + 1))
        pixels = np.minimum(pixels, word)
    return pixels, places


@pytest.fixture(scope="module")
def found() -> list:
    """What the bundled model finds in lines, the last of which says something else."""
    source = resolve(None)
    checkpoint, encode = load(source), LabelEncoder(source)
    lines = [sample(printed(text)[0], text, encode) for text in LINES]
    lines.append(sample(printed(LINES[0])[0], "nothing of the kind here", encode))
    frame, pieces = frame_of(checkpoint, 2), checkpoint.tokenizer.pieces
    return find_words(lines, frame, pieces, MlxFollower(checkpoint))


@pytest.mark.parametrize("index", range(len(LINES)), ids=LINES)
def test_words_are_found_where_they_are_drawn(found, index) -> None:
    expected = printed(LINES[index])[1]
    assert [p.text for p in found[index]] == LINES[index].split()
    for place, drawn in zip(found[index], expected, strict=True):
        assert place.left == pytest.approx(drawn.left, abs=2)
        assert place.right == pytest.approx(drawn.right, abs=2)


def test_a_line_that_the_model_reads_otherwise_is_left_out(found) -> None:
    assert found[-1] is None


def barred(words: list[str], page: str, height: int = HEIGHT) -> tuple[Sample, list[Place]]:
    """A line whose word "3" is three black bars: an image tells what it says."""
    places, x = [], 2 * BAR
    for word in words:
        right = x + (2 * int(word) - 1) * BAR
        places.append(Place(word, x, right))
        x = right + GAP
    pixels = np.full((height, x), 255, np.uint8)
    for place in places:
        for left in range(int(place.left), int(place.right), 2 * BAR):
            pixels[4:-4, left : left + BAR] = 0
    return sample(pixels, " ".join(words), page=page), places


def bars(pixels: np.ndarray) -> int:
    dark = np.concatenate([[False], pixels[len(pixels) // 2] < 128])
    return int((dark[1:] & ~dark[:-1]).sum())


PAGES = {"a": "123", "b": "456"}


@pytest.fixture(scope="module")
def regrouper() -> Regrouper:
    """Two pages of lines; of each the words are others, and one page's lines are twice as high."""
    rng = random.Random(0)
    lines = [
        barred(rng.choices(digits, k=rng.randint(2, 12)), page, HEIGHT * (1 + (page == "b")))
        for page, digits in PAGES.items()
        for _ in range(6)
    ]
    return Regrouper(*zip(*lines, strict=True), HEIGHT)


@pytest.mark.parametrize("how", ["span", "together"])
def test_lines_made_anew_say_what_they_show(regrouper, how) -> None:
    rng, texts = random.Random(1), set()
    for index, aspect in itertools.product(range(12), (3, 6, 9, 14)):
        pixels, text = getattr(regrouper, how)(rng, index, aspect)
        words = text.split()
        assert bars(pixels) == sum(map(int, words))
        assert pixels.shape[1] <= aspect * pixels.shape[0] or len(words) == 1
        assert set(words) <= set(PAGES["a" if index < 6 else "b"])
        texts.add(text)
    assert len(texts) > 20
    assert max(len(text.split()) for text in texts) > 5


def test_spans_grow_with_the_room(regrouper) -> None:
    def widths(aspect: float) -> float:
        return np.mean(
            [regrouper.span(random.Random(i), i % 6, aspect)[0].shape[1] for i in range(60)]
        )

    assert widths(2) < widths(4) < widths(8)


def test_words_of_a_line_stay_in_their_order(regrouper) -> None:
    for seed in range(30):
        _, text = regrouper.span(random.Random(seed), 7, 8)
        assert f" {text} " in f" {regrouper._samples[7].text} "


def test_a_mixture_learns_from_them(regrouper, tmp_path) -> None:
    source = write_checkpoint(tmp_path / "model")
    encode, processor = LabelEncoder(source), load(source).processor
    frame = Frame(processor, 2, 2, 1, max_tokens=32, batch_size=3)
    mixture = Mixture([], 1.0, None, encode, frame, seed=5, words=regrouper)
    copy = pickle.loads(pickle.dumps(mixture))
    digits = {token for text in PAGES.values() for token in encode(f"{text} ")} | {2, IGNORED}
    for index in range(12):
        batch = mixture.batch(index)
        np.testing.assert_array_equal(batch.pixels, copy.batch(index).pixels)
        assert set(batch.targets.flat) <= digits
        assert (batch.targets[:, 0] != 2).all()  # no text is empty


def test_long_lines_are_learned_from_in_parts(tmp_path) -> None:
    """What is read whole, what in words, and what is repeated."""
    longest = " ".join(LINES[3:] * 4)
    (tmp_path / "lines").mkdir()
    entries = []
    for i, text in enumerate([*LINES, longest]):
        cv2.imwrite(str(tmp_path / "lines" / f"{i}.png"), printed(text)[0])
        entries.append({"image": f"{i}.png", "text": text, "source": "long" if i == 4 else "short"})
    manifest = "".join(json.dumps(entry) + "\n" for entry in entries)
    (tmp_path / "lines" / "manifest.jsonl").write_text(manifest)
    lines = str(tmp_path / "lines")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = ["--dev", lines, "--real", lines, "--times", "short=2"]
    source = resolve(None)
    checkpoint, encode = load(source), LabelEncoder(source)

    def material(*more: str) -> Material:
        args, frame = parser.parse_args([*arguments, *more]), frame_of(checkpoint, 2)
        return read_material(args, checkpoint, encode, frame, MlxFollower(checkpoint))

    whole, cut = material(), material("--words", "--times", "long=3")
    assert [s.text for s in whole.real] == [s.text for s in cut.real]
    assert [s.text for s in whole.real] == [text for text in LINES for _ in range(2)]
    assert whole.words is None and cut.words is not None
    # "a" is one word, of which nothing new can be made.
    known = collections.Counter(s.text for s in cut.words._samples)
    assert known == {longest: 3, **{text: 2 for text in LINES if text != "a"}}


def test_words_need_a_model_that_reads(tmp_path, capsys) -> None:
    (tmp_path / "lines").mkdir()
    Image.fromarray(printed("stone")[0]).save(tmp_path / "lines" / "1.png")
    (tmp_path / "lines" / "1.txt").write_text("stone")
    lines, model = str(tmp_path / "lines"), str(write_checkpoint(tmp_path / "model"))
    command = ["--out", str(tmp_path / "out"), "--dev", lines, "--device", "cpu", "--words"]
    for more, reason in (
        ([], "give --init"),
        (["--init", model], "give --real"),
        (["--init", model, "--real", lines], "the model reads none of 1 lines"),
    ):
        assert main([*command, *more]) == 1
        assert reason in capsys.readouterr().err
