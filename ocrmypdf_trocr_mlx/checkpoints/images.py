"""From a line image to the model's pixels, bit for bit as transformers' PIL processors do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from .errors import CheckpointError

PAPER = 255
# Lines are read padded to one of so many 24ths of a line model's image: what a model is to read
# it must have seen, and each more is one more shape to compile.
READ_WIDTHS = (2, 3, 4, 5, 6, 7, *range(8, 25, 2))
# A GPU reads few lines as slowly as many: it is given fewer widths, and more lines of each.
GPU_WIDTHS = (4, 8, 14, 24)
_PARTS = 24
# With letters up to the image's edge a model finds no end and repeats itself: so many pixels are
# paper, where there is room.
END_MARGIN = 16


@dataclass(frozen=True)
class ImageProcessor:
    """Resize, rescale and normalise.

    With `pad_to_aspect` an image keeps its aspect at the model's height and is padded with
    white on the right, up to the next multiple of the patch width; an image too long for the
    model is squeezed into its width.  Without it every image is stretched to the full size.
    """

    height: int
    width: int
    patch_width: int = 1
    resample: int = Image.Resampling.BILINEAR
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    rescale_factor: float = 1 / 255
    pad_to_aspect: bool = False
    center_crop: tuple[int, int] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], patch_width: int = 1) -> ImageProcessor:
        """From preprocessor_config.json, in its present and its older forms."""
        height, width = _size(values.get("size", 224), "size")
        crop = None
        # An absent do_center_crop means true to DeiT's processors, and there is none in ViT's.
        kind = str(values.get("image_processor_type") or values.get("feature_extractor_type") or "")
        if values.get("do_center_crop", kind.startswith("DeiT")) and kind.startswith("DeiT"):
            crop = _size(values.get("crop_size", 224), "crop_size")
        if not values.get("do_resize", True):
            raise CheckpointError("preprocessor_config.json: do_resize=false is not supported")
        rescale = float(values.get("rescale_factor", 1 / 255))
        normalize = values.get("do_normalize", True)
        return cls(
            height,
            width,
            patch_width,
            resample=int(values.get("resample", 3 if kind.startswith("DeiT") else 2)),
            mean=tuple(values.get("image_mean", (0.5,) * 3)) if normalize else (0.0,) * 3,
            std=tuple(values.get("image_std", (0.5,) * 3)) if normalize else (1.0,) * 3,
            rescale_factor=rescale if values.get("do_rescale", True) else 1.0,
            pad_to_aspect=bool(values.get("pad_to_aspect", False)),
            center_crop=crop if crop != (height, width) else None,
        )

    def fitted_width(self, height: int, width: int) -> int:
        """Width in pixels that an image of this size will have for the model, without padding."""
        if not self.pad_to_aspect:
            return self.width
        return min(self.width, max(1, round(width * self.height / height)))

    def padded_width(self, height: int, width: int) -> int:
        """`fitted_width` rounded up to the patch: the least width that can be asked for."""
        patches = -(-self.fitted_width(height, width) // self.patch_width)
        return min(self.width, patches * self.patch_width)

    def widths(self, parts: Sequence[int] = READ_WIDTHS) -> list[int]:
        """About so many 24ths of the image, in pixels; all of it where images are stretched."""
        if not self.pad_to_aspect:
            return [self.width]
        patches = (-(-n * self.width // (_PARTS * self.patch_width)) for n in parts)
        return [min(self.width, n * self.patch_width) for n in patches]

    def read_width(self, height: int, width: int, parts: Sequence[int] = READ_WIDTHS) -> int:
        """The least of `widths` that holds an image of this size and paper after it."""
        fitted = self.fitted_width(height, width) + END_MARGIN
        return next((w for w in self.widths(parts) if w >= fitted), self.width)

    def __call__(self, images: Sequence[np.ndarray | Image.Image]) -> np.ndarray:
        """Images as uint8 (h, w) or (h, w, 3), or PIL -> float32 (B, H, W, C); see `levels`."""
        batch = self.levels(images)
        # 256 values a channel: looking them up equals the arithmetic and is faster.
        if batch.shape[-1] == 1:
            return self.values[0][batch]
        return np.stack([self.values[c][batch[..., c]] for c in range(batch.shape[-1])], axis=-1)

    def levels(self, images: Sequence[np.ndarray | Image.Image]) -> np.ndarray:
        """Resized and padded: uint8 (B, H, W, C), whose `values` a model takes.

        C is 1 where all images are grey and the channels are treated alike, else 3.  W is the
        least that holds all of them, so hand in lines of about the same aspect together.
        """
        if self._are_fitted(images):
            batch = np.stack([np.asarray(image) for image in images])[..., None]
        else:
            batch = self._fitted(images)
        return batch if self.center_crop is None else _center_crop(batch, *self.center_crop)

    def _are_fitted(self, images: Sequence[np.ndarray | Image.Image]) -> bool:
        """Whether they are as `_fitted` leaves grey images: a reader fits lines when they come."""
        first = images[0]
        if not isinstance(first, np.ndarray) or not self._channels_alike:
            return False
        shape = (self.height, self.padded_width(*first.shape[:2]))
        return all(
            isinstance(x, np.ndarray) and x.dtype == np.uint8 and x.shape == shape for x in images
        )

    def _fitted(self, images: Sequence[np.ndarray | Image.Image]) -> np.ndarray:
        """As `levels`, before anything is cropped."""
        pictures = [_to_pil(image) for image in images]
        if all(p.mode == "L" for p in pictures) and self._channels_alike:
            channels = 1
        else:
            pictures = [p.convert("RGB") for p in pictures]
            channels = 3
        width = max(self.padded_width(p.height, p.width) for p in pictures)
        batch = np.full((len(pictures), self.height, width, channels), PAPER, np.uint8)
        for target, picture in zip(batch, pictures, strict=True):
            size = (self.fitted_width(picture.height, picture.width), self.height)
            resized = np.asarray(picture.resize(size, resample=self.resample))
            target[:, : size[0]] = resized.reshape(self.height, size[0], channels)
        return batch

    @cached_property
    def values(self) -> np.ndarray:
        """Of each channel's 256 levels, normalised as transformers does: float32 (3, 256)."""
        levels = (np.arange(256, dtype=np.float64) * self.rescale_factor).astype(np.float32)
        mean = np.array(self.mean, np.float32)[:, None]
        std = np.array(self.std, np.float32)[:, None]
        return (levels[None] - mean) / std

    @property
    def _channels_alike(self) -> bool:
        return len(set(self.mean)) == 1 and len(set(self.std)) == 1


def _size(value: Any, key: str) -> tuple[int, int]:
    """(height, width) of a number, a pair (width, height), or an object."""
    if isinstance(value, int):
        return value, value
    if isinstance(value, Mapping) and "height" in value and "width" in value:
        return int(value["height"]), int(value["width"])
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return int(value[1]), int(value[0])
    raise CheckpointError(f"preprocessor_config.json: {key}={value!r} is not supported")


def _to_pil(image: np.ndarray | Image.Image) -> Image.Image:
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(f"images must be uint8, not {image.dtype}")
        image = Image.fromarray(image)
    if not image.width or not image.height:
        raise ValueError("an image has no pixels")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _center_crop(batch: np.ndarray, height: int, width: int) -> np.ndarray:
    top, left = (batch.shape[1] - height) // 2, (batch.shape[2] - width) // 2
    if top < 0 or left < 0:
        raise CheckpointError("preprocessor_config.json: crop_size is larger than size")
    return batch[:, top : top + height, left : left + width]
