"""Training from nothing: rendered lines, and a run of a tiny model from end to end."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
from PIL import Image, ImageDraw
from training_data import CHARACTERS as FEW
from training_data import WORDS, write_checkpoint, write_font, write_pairs

from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.training.batches import THIRDS, Frame
from ocrmypdf_trocr_mlx.training.charset import CHARACTERS
from ocrmypdf_trocr_mlx.training.errors import TrainingError
from ocrmypdf_trocr_mlx.training.fonts import FontSet, load_fonts
from ocrmypdf_trocr_mlx.training.glyphs import glyphs_of
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.mixture import Mixture
from ocrmypdf_trocr_mlx.training.paper import Paper
from ocrmypdf_trocr_mlx.training.pretrain import main
from ocrmypdf_trocr_mlx.training.render import LineRenderer, _edges
from ocrmypdf_trocr_mlx.training.texts import Texts, read_corpora

TEXT = "the quick brown fox jumps over the lazy dog and so on to the end of it all\n" * 40
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,-"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A font of squares, and a text."""
    folder = tmp_path_factory.mktemp("fonts")
    write_font(folder / "squares.ttf", LETTERS)
    (folder / "text.txt").write_text(TEXT)
    return folder


@pytest.fixture(scope="module")
def fonts(folder) -> FontSet:
    return load_fonts([folder], CHARACTERS)


def renderer(fonts: FontSet, characters: str = CHARACTERS) -> LineRenderer:
    return LineRenderer(fonts, Texts([TEXT], characters))


def test_labels_say_what_is_drawn(fonts):
    """Every letter of the font is a square: as many dark runs in the middle row as letters."""
    lines = renderer(fonts)
    counted = 0
    for seed in range(60):
        font = fonts.choose(random.Random(seed), "fox")
        words = lines._set(random.Random(seed), font, "brown\tfox jumps over", 2000)
        assert [w.text for w in words] == ["brown", "fox", "jumps", "over"]
        ink, _ = lines._draw(random.Random(seed), font, words)
        row = ink[np.argmax((ink > 128).sum(axis=1))] > 128
        runs = int(np.diff(np.concatenate([[False], row]).astype(int)).clip(0).sum())
        counted += runs == len("brownfoxjumpsover")
    assert counted > 40  # others are ruled, or have a neighbour's letters in that row


def test_lines_are_as_asked(fonts):
    lines, empty = renderer(fonts), 0
    for seed in range(150):
        rng = random.Random(seed)
        aspect = rng.uniform(1, 16)
        pixels, text, edges = lines.line(rng, aspect)
        assert pixels.dtype == np.uint8
        assert 12 <= pixels.shape[0] <= 66
        assert pixels.shape[1] / pixels.shape[0] < 1.8 * aspect + 2
        assert text == " ".join(text.split())
        assert set(text) <= set(LETTERS + " ")
        assert len(edges) == len(text) + 1
        empty += not text
    assert 0 < empty < 15


def test_a_seed_makes_the_same_line(fonts):
    a, b = (renderer(fonts).line(random.Random("7"), 9.0) for _ in range(2))
    assert a[1] == b[1]
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[2], b[2])


def test_characters_are_where_it_says(fonts):
    """The squares drawn lie within their edges as they do in the font: 50 to 450 of 500 units."""
    lines, exact = renderer(fonts), 0
    for seed in range(60):
        font = fonts.choose(random.Random(seed), "fox")
        words = lines._set(random.Random(seed), font, "brown\tfox jumps over", 2000)
        ink, left = lines._draw(random.Random(seed), font, words)
        edges = left + _edges(font, words)
        assert len(edges) == len("brown fox jumps over") + 1
        row = ink[np.argmax((ink > 128).sum(axis=1))] > 128
        changes = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(int)))
        letters = [i for i, c in enumerate("brown fox jumps over") if c != " "]
        if len(changes) == 2 * len(letters):  # not ruled, no neighbour's letters in that row
            np.testing.assert_allclose(changes[::2], edges[letters] + 0.05 * 44, atol=2)
            np.testing.assert_allclose(changes[1::2], edges[letters] + 0.45 * 44, atol=2)
            exact += 1
    assert exact > 40


def test_characters_of_a_font_with_kerning(folder):
    """Against PIL: each character ends where the text up to it does, drawn by itself."""
    font, size = load_fonts([folder], CHARACTERS).choose(random.Random(0), "a"), 44
    text, face = "Avocado To 1.7", font.at(44)
    lines = renderer(FontSet([font]))
    words = lines._set(random.Random(0), font, text, 3000)
    edges, start = _edges(font, words), 0
    for word in words:
        for i in range(len(word.text) + 1):
            expected = word.x + face.getlength(word.text[:i])
            assert abs(edges[start + i] - expected) < 1
        start += len(word.text) + 1
    assert size == face.size


def test_glyphs_stand_as_pillow_sets_them(fonts):
    """Wherever the text begins, within the image or partly outside it."""
    font, size = fonts.fonts[0], 44
    rng = random.Random(0)
    for _ in range(40):
        ink = np.zeros((40, 300), np.uint8)
        x, y = rng.uniform(-100, 310), rng.uniform(-30, 90)
        glyphs_of(font, size).draw(ink, "fox jumps", x, y)
        image = Image.new("L", (300, 40))
        ImageDraw.Draw(image).text((x, y), "fox jumps", 255, font.at(size), anchor="ls")
        np.testing.assert_array_equal(ink, np.asarray(image))


@pytest.mark.parametrize("style", ["print", "hand"])
def test_places_follow_what_the_paper_does(style):
    """Bars across the line: in the scan they are dark at the edges told, light between them."""
    paper, wrong = Paper(), []
    ink = np.zeros((70, 900), np.uint8)
    bars = np.arange(40, 880, 40)
    for bar in bars:
        ink[:, bar - 5 : bar + 5] = 255
    for seed in range(150):
        pixels, edges = paper.scan(random.Random(seed), ink, style, bars.astype(float))
        row = pixels[pixels.shape[0] // 2 - 1 : pixels.shape[0] // 2 + 2].mean(axis=0)
        within = (edges > 0) & (edges < pixels.shape[1] - 1)
        between = np.interp((edges[1:] + edges[:-1]) / 2, np.arange(len(row)), row)
        darker = np.interp(edges, np.arange(len(row)), row)[:-1] < between
        wrong.append(1 - darker[within[:-1]].mean())
    assert within.sum() > 15
    assert np.mean(np.array(wrong) > 0.05) < 0.06  # one in fifty is inverted


def test_texts_keep_to_the_characters():
    texts = Texts([TEXT], FEW)
    drawn = [texts.draw(random.Random(seed)) for seed in range(500)]
    assert set("".join(drawn)) <= set(FEW) | {"\t"}
    assert len(set(drawn)) > 100
    assert sum("\t" in text for text in drawn) > 10


def test_no_fonts_and_no_texts(tmp_path):
    with pytest.raises(TrainingError, match="no TrueType or OpenType font"):
        load_fonts([tmp_path], CHARACTERS)
    (tmp_path / "bad.ttf").write_bytes(b"no font")
    with pytest.raises(TrainingError, match="no TrueType or OpenType font"):
        load_fonts([tmp_path], CHARACTERS)
    with pytest.raises(TrainingError, match="no such folder"):
        load_fonts([tmp_path / "none"], CHARACTERS)
    with pytest.raises(TrainingError, match="no text"):
        read_corpora([tmp_path])


def test_a_mixture_survives_the_way_to_a_worker(fonts, tmp_path):
    """Pickled, it makes the same batches; their lines are legible and within their widths."""
    source = write_checkpoint(tmp_path / "model")
    checkpoint, encode = load(source), LabelEncoder(source)
    processor, options = checkpoint.processor, checkpoint.options
    frame = Frame(processor, 2, 2, 1, max_tokens=32, batch_size=4, parts=THIRDS)
    mixture = Mixture([], 0.5, renderer(fonts, FEW), encode, frame, seed=3)
    copy = pickle.loads(pickle.dumps(mixture))
    widths = set()
    for index in range(8):
        batch, again = mixture.batch(index), copy.batch(index)
        np.testing.assert_array_equal(batch.pixels, again.pixels)
        np.testing.assert_array_equal(batch.targets, again.targets)
        widths.add(batch.pixels.shape[2])
        assert (batch.tokens[:, 0] == options.start).all()
        assert ((batch.targets == options.eos[0]).sum(axis=1) == 1).all()
    assert widths <= {48, 96, 144}
    assert len(widths) > 1


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--characters", "none.txt", "none.txt: not a text"),
        ("--dims", "45", "dims 45 for 5 heads"),
        ("--patch", "20x8", "patches of 20x8 do not fill"),
    ],
)
def test_pretrain_refuses(folder, tmp_path, capsys, option, value, reason):
    command = ["--out", tmp_path / "out", "--dev", folder, "--texts", folder, "--device", "cpu"]
    assert main([*map(str, command), option, value]) == 1
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out" / "training" / "start" / "config.json").exists()


def test_a_size_that_is_none(capsys):
    with pytest.raises(SystemExit):
        main(["--out", "x", "--dev", "y", "--image", "48"])
    assert "give HEIGHTxWIDTH" in capsys.readouterr().err


def test_pretrain_from_end_to_end(folder, tmp_path, capsys):
    """Stopped at once and taken up, it writes a checkpoint that loads."""
    pairs = write_pairs(tmp_path / "pairs", WORDS[:4])
    (tmp_path / "characters.txt").write_text(FEW + "\n")
    command = ["--out", tmp_path / "out", "--dev", pairs, "--real", pairs, "--fonts", folder]
    command += ["--texts", folder, "--characters", tmp_path / "characters.txt", "--steps", 3]
    command += ["--batch-size", 2, "--image", "24x144", "--patch", "24x4", "--dims", 32]
    command += ["--heads", 2, "--encoder-layers", 1, "--decoder-layers", 1, "--device", "cpu"]
    arguments = [str(word) for word in command]
    assert main([*arguments, "--seconds", "0"]) == 0
    assert "run it again to go on" in capsys.readouterr().err
    assert not (tmp_path / "out" / "config.json").exists()
    assert main(arguments) == 0
    assert "all: CER" in capsys.readouterr().out
    assert load(tmp_path / "out").config.decoder.d_model == 32
    assert main([*arguments, "--lr", "1e-5"]) == 1
    assert "other settings (lr was '0.0007', is '1e-05')" in capsys.readouterr().err
