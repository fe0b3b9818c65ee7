"""Galleries for tests of their upkeep: photos that need no files, with vectors of length 1."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msedge.search.gallery_file import GalleryFile, Model, NewPhoto
from msedge.search.open_store import is_lance, open_store
from msedge.search.store import Block
from photo_files import new_photo

MODEL = Model("colours", "colours-1", 8)


def unit(seed: int, dim: int = MODEL.dim) -> np.ndarray:
    """A vector of length 1, but for rounding."""
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def photo(seed: int, path: str | Path | None = None, **changes: Any) -> NewPhoto:
    """A photo that a gallery may hold; of another path for each seed."""
    path = f"/photos/{seed % 7}/{seed}.jpg" if path is None else path
    return new_photo(path, seed, **({"vector": unit(seed)} | changes))


def photos(count: int) -> list[NewPhoto]:
    """So many of them."""
    return [photo(seed) for seed in range(count)]


def make(path: Path, holding: Sequence[NewPhoto], ids: Iterable[int] | None = None) -> Path:
    """A gallery of either kind, by its name; ids from 1 unless they are given."""
    numbers = list(range(1, len(holding) + 1) if ids is None else ids)
    if is_lance(path):
        from msedge.search.lance.gallery import LanceGallery

        with LanceGallery.create(path, MODEL) as gallery:
            gallery.put(Block(numbers, list(holding)))
    else:
        with GalleryFile.create(path, MODEL) as file:
            file.put_with_ids(Block(numbers, list(holding)))
    return path


def held(path: Path) -> list[tuple[Any, ...]]:
    """All that a gallery of either kind says of its photos, by rising id, to the bit."""
    store = open_store(path)
    try:
        return [
            (
                number, os.fsencode(each.path), each.size, each.mtime_ns, each.content_hash,
                each.width, each.height, each.taken, each.vector.tobytes(),
            )
            for block in store.blocks(100)
            for number, each in zip(block.ids, block.photos, strict=True)
        ]  # fmt: skip
    finally:
        store.close()


def beside(folder: Path) -> set[str]:
    """The names in a folder."""
    return {path.name for path in folder.iterdir()}
