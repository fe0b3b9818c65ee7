"""Photos for tests: small files that differ, with the times that a test gives them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from msedge.search.photo import NewPhoto

SECOND = 1_000_000_000


def picture(content: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A coarse pattern: another for each content, always the same."""
    coarse = np.random.default_rng(content).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST)


def write_photo(
    path: Path,
    content: int = 0,
    *,
    second: int = 1_000,
    size: tuple[int, int] = (24, 16),
    date: str | None = None,
    orientation: int | None = None,
    **options: Any,
) -> Path:
    """Write a photo, last changed in a second of Unix time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    if date is not None:
        exif[ExifTags.Base.Make] = "a camera"  # a block of dates alone is not written
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = date
    if len(exif):
        options["exif"] = exif
    picture(content, size).save(path, **options)
    return touch(path, second)


def touch(path: Path, second: int) -> Path:
    """Say when a file was last changed."""
    os.utime(path, ns=(second * SECOND, second * SECOND))
    return path


def new_photo(path: str | Path, seed: int = 0, *, dim: int = 4, **changes: Any) -> NewPhoto:
    """A photo that needs no file."""
    fields: dict[str, Any] = {
        "path": Path(path),
        "size": 10 + seed,
        "mtime_ns": (1_000 + seed) * SECOND,
        "content_hash": f"{seed:064x}",
        "width": 30,
        "height": 20,
        "taken": 1_000.0 + seed,
        "vector": np.random.default_rng(seed).standard_normal(dim).astype(np.float16),
    }
    return NewPhoto(**(fields | changes))
