"""One side of `speed.compare`, a process: a job as JSON in, a `Side` as JSON out."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ocrmypdf_trocr_mlx import backend

from .speed import MOST_SINGLE_LINES, Side

Images = Sequence[np.ndarray]

# Both sides read the same pixels so many at a time, to compare what they read.
_COMPARED_AT_ONCE = 8


def run_mlx(job: dict[str, Any], images: Images) -> Side:
    start = time.perf_counter()
    backend.prepare(job["device"])
    import mlx.core as mx

    from ocrmypdf_trocr_mlx.checkpoints.load import load
    from ocrmypdf_trocr_mlx.checkpoints.verify import full_width
    from ocrmypdf_trocr_mlx.model.generate import generate
    from ocrmypdf_trocr_mlx.recognizer.transcribe import Transcriber

    on_gpu = mx.default_device().type == mx.gpu
    dtype = mx.float16 if on_gpu else mx.float32
    mx.eval(mx.zeros(1))  # starting a GPU is not the checkpoint's time
    imported = time.perf_counter()
    checkpoint = load(Path(job["folder"]), dtype, keep_quantized=backend.keeps_quantized())
    loaded = time.perf_counter()
    transcriber = Transcriber(checkpoint)

    def read(batch: Images) -> None:
        lines = sorted(map(transcriber.fitting, batch), key=lambda line: line.pixels.shape[1])
        for _, alike in itertools.groupby(lines, key=lambda line: line.pixels.shape[1]):
            transcriber(list(alike))

    ms = _timed(read, images, job["batch_sizes"])
    peak = mx.get_peak_memory() if on_gpu else _peak_of_process()
    options = dataclasses.replace(checkpoint.options, num_beams=1)
    texts = []
    for batch in _chunks(images, _COMPARED_AT_ONCE):
        pixels = mx.array(full_width(checkpoint.processor, batch))
        read_ = generate(checkpoint.model, pixels, options)
        texts += [checkpoint.tokenizer.decode(hypothesis.tokens) for hypothesis in read_]
    return _side(
        "mlx",
        version=f"MLX {metadata.version('mlx')}",
        device="GPU" if on_gpu else "CPU",
        dtype="float16" if on_gpu else "float32",
        times=(imported - start, loaded - imported),
        peak=peak,
        ms=ms,
        texts=texts,
    )


def run_torch(job: dict[str, Any], images: Images) -> Side:
    start = time.perf_counter()
    from ocrmypdf_trocr_mlx.checkpoints.load import read_parts
    from ocrmypdf_trocr_mlx.checkpoints.reference import (
        Reference,
        filled_model,
        pretrained_model,
        torch,
    )
    from ocrmypdf_trocr_mlx.checkpoints.verify import full_width

    library = torch()
    # transformers imports these when it loads a model: that is not the model's time.
    for name in ("vision_encoder_decoder", "vit", "deit", "trocr"):
        importlib.import_module(f"transformers.models.{name}.modeling_{name}")
    device = _torch_device(library, job["device"])
    on_gpu = device != "cpu"
    # As many threads as MLX has: torch counts processors that a container may not use.
    library.set_num_threads(min(library.get_num_threads(), backend.available_cpus()))
    library.zeros(1, device=device)
    folder = Path(job["folder"])
    imported = time.perf_counter()
    model = pretrained_model(folder)
    reference = Reference(filled_model(folder) if model is None else model, device, half=on_gpu)
    # Image processor, tokenizer and options are this package's, which equal transformers'.
    _, processor, tokenizer, wanted = read_parts(folder)
    loaded = time.perf_counter()
    options = dataclasses.replace(wanted, num_beams=1)

    def read(batch: Images) -> list[str]:
        rows = reference.generate(full_width(processor, batch), options)
        return [tokenizer.decode(row) for row in rows]

    ms = _timed(read, images, job["batch_sizes"])
    peak = library.cuda.max_memory_allocated() if device == "cuda" else _peak_of_process()
    texts = [text for batch in _chunks(images, _COMPARED_AT_ONCE) for text in read(batch)]
    return _side(
        "torch",
        version=f"PyTorch {library.__version__}",
        device="GPU" if on_gpu else "CPU",
        dtype="float16" if on_gpu else "float32",
        times=(imported - start, loaded - imported),
        peak=peak,
        ms=ms,
        texts=texts,
    )


def _torch_device(library: Any, device: str) -> str:
    if device != "cpu":
        if library.cuda.is_available():
            return "cuda"
        if library.backends.mps.is_available():
            return "mps"
    return "cpu"


def _timed(
    read: Callable[[Images], object], images: Images, batch_sizes: Sequence[int]
) -> dict[int, float]:
    """Milliseconds a line for each batch size.

    All batches are read once before: a GPU compiles or chooses kernels for every new shape.
    """
    times = {}
    for size in batch_sizes:
        lines = images[:MOST_SINGLE_LINES] if size == 1 else images
        batches = list(_chunks(lines, size))
        for batch in batches:
            read(batch)
        start = time.perf_counter()
        for batch in batches:
            read(batch)
        times[size] = 1000 * (time.perf_counter() - start) / len(lines)
    return times


def _chunks(images: Images, size: int) -> Iterator[Images]:
    return (images[i : i + size] for i in range(0, len(images), size))


def _peak_of_process() -> int:
    """Bytes that this process held at its largest."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _side(
    name: str, *, times: tuple[float, float], peak: int, ms: dict[int, float], **rest: Any
) -> Side:
    return Side(
        name=name,
        import_seconds=times[0],
        load_seconds=times[1],
        peak_memory=peak,
        ms={str(size): value for size, value in ms.items()},
        lines_per_second={str(size): 1000 / value for size, value in ms.items()},
        **rest,
    )


def main() -> None:
    job = json.loads(sys.argv[1])
    with np.load(job["lines"], allow_pickle=False) as lines:
        images = [lines[name] for name in lines.files]
    side = {"mlx": run_mlx, "torch": run_torch}[job["side"]](job, images)
    print(json.dumps(dataclasses.asdict(side)))


if __name__ == "__main__":
    main()
