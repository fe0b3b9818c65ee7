"""Galleries for tests: real files of real pictures, with the vectors of a real encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from encoders import ColourEncoder
from msedge.data.images import read_pixels
from msedge.search.encoder import Encoder
from msedge.search.photo import NewPhoto
from msedge.search.stores import open_or_create
from msedge.search.stores.reports import Model

COLOURS = {
    "red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220),
    "yellow": (230, 220, 30), "grey": (128, 128, 128),
}  # fmt: skip


def photo(colour: str, size: tuple[int, int] = (60, 40), mark: int = 0) -> Image.Image:
    """A patch of a colour on grey; its mark moves it, so that no two are quite the same."""
    image = Image.new("RGB", size, (120, 120, 120))
    left = size[0] // 4 + mark
    image.paste(COLOURS[colour], (left, size[1] // 4, left + size[0] // 2, size[1] * 3 // 4))
    return image


def new_photo(path: Path, encoder: Encoder, *, taken: float = 0.0) -> NewPhoto:
    """A file as a gallery holds it."""
    status = path.stat()
    with Image.open(path) as image:
        width, height = image.size
    vector = encoder.photos(read_pixels(path, encoder.image_size)[None])[0]
    return NewPhoto(
        path, status.st_size, status.st_mtime_ns, path.read_bytes().hex()[-64:], width, height,
        taken, vector=vector.astype(np.float16),
    )  # fmt: skip


def make_gallery(
    folder: Path, pictures: Mapping[str, Image.Image], encoder: Encoder | None = None
) -> Path:
    """Write pictures below a folder and a gallery of them beside it, ids from 1 in that order."""
    encoder = encoder or ColourEncoder()
    gallery = folder / "photos.msedge"
    model = Model(encoder.name, encoder.fingerprint, encoder.dim)
    with open_or_create(gallery, model) as file:
        for day, (name, picture) in enumerate(pictures.items()):
            path = folder / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, "PNG")
            file.change(put=[new_photo(path, encoder, taken=86_400.0 * day)])
    return gallery
