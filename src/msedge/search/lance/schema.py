"""The columns of a gallery's Lance dataset, and how photos become a table and back.

Paths are stored as the bytes that the file system uses, as in SQLite: names need not be UTF-8.
What made the vectors stands in the schema's metadata, which one commit writes and none changes.
Tested in ``tests/search/lance/test_schema.py``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.gallery_rows import (
    MEND,
    PHOTO_COLUMNS,
    STORED_VECTOR,
    Model,
    Photo,
    new_photo_of_row,
    photo_of_row,
    row_of_photo,
)
from msedge.search.gallery_schema import WIDEST, not_a_gallery
from msedge.search.locations import location
from msedge.search.store import Block

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 1
"""In the schema's metadata; a dataset of a newer one is refused."""

PHOTO = PHOTO_COLUMNS.split(", ")
"""The columns of :class:`~msedge.search.gallery_rows.Photo`, in the order of its fields."""

_PREFIX = "msedge."
_TYPES = {
    "id": pa.int64(),
    "path": pa.binary(),
    "size": pa.int64(),
    "mtime_ns": pa.int64(),
    "content_hash": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "taken": pa.float64(),
}


def schema_for(dim: int) -> pa.Schema:
    """The columns of a gallery whose vectors are ``dim`` wide."""
    fields = [pa.field(name, _TYPES[name], nullable=False) for name in PHOTO]
    return pa.schema([*fields, pa.field("vector", pa.list_(pa.float16(), dim), nullable=False)])


def schema_of(model: Model) -> pa.Schema:
    """The columns of a gallery, and what made its vectors."""
    said = {
        "schema": str(SCHEMA_VERSION),
        "model": model.name,
        "fingerprint": model.fingerprint,
        "dim": str(model.dim),
    }
    return schema_for(model.dim).with_metadata(
        {_PREFIX + key: value.encode() for key, value in said.items()}
    )


def read_model(schema: pa.Schema, path: Path) -> Model:
    """What made a gallery's vectors.

    Args:
        schema: of the dataset.
        path: of the dataset, for the message.

    Raises:
        DataError: the dataset is not a gallery, or one of a newer release.
    """
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    try:
        said = {
            key: metadata[(_PREFIX + key).encode()].decode()
            for key in ("schema", "model", "fingerprint", "dim")
        }
        version, dim = int(said["schema"]), int(said["dim"])
    except (KeyError, ValueError) as error:
        raise DataError(not_a_gallery(Path(location(path)))) from error
    if not 0 < dim <= WIDEST:
        raise DataError(not_a_gallery(Path(location(path))))
    if version > SCHEMA_VERSION:
        raise DataError(
            f"gallery {one_line(location(path))} is of schema {version}, and this release knows "
            f"{SCHEMA_VERSION}: update msedge, or name another gallery"
        )
    if not schema.remove_metadata().equals(schema_for(dim)):
        raise DataError(
            f"gallery {one_line(location(path))} has other columns than a gallery: copy one that "
            "is whole with `msedge gallery copy`, or index again"
        )
    return Model(said["model"], said["fingerprint"], dim)


def table_of(block: Block, dim: int) -> pa.Table:
    """Photos as rows.

    Raises:
        ShapeError: a vector is not float16 ``(dim,)`` and finite.
        DataError: a path is not absolute, or an id or path stands there twice or an id is not
            positive.
    """
    rows = [row_of_photo(photo, dim) for photo in block.photos]
    _check_ids(block)
    columns = list(zip(*((*row[:-1],) for row in rows), strict=True)) or [()] * (len(PHOTO) - 1)
    vectors = np.frombuffer(b"".join(row[-1] for row in rows), STORED_VECTOR)
    schema = schema_for(dim)
    arrays = [
        pa.array(values, schema.field(name).type)
        for name, values in zip(PHOTO, [block.ids, *columns], strict=True)
    ]
    return pa.table(
        [*arrays, pa.FixedSizeListArray.from_arrays(pa.array(vectors), dim)], schema=schema
    )


def photos_of(table: pa.Table) -> list[Photo]:
    """The photos of rows, in their order."""
    return [photo_of_row(row) for row in _rows(table)]


def block_of(table: pa.Table, dim: int) -> Block:
    """Photos with their vectors, in the order of the rows."""
    vectors = vectors_of(table, dim)
    photos = [new_photo_of_row(row[1:], vectors[at]) for at, row in enumerate(_rows(table))]
    return Block(table["id"].to_pylist(), photos)


def vectors_of(table: pa.Table, dim: int) -> npt.NDArray[np.float16]:
    """The vectors of rows, ``(n, dim)``."""
    chunks = [chunk.flatten().to_numpy() for chunk in table["vector"].chunks]
    flat: npt.NDArray[np.float16] = np.concatenate(chunks) if chunks else np.empty(0, np.float16)
    if flat.size != table.num_rows * dim:
        raise DataError(f"a photo has a vector of another width than {dim}: {MEND}")
    return flat.reshape(-1, dim)


def _rows(table: pa.Table) -> Sequence[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in PHOTO), strict=True))


def _check_ids(block: Block) -> None:
    if len(block.ids) != len(block.photos):
        raise DataError(f"{len(block.photos)} photos came with {len(block.ids)} ids: give one each")
    if len(set(block.ids)) < len(block.ids) or any(number < 1 for number in block.ids):
        raise DataError("each photo of a gallery needs an id of its own, from 1: reserve some")
    if len({os.fsencode(photo.path) for photo in block.photos}) < len(block.photos):
        raise DataError("a path stands twice among photos that are put at once: leave one out")
