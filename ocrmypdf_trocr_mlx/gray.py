"""Grey levels of images of any kind."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image


def to_gray(image: Image.Image | np.ndarray) -> np.ndarray:
    """uint8 (H, W) of an image of any mode; transparent parts are paper."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8:
            raise ValueError(f"an image array must be uint8, not {image.dtype}")
        if image.ndim == 3 and image.shape[2] == 4:
            image = Image.fromarray(image)
        elif image.ndim == 3 and image.shape[2] == 3:
            return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        elif image.ndim == 2:
            return image
        else:
            raise ValueError(
                f"an image array must be (H, W), (H, W, 3) or (H, W, 4), not {image.shape}"
            )
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, np.float32)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        return (values * (255.0 / top)).clip(0, 255).astype(np.uint8)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.asarray(image.convert("L"))
