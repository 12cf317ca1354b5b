"""A smaller model learns from a larger one what that makes of lines."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_docs import ROOT
from training_data import CHARACTERS, SIZE, WORDS, write_checkpoint, write_pairs

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.training.batches import IGNORED, Epochs
from ocrmypdf_trocr_mlx.training.dataset import Limits, load_dataset
from ocrmypdf_trocr_mlx.training.errors import TrainingError
from ocrmypdf_trocr_mlx.training.labels import LabelEncoder
from ocrmypdf_trocr_mlx.training.scratch import write_scratch
from ocrmypdf_trocr_mlx.training.trainer import frame_of

torch = pytest.importorskip("torch", reason="the recipe needs torch: pip install '.[parity]'")

sys.path.append(str(ROOT / "examples"))

from pretrain_torch.checkpoint import reader_of, write_product  # noqa: E402
from pretrain_torch.distil import Answers, Teacher, distance  # noqa: E402
from pretrain_torch.learning import Learner, Recipe  # noqa: E402

# Half as many columns of patches as the teacher has, and one decoder layer of its two.
PUPIL = dataclasses.replace(SIZE, patch_width=8, decoder_layers=1, activation="relu")


@pytest.fixture(scope="module", autouse=True)
def _device() -> Iterator[None]:
    backend.prepare("cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs", WORDS)


def learn(learner: Learner, source: Path, pairs: Path, steps: int) -> list[float]:
    """How far from the teacher the model was at each step."""
    samples = load_dataset([pairs], LabelEncoder(source), Limits(32)).samples
    epochs = Epochs(samples, frame_of(load(source), len(samples)), seed=0, augmented=False)
    return [learner.learn(epochs.batch(i), i / steps).apart.item() for i in range(steps)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, pairs) -> Teacher:
    """Knows ten words."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("teacher")
    source = write_checkpoint(folder / "source")
    checkpoint = load(source)
    model = reader_of(source, checkpoint)
    learner = Learner(model, checkpoint.processor, 2, Recipe(3e-3, 20, 20))
    assert learn(learner, source, pairs, 120) == [0.0] * 120  # it has none itself
    write_product(source, model, folder / "teacher")
    return Teacher(folder / "teacher", "cpu")


def written(folder: Path, **changes) -> Path:
    characters = changes.pop("characters", CHARACTERS)
    write_scratch(folder, dataclasses.replace(PUPIL, **changes), characters, 0)
    return folder


def answers(**changes) -> Answers:
    generator = torch.Generator().manual_seed(1)
    shapes = {"said": (2, 3, 9), "drafted": (2, 8, 9), "looked": (2, 3, 1 + 8)}
    made = {k: torch.randn(shape, generator=generator) for k, shape in shapes.items()}
    made["looked"] = made["looked"].softmax(-1)
    return Answers(**{**made, **changes})


def test_distance_is_none_only_from_the_same_answers() -> None:
    targets = torch.tensor([[4, 5, 2], [6, 2, IGNORED]])
    mine = answers()
    assert distance(mine, mine, targets).item() == pytest.approx(0.0, abs=1e-5)
    for name in Answers._fields:
        other = answers(**{name: getattr(mine, name).roll(1, -1)})
        assert distance(other, mine, targets).item() > 0.01
    # What is said where nothing is asked does not count.
    said = mine.said.clone()
    said[1, 2] += torch.arange(9)
    assert distance(answers(said=said), mine, targets).item() == pytest.approx(0.0, abs=1e-5)


def test_neighbouring_columns_of_the_teacher_are_one_of_the_pupil() -> None:
    targets = torch.full((2, 3), 5)
    wide = answers()
    pooled = wide.looked[..., 1:].unflatten(-1, (4, 2)).sum(-1)
    mine = answers(looked=torch.cat([wide.looked[..., :1], pooled], -1))
    assert distance(mine, wide, targets).item() == pytest.approx(0.0, abs=1e-5)
    apart = answers(looked=mine.looked.flip(-1))
    assert distance(apart, wide, targets).item() > 0.01


def test_a_pupil_comes_to_agree_with_its_teacher(teacher, pairs, tmp_path) -> None:
    source = written(tmp_path / "pupil")
    checkpoint = load(source)
    torch.manual_seed(0)
    model = reader_of(source, checkpoint, teacher.frames_of(checkpoint))
    assert model.config.draft_frames == 4
    teacher.refuse(model, checkpoint)
    learner = Learner(model, checkpoint.processor, 2, Recipe(3e-3, 10, 0), teacher=teacher)
    apart = learn(learner, source, pairs, 80)
    assert sum(apart[-5:]) < 0.5 * sum(apart[:5])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"characters": CHARACTERS + "."}, "its tokens are others"),
        ({"characters": CHARACTERS[::-1]}, "its tokens are others"),
        ({"width": 288}, "its images are of another size"),
        ({"patch_height": 12}, "one row of patches"),
        ({"patch_width": 6}, "its patches do not fill the pupil's"),
        ({"patch_width": 4}, None),
        ({"patch_width": 2}, "its patches do not fill the pupil's"),
    ],
)
def test_who_cannot_be_taught_is_told(teacher, tmp_path, changes, reason) -> None:
    source = written(tmp_path / "pupil", **changes)
    checkpoint = load(source)
    model = reader_of(source, checkpoint, teacher.frames_of(checkpoint))
    if reason is None:
        teacher.refuse(model, checkpoint)
        return
    with pytest.raises(TrainingError, match=reason):
        teacher.refuse(model, checkpoint)
