"""Small galleries in Lance datasets, as their tests make, change and ask them."""

from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa

from made_photos import photo, unit
from msedge.search.photo import NAMES, Block, Photo
from msedge.search.ranking import unit_vectors
from msedge.search.stores.lance.dataset import table_of
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Model, Watched
from msedge.search.stores.store import AUTO

DIM = 16
MODEL = Model("made up", "5eed" * 16, DIM)
DAY = 86_400
CHANGED = "changed by another process meanwhile: start again, one at a time"


def made(number, path=None):
    """The photo of a number."""
    return photo(number, path, dim=DIM)


def block(*numbers, ids=None):
    """The photos of some numbers, whose ids are their numbers unless others are given."""
    return Block(list(numbers if ids is None else ids), [made(number) for number in numbers])


def kept(new, number):
    """What a gallery says of a photo that was put."""
    return Photo(*(getattr(new, name) for name in NAMES), id=number)


def query(number):
    """The vector of a number, as a gallery is asked with."""
    return unit_vectors(unit(number, DIM)[None])[0]


def filled(path: Path, *numbers: int) -> LanceStore:
    """A new gallery with the photos of some numbers, each under its number, open for writing."""
    store = LanceStore.create(path, MODEL)
    store.put_with_ids(block(*numbers))
    return store


def ids(store):
    return [photo.id for photo in store.now(afresh=True).photos()]


def apart(store, *numbers):
    return LanceStore.write_apart(store.path, DIM, block(*numbers))


def build(store, recall=0.95):
    store.build_index(recall, AUTO, Watched())
    return store.index_state()


def fragments(store):
    return len(store.now(afresh=True).dataset.get_fragments())


def search(view, number, k=10, **options):
    return view.search(query(number), k, **options)


class Saying:
    """Keeps what is said to be done, and fails at one of them."""

    def __init__(self, until=None):
        self.steps, self.until = [], until

    def say(self, message):
        raise AssertionError(message)

    def progress(self, what, *_):
        self.steps.append(what)
        if self.until is not None and len(self.steps) == self.until:
            raise KeyboardInterrupt(what)


def in_pieces(tmp_path):
    """Nine photos in as many fragments: ten commits, and one that removed the fourth."""
    store = filled(tmp_path / "a.lance", 1)
    for number in range(2, 11):
        store.put_with_ids(block(number))
    store.commit([], remove=[4])
    return store


def data(store):
    return {file.name for file in (store.path / "data").iterdir()}


def append(store, block, /, **columns):
    """Add rows behind the gallery's back, with some columns as they are given."""
    rows = table_of(block, DIM)
    for name, values in columns.items():
        field = rows.schema.field(name)
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, field, pa.array(values, field.type))
    lance.write_dataset(rows, str(store.path), mode="append", schema=rows.schema)
