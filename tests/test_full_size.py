"""Models of the published sizes, with random weights, against transformers and torch.

Left out unless asked for: the largest has 609 million parameters.  To run it, and see the figures:

    TROCR_FULL_SIZE=cpu python -m pytest tests/test_full_size.py -s

or, on an NVIDIA GPU, for both sides, without the rounding of TF32:

    TROCR_FULL_SIZE=gpu MLX_ENABLE_TF32=0 python -m pytest tests/test_full_size.py -s
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import os

import numpy as np
import pytest

from ocrmypdf_trocr_mlx import backend
from ocrmypdf_trocr_mlx.checkpoints.load import load
from ocrmypdf_trocr_mlx.checkpoints.weights import read_weights
from ocrmypdf_trocr_mlx.samples import rendered_lines

mx = pytest.importorskip("mlx.core")
torch = pytest.importorskip("torch", reason="parity needs torch: pip install '.[parity]'")
transformers = pytest.importorskip("transformers", reason="parity needs transformers")

from ocrmypdf_trocr_mlx.bench.parity import compare  # noqa: E402
from ocrmypdf_trocr_mlx.checkpoints.reference import Reference  # noqa: E402
from ocrmypdf_trocr_mlx.checkpoints.verify import full_width  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("TROCR_FULL_SIZE"),
        reason="minutes and 12 GB of memory: set TROCR_FULL_SIZE to cpu or gpu to run it",
    ),
]

# What generation reads in config.json files of 2021, saved with all defaults.
LEGACY = {"max_length": 20, "min_length": 0, "num_beams": 1, "length_penalty": 1.0}
TOKENS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}


def encoder(kind: str, hidden: int, layers: int, heads: int, **more) -> dict:
    return {
        "model_type": kind,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "image_size": 384,
        "patch_size": 16,
        "num_channels": 3,
        "qkv_bias": False,
        **LEGACY,
        **more,
    }


def decoder(memory: int, **more) -> dict:
    return {
        "model_type": "trocr",
        "vocab_size": 50265,
        "d_model": 1024,
        "decoder_layers": 12,
        "decoder_attention_heads": 16,
        "decoder_ffn_dim": 4096,
        "cross_attention_hidden_size": memory,
        "is_decoder": True,
        "add_cross_attention": True,
        "use_cache": False,
        **LEGACY,
        **TOKENS,
        **more,
    }


A = {
    "activation_function": "gelu",
    "layernorm_embedding": True,
    "scale_embedding": False,
    "use_learned_position_embeddings": True,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
B = {
    "activation_function": "relu",
    "layernorm_embedding": False,
    "scale_embedding": True,
    "use_learned_position_embeddings": False,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
}
C = {
    **B,
    "layernorm_embedding": True,
    "use_learned_position_embeddings": True,
    "max_position_embeddings": 512,
    "vocab_size": 64044,
    "d_model": 256,
    "decoder_layers": 6,
    "decoder_attention_heads": 8,
    "decoder_ffn_dim": 1024,
}
SMALL = encoder("deit", 384, 12, 6, qkv_bias=True)
BASE = encoder("vit", 768, 12, 12)
LARGE = encoder("vit", 1024, 24, 16)
# What microsoft publishes under these names: config.json of encoder and decoder.
PUBLISHED = {
    "small (printed, handwritten, stage1)": (SMALL, decoder(384, **C)),
    "base (printed, handwritten)": (BASE, decoder(768, **A)),
    "base (stage1)": (BASE, decoder(768, **B)),
    "large (handwritten)": (LARGE, decoder(1024, **A)),
    "large (printed, stage1)": (LARGE, decoder(1024, **B)),
}
SEARCHES = {
    "greedy": {},
    "4 beams": {"num_beams": 4},
    "4 beams as in fine-tunes": {
        "num_beams": 4,
        "length_penalty": 2.0,
        "no_repeat_ngram_size": 3,
        "early_stopping": True,
    },
    "10 beams": {"num_beams": 10, "min_length": 5},
}
IMAGES = 3
MAX_LENGTH = 24
# Weights that make different images read differently, and texts end now and then.
CROSS_GAIN = 3.0
END_GAIN = 5.0


def random_model(config: dict):
    """Fan-in scaled, so that signals keep their size through all layers."""
    model = transformers.VisionEncoderDecoderModel(
        # transformers 5.17 takes out of the dictionary what it reads.
        transformers.VisionEncoderDecoderConfig.from_dict(copy.deepcopy(config))
    ).eval()
    width = config["decoder"]["d_model"]
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name and name.endswith("weight"):
                parameter.uniform_(0.8, 1.2)
            elif parameter.ndim < 2:
                parameter.normal_(0, 0.1)
            elif "embed" in name or "token" in name or "output_projection" in name:
                parameter.normal_(0, 1.5 * width**-0.5 if "decoder" in name else 1.0)
            else:
                gain = CROSS_GAIN if "encoder_attn.k_proj" in name else 1.0
                parameter.normal_(0, gain * parameter[0].numel() ** -0.5)
        model.decoder.get_output_embeddings().weight[2] *= END_GAIN
    return model


def write(model, folder, config: dict) -> None:
    """The checkpoint in published names: config and preprocessor as they were in 2021."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    small = config["encoder"]["model_type"] == "deit"
    processor = {"do_resize": True, "size": 384, "resample": 3 if small else 2}
    processor |= {"feature_extractor_type": "ViTFeatureExtractor", "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(
        json.dumps({**processor, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    size = config["decoder"]["vocab_size"]
    (folder / "vocab.json").write_text(json.dumps({f"t{i}": i for i in range(size)}))


def same_from_torch_file(folder) -> bool:
    """Whether pytorch_model.bin, written by torch, gives the weights of model.safetensors."""
    from safetensors.torch import load_file

    weights = read_weights(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").rename(folder / "aside")
    pickled = read_weights(folder)
    same = weights.keys() == pickled.keys()
    same = same and all(mx.array_equal(weights[k], pickled[k]).item() for k in weights)
    (folder / "pytorch_model.bin").unlink()
    (folder / "aside").rename(folder / "model.safetensors")
    return same


@pytest.fixture
def device():
    """What torch is to compute on; MLX is prepared for the same."""
    on_gpu = os.environ["TROCR_FULL_SIZE"] == "gpu"
    if on_gpu:
        assert os.environ.get("MLX_ENABLE_TF32") == "0", "set MLX_ENABLE_TF32=0"
        torch.backends.cudnn.allow_tf32 = False
    backend.prepare("gpu" if on_gpu else "cpu")
    return "cuda" if on_gpu else "cpu"


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_size(name, device, tmp_path):
    """Weights of both kinds of files, encoder, logits, and tokens of every search."""
    parts = dict(zip(("encoder", "decoder"), PUBLISHED[name], strict=True))
    config = {
        "model_type": "vision-encoder-decoder",
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
        **parts,
    }
    model = random_model(config)
    count = sum(p.numel() for p in model.parameters())
    write(model, tmp_path, config)
    assert same_from_torch_file(tmp_path)
    gc.collect()
    reference, checkpoint = Reference(model, device), load(tmp_path)

    images = rendered_lines(IMAGES)
    pixels = full_width(checkpoint.processor, images)
    expected = reference.states(pixels)
    states = np.abs(np.array(checkpoint.model.encode(mx.array(pixels))) - expected).max()
    print(f"\n{name}: {count / 1e6:.0f} M parameters, encoder states within {states:.1e}")
    assert np.abs(expected).max() > 1 and states < 1e-4

    assert checkpoint.options.max_length > 20, "the default that cuts texts is not taken"
    options = dataclasses.replace(checkpoint.options, max_length=MAX_LENGTH)
    for search, values in SEARCHES.items():
        found = compare(reference, checkpoint, images, dataclasses.replace(options, **values))
        print(
            f"  {search}: {found.identical} of {found.lines} images token for token, "
            f"{found.tokens} tokens, logits within {found.logits:.1e}"
        )
        assert found.logits < 1e-4 and not found.differences
    gc.collect()
