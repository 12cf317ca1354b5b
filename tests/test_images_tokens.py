"""Images and tokens, bit for bit and letter for letter as transformers has them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from ocrmypdf_trocr_mlx.checkpoints.images import (
    END_MARGIN,
    GPU_WIDTHS,
    READ_WIDTHS,
    ImageProcessor,
)
from ocrmypdf_trocr_mlx.checkpoints.tokens import Tokenizer


def lines() -> list[Image.Image]:
    random = np.random.default_rng(3)
    sizes = [(40, 700), (64, 64), (20, 301)]
    return [Image.fromarray(random.integers(0, 256, (*s, 3), dtype=np.uint8)) for s in sizes]


@pytest.mark.parametrize("resample", [2, 3])
@pytest.mark.parametrize("size", [384, {"height": 48, "width": 96}])
def test_images_equal_transformers(size, resample):
    pil = pytest.importorskip(
        "transformers.models.vit.image_processing_pil_vit", reason="needs transformers 5"
    )
    config = {"size": size, "resample": resample, "image_mean": [0.5, 0.4, 0.3]}
    reference = pil.ViTImageProcessorPil(**config, image_std=[0.5, 0.5, 0.2])
    ours = ImageProcessor.from_dict({**config, "image_std": [0.5, 0.5, 0.2]})
    expected = np.asarray(reference(lines(), return_tensors="np")["pixel_values"])
    np.testing.assert_array_equal(ours(lines()).transpose(0, 3, 1, 2), expected)


# preprocessor_config.json as it was written over the years: older ones name an extractor, give
# one number for the size, and say nothing of what was the class's default.
MEANS = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
FORMS = {
    "base, 2021": {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        "resample": 2,
        "size": 384,
        **MEANS,
    },
    "small, 2022": {
        "crop_size": {"height": 384, "width": 384},
        "do_center_crop": False,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_processor_type": "DeiTImageProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": 384, "width": 384},
        **MEANS,
    },
    "cropped": {
        "image_processor_type": "DeiTImageProcessor",
        "crop_size": {"height": 224, "width": 224},
        "size": {"height": 256, "width": 256},
        **MEANS,
    },
    "not normalised": {
        "image_processor_type": "ViTImageProcessor",
        "do_normalize": False,
        "resample": 3,
        "size": {"height": 64, "width": 96},
        **MEANS,
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_image_processor(form):
    values = FORMS[form]
    kind = "deit" if "DeiT" in values.get("image_processor_type", "") else "vit"
    module = pytest.importorskip(
        f"transformers.models.{kind}.image_processing_pil_{kind}", reason="needs transformers 5"
    )
    reference = getattr(module, {"deit": "DeiT", "vit": "ViT"}[kind] + "ImageProcessorPil")
    expected = np.asarray(reference(**values)(lines(), return_tensors="np")["pixel_values"])
    ours = ImageProcessor.from_dict(values)
    np.testing.assert_array_equal(ours(lines()).transpose(0, 3, 1, 2), expected)


def test_grey_lines_have_one_channel():
    processor = ImageProcessor(48, 96)
    grey = [line.convert("L") for line in lines()]
    got = processor(grey)
    assert got.shape == (3, 48, 96, 1)
    np.testing.assert_array_equal(got, processor([line.convert("RGB") for line in grey])[..., :1])


def test_aspect_is_kept_and_padded_with_paper():
    processor = ImageProcessor(48, 768, patch_width=8, pad_to_aspect=True)
    black = np.zeros((24, 50), np.uint8)
    got = processor([black])
    assert got.shape == (1, 48, 104, 1)
    assert (got[:, :, :100] == -1).all() and (got[:, :, 100:] == 1).all()
    assert processor([black, np.zeros((10, 400), np.uint8)]).shape == (2, 48, 768, 1)
    assert processor.padded_width(48, 1) == 8


def test_byte_level_tokens(tmp_path):
    # GPT-2 writes a blank as U+0120, and é is two bytes, here in two tokens.
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "caf", "Ã", "©", "Ġau", "<mask>"]
    (tmp_path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    tokenizer = Tokenizer.from_folder(tmp_path)
    ids = [0, 4, 5, 6, 7, 2, 99]
    assert tokenizer.decode(ids) == "café au"
    assert tokenizer.pieces(ids) == ["", "caf", "", "é", " au", "", ""]
    assert tokenizer.decode([4, 5]) == "caf\ufffd"


def test_sentencepiece_tokens(tmp_path):
    def message(piece: str) -> bytes:
        data = piece.encode()
        body = b"\x0a" + bytes([len(data)]) + data + b"\x15" + b"\0\0\0\0"  # text, score
        return b"\x0a" + bytes([len(body)]) + body

    pieces = ["<unk>", "<s>", "</s>", "\u2581The", "\u2581", "cat"]
    trainer = b"\x12\x03abc"
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"".join(map(message, pieces)) + trainer)
    tokenizer = Tokenizer.from_folder(tmp_path)
    # XLM-R's ids: sentencepiece's plus one.
    assert tokenizer.decode([0, 4, 5, 6, 2, 64010]) == "The cat"
    assert tokenizer.pieces([4, 5, 6]) == ["The", " ", "cat"]


@pytest.mark.parametrize("kind", ["characters", "bytes", "unigram"])
def test_tokenizer_json_decodes_as_tokenizers_does(tmp_path, kind):
    library = pytest.importorskip("tokenizers")
    text = "Señor Müller paid 12 € — twice."
    if kind == "characters":
        vocabulary = {c: i for i, c in enumerate(sorted(set(text)))}
        built = library.Tokenizer(library.models.WordLevel(vocabulary, unk_token=" "))
        built.pre_tokenizer = library.pre_tokenizers.Split(library.Regex(r"[\s\S]"), "isolated")
        built.decoder = library.decoders.Fuse()
    elif kind == "bytes":
        alphabet = sorted(library.pre_tokenizers.ByteLevel.alphabet())
        built = library.Tokenizer(library.models.BPE({c: i for i, c in enumerate(alphabet)}, []))
        built.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        built.decoder = library.decoders.ByteLevel()
    else:
        pieces = [("<unk>", 0.0), ("\u2581", -2.0), *((c, -3.0) for c in sorted(set(text)))]
        built = library.Tokenizer(library.models.Unigram(pieces, 0))
        built.pre_tokenizer = library.pre_tokenizers.Metaspace()
        built.decoder = library.decoders.Metaspace()
    built.add_special_tokens(["</s>"])
    built.save(str(tmp_path / "tokenizer.json"))
    ids = [*built.encode(text).ids, built.token_to_id("</s>")]
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.decode(ids) == text == built.decode(ids)
    assert len(tokenizer.pieces(ids)) == len(ids)


TRAINING = (
    'Scanned pages become searchable , he said : "it \'s so" .',
    "Señor Müller paid 12 € — twice; naïve readers don't.",
    "Invoice No. 2041-77 of 12 March 1998, total 1,284.50",
    "ΑΒΓ абв 漢字 and the rest of it",
)


def assert_same_text(reference, ours: Tokenizer) -> None:
    """As transformers decodes what its own tokenizer makes of texts."""
    for text in (*TRAINING, "unseen Wörter, ½ of them", "  blanks   between  "):
        ids = reference(text).input_ids
        assert len(ids) > 4
        expected = reference.decode(ids, skip_special_tokens=True)
        assert ours.decode(ids) == expected
        assert ours.decode([2, *ids, 1, 1]) == expected


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece_as_transformers_reads_it(tmp_path, kind):
    library = pytest.importorskip("sentencepiece", reason="needs the extra parity")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    with (tmp_path / "sentencepiece.bpe.model").open("wb") as file:
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(TRAINING * 20),
            model_writer=file,
            vocab_size=120,
            model_type=kind,
            character_coverage=1.0,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    reference = transformers.XLMRobertaTokenizer.from_pretrained(tmp_path)
    ours = Tokenizer.from_folder(tmp_path)
    assert len(ours) == len(reference)
    assert_same_text(reference, ours)


def test_byte_level_bpe_as_transformers_reads_it(tmp_path):
    library = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    trained = library.ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(TRAINING * 20, vocab_size=400, special_tokens=special)
    trained.save_model(str(tmp_path))
    reference = transformers.RobertaTokenizer.from_pretrained(tmp_path)
    assert_same_text(reference, Tokenizer.from_folder(tmp_path))


@pytest.mark.parametrize("keeps", [True, False])
def test_lines_that_fit_are_only_stacked(keeps, monkeypatch):
    processor = ImageProcessor(48, 96, patch_width=8, pad_to_aspect=keeps)
    random = np.random.default_rng(4)
    fit = [random.integers(0, 256, (48, 64 if keeps else 96), dtype=np.uint8) for _ in range(3)]
    expected = processor._fitted(fit)
    others = [[*fit[:2], fit[2][:, :50]], [fit[0][:40]], [Image.fromarray(fit[0])]]
    made = [processor.levels(images) for images in others]
    monkeypatch.setattr(ImageProcessor, "_fitted", lambda self, images: None)
    np.testing.assert_array_equal(processor.levels(fit), expected)
    assert all(processor.levels(images) is None for images in others) and len(made) == 3


@pytest.mark.parametrize(("parts", "count"), [(READ_WIDTHS, 15), (GPU_WIDTHS, 4)])
def test_lines_are_padded_to_a_few_widths(parts: tuple[int, ...], count: int) -> None:
    processor = ImageProcessor(48, 768, patch_width=8, pad_to_aspect=True)
    widths = {line: processor.read_width(48, line, parts) for line in range(1, 800)}
    assert len(set(widths.values())) == count
    for line, width in widths.items():
        assert width % 8 == 0
        assert width == 768 or width >= line + END_MARGIN
