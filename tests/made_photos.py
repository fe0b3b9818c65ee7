"""Photos for tests that need no files: their facts follow from how facts are declared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from msedge.search.photo import COLUMNS, NAMES, Block, Column, NewPhoto
from msedge.search.stores import open_store, store_class
from msedge.search.stores.reports import Compacted, Model, Statistics, Watched

MODEL = Model("colours", "colours-1", 8)


def unit(seed: int, dim: int = MODEL.dim) -> np.ndarray:
    """A vector of length 1, but for rounding."""
    vector = np.random.default_rng(seed).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float16)


def photo(
    seed: int, path: str | Path | None = None, *, dim: int = MODEL.dim, **changes: Any
) -> NewPhoto:
    """A photo that a gallery may hold; of another path for each seed, wider than high."""
    facts = {column.name: _fact(column, seed) for column in COLUMNS}
    facts |= {"width": 30 + seed % 5, "height": 20, "vector": unit(seed, dim)}
    if path is not None:
        facts["path"] = Path(path)
    return NewPhoto(**(facts | changes))


def _fact(column: Column, seed: int) -> Any:
    if column.kind is Path:
        return Path(f"/photos/{seed % 7}/{seed}.jpg")
    if column.kind is str:
        return f"{seed:064x}"
    return column.kind(1_000 * len(column.name) + seed)


def photos(count: int) -> list[NewPhoto]:
    """So many of them."""
    return [photo(seed) for seed in range(count)]


def make(
    path: Path,
    holding: Sequence[NewPhoto] = (),
    ids: Iterable[int] | None = None,
    model: Model = MODEL,
) -> Path:
    """A gallery of the kind that its name says; ids from 1 unless they are given."""
    numbers = list(range(1, len(holding) + 1) if ids is None else ids)
    with store_class(path).create(path, model) as store:
        if holding:
            store.put_with_ids(Block(numbers, list(holding)))
    return path


def told(photo: NewPhoto) -> tuple[Any, ...]:
    """All that a photo says, to the bit."""
    facts = [getattr(photo, name) for name in NAMES]
    return (*(os.fsencode(x) if isinstance(x, Path) else x for x in facts), photo.vector.tobytes())


def held(path: Path) -> list[tuple[Any, ...]]:
    """All that a gallery says of its photos, by rising id."""
    with open_store(path) as store:
        return [
            (number, *told(each))
            for block in store.blocks()
            for number, each in zip(block.ids, block.photos, strict=True)
        ]


def ids(path: Path) -> list[int]:
    """The ids that a gallery holds."""
    return [row[0] for row in held(path)]


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {path.name for path in folder.iterdir()}


def compact(path: Path) -> Compacted:
    """Make a gallery as small as it can be."""
    with open_store(path, writable=True) as store:
        return store.compact(Watched())


def statistics(path: Path) -> Statistics:
    """What a gallery holds, in numbers."""
    with open_store(path) as store:
        return store.statistics(Watched())
