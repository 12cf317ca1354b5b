"""The plugin's options: `--trocr-*` on the command line, `trocr_*` in OCRmyPDF's Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from ocrmypdf.exceptions import BadArgsError
from pydantic import BaseModel, Field, ValidationError

from ocrmypdf_trocr_mlx.doubt import DEFAULT_MIN_CONFIDENCE

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from ocrmypdf import OcrOptions
    from pydantic_core import ErrorDetails

NAMESPACE = "trocr"
ENGINE_NAME = "trocr"


class TrOcrOptions(BaseModel):
    """Defaults and limits; OCRmyPDF fills it from the `trocr_*` values that the user gave."""

    model: Annotated[str, Field(min_length=1)] | None = None
    device: Literal["auto", "cpu", "gpu"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    min_confidence: Annotated[float, Field(ge=0, le=1)] = DEFAULT_MIN_CONFIDENCE
    beams: Annotated[int, Field(ge=1, le=16)] = 1
    diagnostics: Annotated[str, Field(min_length=1)] | None = None


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options to the parser; their values are checked by the model alone."""
    default = {name: field.default for name, field in TrOcrOptions.model_fields.items()}
    group = parser.add_argument_group("TrOCR", "Text recognition by TrOCR on Apple MLX")
    group.add_argument(
        "--trocr-model",
        metavar="MODEL",
        help="Checkpoint to read with: a folder, a file of weights in one, or a Hugging Face "
        "name such as microsoft/trocr-base-printed, with @REVISION if you like (default: the "
        "bundled one, which needs no network).",
    )
    group.add_argument(
        "--trocr-device",
        metavar="{auto,cpu,gpu}",
        help="Where to compute; auto takes the GPU (Metal or CUDA) if there is one "
        f"(default: {default['device']}).",
    )
    group.add_argument(
        "--trocr-batch-size",
        metavar="LINES",
        help="Text lines to read at once; lower it to save memory (default: what suits the "
        "device and the model, 32 on processors).",
    )
    group.add_argument(
        "--trocr-min-confidence",
        metavar="P",
        help="Leave out lines read with less confidence than this, 0 to 1 "
        f"(default: {default['min_confidence']}).",
    )
    group.add_argument(
        "--trocr-beams",
        metavar="N",
        help="Beams of the search; more than 1 is slower and seldom better "
        f"(default: {default['beams']}).",
    )
    group.add_argument(
        "--trocr-diagnostics",
        metavar="DIR",
        help="Write an image of every page to this folder, with its words, lines and "
        "confidences drawn in (default: none is written).",
    )


def add_engine_choice(parser: ArgumentParser) -> None:
    """Allow `--ocr-engine trocr`; argparse has no public way to extend choices."""
    for action in parser._actions:
        if action.dest == "ocr_engine" and action.choices is not None:
            action.choices = [*action.choices, ENGINE_NAME]


def get_options(options: OcrOptions) -> TrOcrOptions:
    """The plugin's part of OCRmyPDF's options.

    Raises BadArgsError, one line, for a wrong value and for an unknown `trocr_*` name.
    """
    known = {f"{NAMESPACE}_{field}" for field in TrOcrOptions.model_fields}
    given = {name for name in options.extra_attrs if name.startswith(f"{NAMESPACE}_")}
    if given - known:
        raise BadArgsError(
            f"Unknown option {', '.join(sorted(given - known))}: "
            f"choose from {', '.join(sorted(known))}"
        )
    try:
        return getattr(options, NAMESPACE)
    except ValidationError as e:
        raise BadArgsError("; ".join(map(_describe, e.errors()))) from None


def _describe(error: ErrorDetails) -> str:
    field = str(error["loc"][0]).replace("_", "-")
    return f"--{NAMESPACE}-{field} {error['input']}: {error['msg']}"
