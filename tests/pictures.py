"""Pictures of which tests know every pixel, and HEIC files where they can be written."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from PIL import Image

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
