"""Photos written to a dataset's folder before they belong to the dataset.

A run on many machines writes fragments wherever photos are embedded; they become visible when one
process commits them (:meth:`~msedge.search.lance.gallery.LanceGallery.commit`). What a run that
died never committed is removed a week later by Lance's own cleaning up. Tested in
``tests/search/lance/test_fragments.py``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from lance import LanceDataset
from lance.fragment import FragmentMetadata, write_fragments

from msedge.errors import DataError
from msedge.search.lance.datasets import open_dataset, told
from msedge.search.lance.schema import table_of
from msedge.search.store import Block


def write_fragment(path: Path, dim: int, block: Block) -> list[str]:
    """Write photos beside a gallery's others, on any machine that reaches it.

    Args:
        path: the gallery, which is there.
        dim: width of the vectors.
        block: photos whose ids were reserved for them.

    Returns:
        What to commit, as JSON; nothing of no photos.

    Raises:
        ShapeError: a vector is not as the gallery's model makes it.
        DataError: an id or path cannot be used, or the files cannot be written.
    """
    rows = table_of(block, dim)
    written = write_rows(path, open_dataset(path), rows) if rows.num_rows else []
    return [json.dumps(fragment.to_json()) for fragment in written]


def write_rows(path: Path, dataset: LanceDataset, rows: pa.Table) -> list[FragmentMetadata]:
    """Write rows, one at least, as fragments that are not committed yet.

    Raises:
        DataError: they are not like the dataset's, or the files cannot be written.
    """
    with told(path):
        return list(write_fragments(rows, dataset, schema=rows.schema))


def read_fragments(fragments: Sequence[str]) -> list[FragmentMetadata]:
    """Fragments from what :func:`write_fragment` gave.

    Raises:
        DataError: it gave something else.
    """
    try:
        return [FragmentMetadata.from_json(each) for each in fragments]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError("no fragment of a gallery: commit what write_fragment gave") from error
