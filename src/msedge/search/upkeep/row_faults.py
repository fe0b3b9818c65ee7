"""What makes a row of a gallery useless to a search, whatever the gallery is stored in.

Tested in ``tests/search/upkeep/test_row_faults.py``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from msedge.search.gallery_rows import STORED_VECTOR
from msedge.search.locations import is_remote

VECTOR, PATH, FIELD = "vectors", "paths", "fields"

_OFF = 2.0**-9
"""How far from 1 the length of a vector may be: float16 rounds each part by 2^-11 of it at most."""


def bad_vectors(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.bool_]:
    """Which vectors, out of ``(N, dim)``, are not finite or not of length 1: ``(N,)``."""
    whole = vectors.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", whole, whole))
    bad: npt.NDArray[np.bool_] = ~(np.abs(lengths - 1) <= _OFF)  # also where it is no number
    return bad


def is_place(path: Any) -> bool:
    """Whether stored bytes name a photo: an absolute path, or one of an object store."""
    if not isinstance(path, bytes) or b"\0" in path:
        return False
    named = Path(os.fsdecode(path))
    return named.is_absolute() or is_remote(named)


def faults(rows: Sequence[tuple[Any, ...]], dim: int) -> dict[int, str]:
    """What is wrong with rows of SQLite, which holds whatever it is given.

    Args:
        rows: id, path, size, mtime_ns, content_hash, width, height, taken, vector.
        dim: width of the model's vectors.

    Returns:
        For each faulty row its id and the first of :data:`VECTOR`, :data:`PATH`, :data:`FIELD`
        that applies.
    """
    wrong: dict[int, str] = {}
    blobs = [row[-1] for row in rows]
    fits = [isinstance(x, bytes) and len(x) == dim * STORED_VECTOR.itemsize for x in blobs]
    stored = b"".join(blob for blob, right in zip(blobs, fits, strict=True) if right)
    bad = iter(bad_vectors(np.frombuffer(stored, STORED_VECTOR).reshape(-1, dim)))
    for row, right in zip(rows, fits, strict=True):
        if not right or next(bad):
            wrong[row[0]] = VECTOR
        elif not is_place(row[1]):
            wrong[row[0]] = PATH
        elif not _are_fields(*row[2:-1]):
            wrong[row[0]] = FIELD
    return wrong


def _are_fields(
    size: Any, mtime_ns: Any, content_hash: Any, width: Any, height: Any, taken: Any
) -> bool:
    return (
        all(isinstance(number, int) for number in (size, mtime_ns, width, height))
        and size >= 0
        and width > 0
        and height > 0
        and isinstance(content_hash, str)
        and isinstance(taken, float)
        and isfinite(taken)
    )
