"""Ids and vectors on disk, and the folder while an index is built into it.

Tested in ``tests/search/approximate/test_build.py``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from msedge.data.images import one_line
from msedge.errors import DataError, ShapeError
from msedge.search.approximate.about import NAME
from msedge.search.approximate.reranking import Vectors
from msedge.search.gallery_rows import STORED_VECTOR
from msedge.search.store import Ids

if sys.platform != "win32":
    import fcntl

_LOCK = "lock"
_OURS = re.compile(r"(ids|vectors|structure)-[0-9a-f]{8}|\.about-[0-9a-f]{8}\.json")


def write_vectors(
    ids: Path,
    vectors: Path,
    blocks: Iterable[tuple[Ids, Vectors]],
    dim: int,
    told: Callable[[int, int], None],
) -> int:
    """Write what blocks hold to two files, one after the other; how many there were.

    Raises:
        DataError: ids do not rise.
        ShapeError: vectors are not float16 ``(n, dim)`` and finite, one for each id.
        OSError: they cannot be written.
    """
    rows, last = 0, None
    with ids.open("wb") as to_ids, vectors.open("wb") as to_vectors:
        for numbers, rows_of_block in blocks:
            told(rows, rows)
            _check(numbers, rows_of_block, dim)
            if not len(numbers):
                continue
            if (np.diff(numbers) <= 0).any() or (last is not None and numbers[0] <= last):
                raise DataError(f"ids of photos have to rise, after {last} came {numbers[0]}")
            last = int(numbers[-1])
            to_ids.write(numbers.astype("<i8").tobytes())
            to_vectors.write(np.ascontiguousarray(rows_of_block, STORED_VECTOR).data)
            rows += len(numbers)
        for file in (to_ids, to_vectors):
            file.flush()
            os.fsync(file.fileno())
    told(rows, rows)
    return rows


@contextmanager
def sole_builder(folder: Path) -> Iterator[None]:
    """Keep others from building into a folder, which is made; the system lets go of what died.

    Raises:
        DataError: another builds into it, or it cannot be written.
    """
    if folder.is_symlink():  # nothing of ours is one, and it may lead to somebody's own files
        raise DataError(
            f"{one_line(folder)} is a link, and an index is built into no other folder: remove it"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(
            f"cannot write the approximate index {one_line(folder)} ({error.strerror}): keep the "
            "gallery in a folder that can be written to"
        ) from error
    try:
        if sys.platform != "win32":
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise DataError(f"another process is building {one_line(folder)}: wait for it") from error
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what is not of the index that ``about.json`` names: what was before, what was killed.

    Only for who is the sole builder. Files of other names are not ours to remove.
    """
    kept = {NAME, _LOCK}
    try:
        files = json.loads((folder / NAME).read_text())["files"]
        kept |= {str(file["name"]) for file in files.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # there is none that could be opened
    _remove(folder, kept)


def remove_index(folder: Path) -> None:
    """Remove an index, whole or damaged, and its folder unless that holds something else.

    Only for who is the sole builder.

    Raises:
        OSError: a file cannot be removed.
    """
    _remove(folder, kept=set())
    for name in (NAME, _LOCK):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _remove(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in kept and _OURS.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _check(ids: Ids, vectors: Vectors, dim: int) -> None:
    if vectors.shape != (len(ids), dim) or vectors.dtype != np.float16:
        raise ShapeError(
            f"{len(ids)} ids came with {vectors.dtype} vectors {vectors.shape}: expected float16 "
            f"({len(ids)}, {dim})"
        )
    if not np.isfinite(vectors).all():
        raise ShapeError("vectors hold numbers that are not finite: embed these photos again")
