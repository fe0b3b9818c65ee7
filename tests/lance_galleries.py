"""Photos for the tests of Lance galleries: made up, each told from the others by its number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from msedge.search.gallery_rows import Model, NewPhoto, Photo
from msedge.search.lance.gallery import LanceGallery
from msedge.search.store import Block

DIM = 16
MODEL = Model("made up", "5eed" * 16, DIM)
DAY = 86_400


def vector_of(number: int, dim: int = DIM) -> np.ndarray:
    """A unit vector, always the same for a number."""
    vector = np.random.default_rng(number).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def made_up(number: int, path: str | Path | None = None, *, like: int | None = None) -> NewPhoto:
    """The photo of a number, with the vector of the number or of another."""
    return NewPhoto(
        path=Path(path or f"/photos/{number % 3}/{number}.jpg"),
        size=1000 + number,
        mtime_ns=number * 10**9,
        content_hash=f"{number:064x}",
        width=100 + number % 3,
        height=101,
        taken=float(DAY * number),
        vector=vector_of(number if like is None else like),
    )


def block(*numbers: int, ids: Sequence[int] | None = None) -> Block:
    """Photos of some numbers, whose ids are their numbers unless others are given."""
    return Block(list(numbers if ids is None else ids), [made_up(each) for each in numbers])


def make_lance(path: Path, *numbers: int) -> LanceGallery:
    """A new gallery with the photos of some numbers, open for writing."""
    gallery = LanceGallery.create(path, MODEL)
    gallery.put(block(*numbers))
    return gallery


def kept(new: NewPhoto, photo: int) -> Photo:
    """What a gallery says of a photo that was put."""
    return Photo(
        photo, new.path, new.size, new.mtime_ns, new.content_hash, new.width, new.height, new.taken
    )
