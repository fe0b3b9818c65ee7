"""Photos for the tests of the server, and what indexing would find out about them."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from encoders import ColourEncoder
from msedge.data.images import open_image, read_pixels
from msedge.search.photo import NewPhoto
from msedge.search.stores import open_or_create, open_store
from msedge.search.stores.reports import Model

ENCODER = ColourEncoder()
START = 1_580_428_800.0  # 2020-01-31
STROKES = [[[0, 10, 10], [0, 0, 10]], [[2, 3], [8, 8]]]
NAMES = (
    "cats/red.jpg",
    "cats/big/naïve 🐱.png",
    'cats/a;b"c%2e.webp',
    os.fsdecode(b"dogs/caf\xe9\n.gif"),
    "dogs/yellow.tiff",
    "dogs/purple.bmp",
)


def picture(number: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture that is unlike the others."""
    coarse = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    """An image as a request holds it."""
    content = io.BytesIO()
    image.save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def new_photo(path: Path) -> NewPhoto:
    """What indexing would find out about a file."""
    status, content = path.stat(), path.read_bytes()
    width, height = open_image(path).size
    vector = ENCODER.photos(read_pixels(path, ENCODER.image_size)[None])[0]
    return NewPhoto(
        path=path,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        content_hash=hashlib.blake2b(content, digest_size=32).hexdigest(),
        width=width,
        height=height,
        taken=START + status.st_size,
        vector=vector.astype(np.float16),
    )


def add(gallery: Path, *paths: Path) -> None:
    """Put photos into a gallery, as another process would while it is served."""
    with open_store(gallery, writable=True) as file:
        file.change(put=[new_photo(path) for path in paths])


def write_photos(folder: Path) -> list[Path]:
    """Write a photo of each name; the first is portrait."""
    paths = []
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, (400, 300) if number else (300, 400)).save(path)
        paths.append(path)
    return paths


def write_gallery(path: Path, photos: list[Path]) -> Path:
    """Write a gallery of photos, with ids from 1."""
    model = Model(ENCODER.name, ENCODER.fingerprint, ENCODER.dim)
    with open_or_create(path, model) as file:
        file.change(put=[new_photo(photo) for photo in photos])
    return path
