"""One change of a gallery's photos as one operation of Lance, which happens whole or not at all.

Lance lets changes through that touch different fragments, whoever made them, so two processes
could put the same path at the same time. Here every change also names the dataset's oldest
fragment, its anchor, as changed, and thus conflicts with every other change of photos, while
building an index and compacting (which leaves the anchor out) go on beside it. Tested in
``tests/search/lance/test_changes.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance import LanceOperation
from lance.fragment import FragmentMetadata

_FRAGMENT_BITS = 32  # a row's address is its fragment's number, then its place therein
_KEYS_IN_A_FILTER = 500  # beyond that, reading the whole column is quicker
_NO_CHANGE = (  # of photos
    LanceOperation.Rewrite,
    LanceOperation.CreateIndex,
    LanceOperation.UpdateConfig,
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a dataset, to be removed.

    Attributes:
        addresses: of the rows, as Lance counts them, ``(n,)``.
        ids: of their photos, ``(n,)``.
    """

    addresses: np.ndarray[tuple[int], np.dtype[np.uint64]]
    ids: np.ndarray[tuple[int], np.dtype[np.int64]]


def rows_with(
    dataset: lance.LanceDataset, *, ids: Collection[int] = (), paths: Collection[bytes] = ()
) -> Rows:
    """The rows whose id or path is among some."""
    found: dict[int, int] = {}
    for column, keys in (("id", pa.array(ids, pa.int64())), ("path", pa.array(paths, pa.binary()))):
        if not len(keys):
            continue
        few = len(keys) <= _KEYS_IN_A_FILTER
        scanner = dataset.scanner(
            columns=["id"] if few else list({"id", column}),
            filter=f"{column} IN ({', '.join(map(literal, keys.to_pylist()))})" if few else None,
            with_row_address=True,
        )
        for batch in scanner.to_batches():
            if not few:
                batch = batch.filter(pc.is_in(batch[column], keys))
            found.update(zip(batch["_rowaddr"].to_pylist(), batch["id"].to_pylist(), strict=True))
    return Rows(np.array(list(found), np.uint64), np.array(list(found.values()), np.int64))


def literal(value: object) -> str:
    """A value as Lance's filters write it: bytes, a whole number or a real one.

    >>> literal(b"/a"), literal(3), literal(0.1)
    ("X'2F61'", '3', '0.1')
    """
    return f"X'{value.hex().upper()}'" if isinstance(value, bytes) else repr(value)


def anchor_of(dataset: lance.LanceDataset) -> int | None:
    """The number of the oldest fragment, which every change names; None of an empty dataset."""
    return min((each.fragment_id for each in dataset.get_fragments()), default=None)


def change(
    dataset: lance.LanceDataset, new: Sequence[FragmentMetadata], gone: Rows
) -> LanceOperation.BaseOperation:
    """New fragments, and the end of some rows, as one operation on a version of the dataset."""
    fragments = {each.fragment_id: each for each in dataset.get_fragments()}
    if not fragments:
        for number, fragment in enumerate(new):
            fragment.id = number
        # Of all operations that add, this one alone conflicts with another such.
        return LanceOperation.Merge(list(new), dataset.lance_schema)
    changed: dict[int, FragmentMetadata] = {}
    removed: list[int] = []
    owners = gone.addresses >> np.uint64(_FRAGMENT_BITS)
    for number in np.unique(owners).tolist():
        ids = ", ".join(map(str, gone.ids[owners == number].tolist()))
        left = fragments[number].delete(f"id IN ({ids})")
        if left is None:
            removed.append(number)
        else:
            changed[number] = left
    anchor = min(fragments)
    if anchor not in removed:
        changed.setdefault(anchor, fragments[anchor].metadata)
    return LanceOperation.Update(
        removed_fragment_ids=removed,
        updated_fragments=list(changed.values()),
        new_fragments=list(new),
    )


def photos_changed(dataset: lance.LanceDataset, since: int) -> bool:
    """Whether any version after one, up to the dataset's own, changed photos.

    A version that has been cleaned up meanwhile counts as a change, since nobody knows.
    """
    for version in range(since + 1, dataset.version + 1):
        try:
            transaction = dataset.read_transaction(version)
        except (OSError, ValueError):
            return True
        except TypeError as error:
            # pylance (14.0) fails to build the operation of a compaction that moved an index.
            if "RewrittenIndex" not in str(error):
                raise
            continue
        if transaction is None:
            return True
        operation = transaction.operation
        # What Lance gives no class of its own, such as reserving numbers, changes no rows.
        if not isinstance(operation, _NO_CHANGE) and (
            type(operation) is not LanceOperation.BaseOperation
        ):
            return True
    return False
