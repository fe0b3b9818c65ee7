"""Pictures of which tests know every pixel, and HEIC files where they can be written."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from msedge.data.images import open_image
from msedge.data.sketches import frame_sketch

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(left: tuple[int, ...], right: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (40, 20), left)
    image.paste(right, (20, 0, 40, 20))
    return image


def as_heic(image: Image.Image, **settings: Any) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    stream = BytesIO()
    heif.from_pillow(image).save(stream, quality=95, **settings)
    return stream.getvalue()


def read_framed(path: Path, size: int) -> np.ndarray:
    """A drawing, cut out of its sheet, as uint8 pixels ``(3, size, size)``, step by step."""
    framed = frame_sketch(open_image(path)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(framed).transpose(2, 0, 1)
