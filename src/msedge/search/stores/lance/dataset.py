"""A gallery's Lance dataset: opening it, its rows, and one change of them as one operation.

Where a dataset lies in an object store, credentials and addresses come from the environment, as
Lance reads it: ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL`` and so on. What made the vectors stands
in the schema's metadata.

Lance lets changes through that touch different fragments, whoever made them, so two processes
could put the same path at the same time. Here every change also names the dataset's oldest
fragment, its anchor, as changed, and thus conflicts with every other change of photos, while
building an index and compacting (which leaves the anchor out) go on beside it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("LANCE_LOG", "error")  # its warnings stand on standard error, on many lines

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from lance import LanceDataset, LanceOperation
from lance.fragment import FragmentMetadata, LanceFragment, write_fragments

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.quoting import quoted
from msedge.search import photo as facts
from msedge.search.locations import is_remote, location
from msedge.search.photo import ADDED, COLUMNS, NAMES, Block, Digest
from msedge.search.stores.copying import passing
from msedge.search.stores.reports import Model, Watched
from msedge.search.stores.store import (
    WIDEST,
    Hubness,
    MissingGalleryError,
    Store,
    UnreadableError,
    not_a_gallery,
)

FACTS = ("id", *NAMES)  # the columns of a photo without its vector
WHOLE = (*FACTS, "vector")
ROW_ADDRESS = "_rowaddr"  # as Lance calls it: the fragment's number, then the place therein
NOTE = "msedge.note."  # in the dataset's configuration, before a note's name
NEXT_ID = "msedge.next_id"  # in the dataset's configuration: ids from here on were never given

_SCHEMA_VERSION = 1 + ADDED  # in the schema's metadata; a dataset of a newer one is refused
_PREFIX = "msedge."
_IDENTITY = _PREFIX + "identity"
_SAID = ("schema", "model", "fingerprint", "dim")
_WRAPPING = re.compile(r"^(External error: |LanceError\(\w+\): |Generic \S+ error: )+")
_SOURCE_LINE = re.compile(r", /\S+\.rs:\d+:\d+.*", re.DOTALL)  # where in Lance it was raised
_LONGEST = 200
_DIGITS = 19  # of the largest id
_KEYS_IN_A_FILTER = 500  # beyond that, reading the whole column is quicker
_PLACES = 2**32  # in a fragment
_ALLOWS = "AWS_ALLOW_HTTP"
_ADDRESSES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_NO_CHANGE = (  # of photos; what has no class of its own reserves numbers and the like
    LanceOperation.Rewrite,
    LanceOperation.CreateIndex,
    LanceOperation.UpdateConfig,
    LanceOperation.BaseOperation,
)


# Opening


def open_dataset(path: Path) -> LanceDataset:
    """Open the newest version of a dataset, which is there and nothing else."""
    if not is_remote(path) and path.exists() and not (path / "_versions").is_dir():
        raise DataError(not_a_gallery(path))
    with told(path):
        return lance.dataset(location(path), storage_options=access(path))


def access(path: Path) -> dict[str, str]:
    """What Lance is told beside the environment: who gives an address as http:// means it.

    Lance itself wants ``AWS_ALLOW_HTTP`` as well, and says nothing of it; where that is set it
    counts.
    """
    said = (os.environ.get(name, "") for name in _ADDRESSES)
    is_plain = next(filter(None, said), "").lower().startswith("http://")
    asks = is_remote(path) and is_plain and _ALLOWS not in os.environ
    return {"allow_http": "true"} if asks else {}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn Lance's errors into an UnreadableError of one line that says how to go on."""
    try:
        yield
    except BaseException as error:
        if is_failure(error):
            raise _told(path, error) from error
        raise


def is_failure(error: BaseException) -> bool:
    """Whether an exception is Lance's, also where its own code gave up: on files of nonsense."""
    is_panic = type(error).__name__ == "PanicException"  # of no module that could be imported
    return is_panic or isinstance(error, OSError | ValueError | RuntimeError | pa.ArrowException)


def is_unanswered(error: BaseException) -> bool:
    """Whether a failure of Lance's is that of an object store that does not answer."""
    return any(words in str(error) for words in ("HTTP error", "error sending request"))


def reason(error: BaseException) -> str:
    """What went wrong, without where in Lance's sources."""
    text = _WRAPPING.sub("", _SOURCE_LINE.sub("", str(error)))
    return one_line(text if len(text) <= _LONGEST else text[:_LONGEST] + "...")


def _told(path: Path, error: BaseException) -> UnreadableError:
    name, text = one_line(location(path)), str(error)
    is_gone = not path.exists()
    if is_remote(path):
        is_gone = isinstance(error, ValueError) and "was not found" in text
    if is_gone:
        return MissingGalleryError(
            f"no gallery {name}: make it with `msedge index PHOTOS --gallery NAME.lance`"
        )
    if "Permission denied" in text or "Read-only file system" in text:
        return UnreadableError(
            f"gallery {name}: it may not be read or written: change the permissions of its files"
        )
    if "No space left" in text:
        return UnreadableError(
            f"gallery {name}: the disk is full: make room; what was committed is safe"
        )
    if "HTTP error: builder error" in text and _ALLOWS in os.environ:
        return UnreadableError(
            f"gallery {name}: its object store's address is http://, which {_ALLOWS} forbids: set "
            f"{_ALLOWS}=true, or give an address of https:// (AWS_ENDPOINT_URL)"
        )
    if is_unanswered(error):
        return UnreadableError(
            f"gallery {name}: its object store does not answer ({reason(error)}): check the "
            "network, the address and the credentials"
        )
    return UnreadableError(
        f"gallery {name}: it cannot be read or written ({reason(error)}): try again; if that "
        "stays so it is damaged: move it away and copy or index again"
    )


# The schema


def schema_of(model: Model) -> pa.Schema:
    """The columns of a gallery, and what made its vectors."""
    values = (_SCHEMA_VERSION, model.name, model.fingerprint, model.dim)
    said = {_PREFIX + key: str(value) for key, value in zip(_SAID, values, strict=True)}
    said[_IDENTITY] = secrets.token_hex(16)  # a dataset of its own each time
    return _columns(model.dim).with_metadata(said)


def read_model(schema: pa.Schema, path: Path) -> Model:
    """What made a gallery's vectors; refuses what is none, or one of a newer release."""
    metadata = schema.metadata or {}
    try:
        said = [metadata[(_PREFIX + key).encode()].decode() for key in _SAID]
        version, model = int(said[0]), Model(said[1], said[2], int(said[3]))
        if not 0 < model.dim <= WIDEST:
            raise ValueError(model.dim)
    except (KeyError, ValueError) as error:
        raise DataError(not_a_gallery(path)) from error
    if version > _SCHEMA_VERSION:
        raise DataError(
            f"gallery {one_line(location(path))} is of schema {version}, and this release "
            f"knows {_SCHEMA_VERSION}: update msedge, or name another gallery"
        )
    later = {column.name for column in COLUMNS if column.added}
    wanted = [each for each in _columns(model.dim) if each.name not in later - {*schema.names}]
    if schema.remove_metadata() != pa.schema(wanted):
        raise DataError(
            f"gallery {one_line(location(path))} has other columns than a gallery: copy one that "
            "is whole with `msedge gallery copy`, or index again"
        )
    return model


def identity_of(schema: pa.Schema) -> str | None:
    """What tells a dataset from others of its name; None of one of an earlier release."""
    said = (schema.metadata or {}).get(_IDENTITY.encode())
    return None if said is None else said.decode(errors="replace")


def is_before(dataset: LanceDataset, other: LanceDataset) -> bool:
    """Whether a dataset is not what another version of it became: an older one was put back."""
    if dataset.version != other.version:
        return bool(dataset.version < other.version)
    return _fragments(dataset) != _fragments(other)


def _fragments(dataset: LanceDataset) -> tuple[int, list[str]]:
    """How many there are, and the oldest and the newest of them."""
    found = sorted(dataset.get_fragments(), key=lambda each: int(each.fragment_id))
    ends = [json.dumps(each.metadata.to_json()) for each in (*found[:1], *found[-1:])]
    return len(found), ends


def bring_up_to_date(dataset: LanceDataset) -> None:
    """Give a dataset of an earlier release the columns that were added since."""
    lacking = [each for each in COLUMNS if each.added and each.name not in dataset.schema.names]
    added = {}
    for each in lacking:
        kind = {"string": "Utf8"}.get(each.arrow, each.arrow.capitalize())
        added[each.name] = f"arrow_cast({each.default_sql}, '{kind}')"
    if added:
        dataset.add_columns(added)
    dataset.update_schema_metadata({_PREFIX + "schema": str(_SCHEMA_VERSION)})


def is_up_to_date(dataset: LanceDataset) -> bool:
    """Whether :func:`bring_up_to_date` has nothing to do."""
    is_said = dataset.schema_metadata.get(_PREFIX + "schema") == str(_SCHEMA_VERSION)
    return is_said and {column.name for column in COLUMNS} <= {*dataset.schema.names}


def _columns(dim: int) -> pa.Schema:
    """Id, facts, vector, and what was added later, as it lies in a dataset that grew."""
    kinds = [("id", pa.int64()), *((c.name, pa.type_for_alias(c.arrow)) for c in COLUMNS)]
    kinds.insert(len(FACTS) - ADDED, ("vector", pa.list_(pa.float16(), dim)))
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in kinds])


# Rows


def table_of(block: Block, dim: int) -> pa.Table:
    """Photos as rows; refuses what a gallery cannot hold, and an id or path that stands twice."""
    rows = [facts.row_of(photo, dim) for photo in block.photos]
    if len(block.ids) != len(rows):
        raise DataError(f"{len(rows)} photos came with {len(block.ids)} ids: give one each")
    if len(set(block.ids)) < len(rows) or any(number < 1 for number in block.ids):
        raise DataError("each photo of a gallery needs an id of its own, from 1: reserve some")
    if len({row[0] for row in rows}) < len(rows):
        raise DataError("a path stands twice among photos that are put at once: leave one out")
    columns: dict[str, Any] = {name: [row[at] for row in rows] for at, name in enumerate(NAMES)}
    vectors = np.frombuffer(b"".join(row[-1] for row in rows), facts.STORED_VECTOR)
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors), dim)
    return pa.table(columns | {"id": block.ids}, schema=_columns(dim))


def block_of(table: pa.Table, dim: int) -> Block:
    """Photos with their vectors, in the order of the rows."""
    vectors = vectors_of(table, dim)
    photos = [facts.new_photo_of(row[1:], vectors[at]) for at, row in enumerate(rows_of(table))]
    return Block(table["id"].to_pylist(), photos)


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    """Id and facts of each row, as stored; what a dataset of an earlier release lacks, as such."""
    defaults = {each.name: [each.default] * table.num_rows for each in COLUMNS if each.added}
    columns = {name: table[name].to_pylist() for name in there(table.schema, FACTS)}
    return list(zip(*((defaults | columns)[name] for name in FACTS), strict=True))


def vectors_of(table: pa.Table, dim: int) -> npt.NDArray[np.float16]:
    """The vectors of rows, ``(n, dim)``."""
    flat: npt.NDArray[np.float16] = pc.list_flatten(table["vector"]).to_numpy()
    if flat.size != table.num_rows * dim:
        raise DataError(f"a photo has a vector of another width than {dim}: {facts.MEND}")
    return flat.reshape(-1, dim)


def there(schema: pa.Schema, columns: Iterable[str]) -> list[str]:
    """Those of some columns that there are: a dataset of an earlier release may lack some."""
    return [each for each in columns if each in schema.names]


def matching(
    dataset: LanceDataset, columns: Iterable[str] = (), **keys: Collection[Any]
) -> pa.Table:
    """Rows whose ``id`` or ``path`` is among some, and their addresses; twice where both are."""
    columns = there(dataset.schema, columns)
    nothing = dataset.scanner(columns=columns, with_row_address=True).projected_schema.empty_table()
    found = (_among(dataset, columns, name, some) for name, some in keys.items() if some)
    return pa.concat_tables([nothing, *found])


def literal(value: object) -> str:
    """A value as Lance's filters write it: bytes, text, a whole number or a real one.

    >>> literal(b"/a"), literal("it's"), literal(3), literal(0.1)
    ("X'2F61'", "'it''s'", '3', '0.1')
    """
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"X'{value.hex().upper()}'" if isinstance(value, bytes) else repr(value)


def _among(dataset: LanceDataset, columns: list[str], name: str, keys: Collection[Any]) -> pa.Table:
    if len(keys) <= _KEYS_IN_A_FILTER:
        where = f"{name} IN ({', '.join(map(literal, keys))})"
        return dataset.scanner(columns=columns, filter=where, with_row_address=True).to_table()
    scanner = dataset.scanner(columns=[*{*columns, name}], with_row_address=True)
    schema = scanner.projected_schema
    wanted = pa.array(keys, schema.field(name).type)
    batches = (batch.filter(pc.is_in(batch[name], wanted)) for batch in scanner.to_batches())
    return pa.Table.from_batches(batches, schema).select([*columns, ROW_ADDRESS])


# Changes


def write_rows(path: Path, dataset: LanceDataset, rows: pa.Table) -> list[FragmentMetadata]:
    """Write rows as fragments, which Lance's cleaning up removes if nobody commits them."""
    if not rows.num_rows:
        return []
    with told(path):
        return list(write_fragments(rows, dataset, schema=rows.schema))


def write_whole(source: Store, place: Path, watched: Watched) -> Digest:
    """Write a gallery's photos as a new dataset, in one commit."""
    schema, digest = schema_of(source.model), Digest()
    failed: list[BaseException] = []

    def batches() -> Iterator[pa.RecordBatch]:
        # Lance reads from a thread of its own, and swallows what goes wrong.
        try:
            for block in passing(source, digest, watched):
                yield from table_of(block, source.model.dim).to_batches()
        except BaseException as error:
            failed.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    try:
        with told(place):
            options = access(place)
            lance.write_dataset(reader, location(place), mode="create", storage_options=options)
    except DataError:
        if failed:
            raise failed[0] from None
        raise
    return digest


def change(
    dataset: LanceDataset, new: Sequence[FragmentMetadata], gone: pa.Table
) -> LanceOperation.BaseOperation:
    """New fragments, and the end of rows that :func:`matching` gave, as one operation."""
    fragments = {each.fragment_id: each for each in dataset.get_fragments()}
    if not fragments:
        for number, fragment in enumerate(new):
            fragment.id = number
        # Of all operations that add, this one alone conflicts with another such.
        return LanceOperation.Merge(list(new), dataset.lance_schema)
    for fragment in new:
        fragment.id = 0  # Lance numbers them
    anchor = min(fragments)
    after: dict[int, FragmentMetadata | None] = {anchor: fragments[anchor].metadata}
    owners, places = np.divmod(gone[ROW_ADDRESS].to_numpy(), _PLACES)
    for number in np.unique(owners).tolist():
        after[number] = fragments[number].delete_rows(places[owners == number])
    return LanceOperation.Update(
        removed_fragment_ids=[number for number, left in after.items() if left is None],
        updated_fragments=[left for left in after.values() if left is not None],
        new_fragments=list(new),
    )


def first_rows(fragments: Sequence[LanceFragment], rows: int) -> list[LanceFragment]:
    """The first fragments that hold so many rows together, or all."""
    held = np.cumsum([each.metadata.num_rows for each in fragments])
    return list(fragments[: int(np.searchsorted(held, rows)) + 1])


def renewed_hubness(
    fragments: Sequence[LanceFragment], dim: int, hubness: Hubness
) -> tuple[LanceOperation.BaseOperation | None, int]:
    """The hubness of some fragments' photos where it is another now, and of how many it is."""
    after, fields, count = [], set[int](), 0
    for fragment in fragments:
        rows = fragment.to_table(columns=["id", "vector", "hubness"])
        now = hubness(vectors_of(rows, dim))
        differs = now != rows["hubness"].to_numpy()
        if differs.any():
            new = pa.table({"id": rows["id"], "hubness": now}).filter(pa.array(differs))
            metadata, modified = fragment.update_columns(new, left_on="id", right_on="id")
            after.append(metadata)
            fields |= set(modified)
            count += new.num_rows
    if not after:
        return None, 0
    return LanceOperation.Update(updated_fragments=after, fields_modified=sorted(fields)), count


def photos_changed(dataset: LanceDataset, since: int) -> bool:
    """Whether any version after one changed photos; one that was cleaned up may have."""
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
        if transaction is None or type(transaction.operation) not in _NO_CHANGE:
            return True
    return False


def said_next_id(dataset: LanceDataset) -> int | None:
    """The id that a dataset's configuration gives next; None where it says nothing."""
    said = dataset.config().get(NEXT_ID)
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= _DIGITS):
        raise DataError(f"the gallery says that its next id is {quoted(said)}: copy it anew")
    return int(said)


def next_id(dataset: LanceDataset) -> int:
    """The id that a dataset gives next; above all that it holds where it says nothing."""
    said = said_next_id(dataset)
    if said is not None:
        return said
    return 1 + int(dataset.to_table(columns=["id"])["id"].to_numpy().max(initial=0))


def saying(said: dict[str, str]) -> LanceOperation.BaseOperation:
    """What is said in a dataset's configuration, as an operation."""
    return LanceOperation.UpdateConfig(config_updates=LanceOperation.UpdateMap({**said}))


def put_together(dataset: LanceDataset, **options: Any) -> None:
    """Make few large fragments of small ones; the anchor stays as it is."""
    oldest = sorted(each.fragment_id for each in dataset.get_fragments())[:1]
    dataset.optimize.compact_files(excluded_fragment_ids=oldest, **options)


def let_go(dataset: LanceDataset, kept: timedelta) -> Any:
    """Remove old versions; gives what Lance says of it."""
    return dataset.cleanup_old_versions(kept, error_if_tagged_old_versions=False)
