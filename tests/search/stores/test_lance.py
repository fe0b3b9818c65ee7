"""What only a gallery in a Lance dataset has: many writers, versions, an index of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lance import LanceDataset
from lance.fragment import write_fragments

from made_photos import photo, unit
from msedge.errors import ConfigError, DataError, ShapeError, WeightsError
from msedge.search.filters import Filters
from msedge.search.photo import ADDED, NAMES, Block, Photo
from msedge.search.ranking import nearest, unit_vectors
from msedge.search.stores import check_gallery
from msedge.search.stores.lance import dataset as lance_dataset
from msedge.search.stores.lance import store as lance_store
from msedge.search.stores.lance.dataset import table_of
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Model, Watched
from msedge.search.stores.store import AUTO, MissingGalleryError

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


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path / "a.lance", *range(1, 11))


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


class TestTheDataset:
    def test_has_these_columns_and_says_what_made_it(self, store):
        schema = lance.dataset(store.path).schema
        fields = [
            ("id", pa.int64()),
            ("path", pa.binary()),
            ("size", pa.int64()),
            ("mtime_ns", pa.int64()),
            ("content_hash", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("taken", pa.float64()),
            ("vector", pa.list_(pa.float16(), DIM)),
        ]
        wanted = pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])
        assert schema.remove_metadata() == wanted
        assert schema.metadata == {
            b"msedge.schema": str(1 + ADDED).encode(),
            b"msedge.model": MODEL.name.encode(),
            b"msedge.fingerprint": MODEL.fingerprint.encode(),
            b"msedge.dim": str(DIM).encode(),
        }

    def test_holds_paths_as_bytes_and_ids_in_its_configuration(self, store):
        odd = made(11, os.fsdecode(b"/photos/caf\xe9\n.jpg"))
        store.change(put=[odd])
        store.write_note("told", "a text")
        dataset = lance.dataset(store.path)
        assert b"/photos/caf\xe9\n.jpg" in dataset.to_table()["path"].to_pylist()
        assert dataset.config() == {"msedge.next_id": "12", "msedge.note.told": "a text"}

    def test_without_a_next_id_gives_none_that_it_holds(self, tmp_path):
        LanceStore.create(tmp_path / "a.lance", MODEL)
        lance.write_dataset(table_of(block(7, 3), DIM), tmp_path / "a.lance", mode="append")
        with LanceStore.open(tmp_path / "a.lance", writable=True) as store:
            assert store.last_id() == 7
            assert [part.ids for part in store.blocks()] == [[3, 7]]
            store.spare_ids(2)
            store.commit([], remove=[7])
            assert store.reserve_ids(1) == 8

    @pytest.mark.parametrize("said", ["", "-3", "1e9", "9" * 20, "¹"])
    def test_with_a_next_id_that_is_none_says_so(self, store, said):
        lance.dataset(store.path).update_config({"msedge.next_id": said})
        with pytest.raises(DataError, match=r"says that its next id is .*: copy it anew"):
            store.reserve_ids(1)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            (
                {b"msedge.schema": str(2 + ADDED).encode()},
                f"is of schema {2 + ADDED}, and this release knows {1 + ADDED}: update",
            ),
            ({b"msedge.schema": b"x"}, "is not a gallery"),
            ({b"msedge.fingerprint": None}, "is not a gallery"),
            ({b"msedge.dim": b"0"}, "is not a gallery"),
            ({b"msedge.dim": b"65537"}, "is not a gallery"),
            ({b"msedge.dim": b"8"}, "has other columns than a gallery: copy one that is whole"),
        ],
    )
    def test_that_says_something_else_is_refused(self, store, tmp_path, changed, message):
        schema = lance.dataset(store.path).schema
        said = {key: value for key, value in (schema.metadata | changed).items() if value}
        other = schema.with_metadata(said)
        lance.write_dataset(other.empty_table(), tmp_path / "b.lance", schema=other)
        with pytest.raises(DataError, match=message):
            LanceStore.open(tmp_path / "b.lance")

    def test_of_other_columns_is_refused(self, store, tmp_path):
        schema = lance.dataset(store.path).schema.remove(1)
        lance.write_dataset(schema.empty_table(), tmp_path / "b.lance", schema=schema)
        with pytest.raises(DataError, match="has other columns than a gallery"):
            LanceStore.open(tmp_path / "b.lance")
        lance.write_dataset(pa.table({"a": [1]}), tmp_path / "c.lance")
        with pytest.raises(DataError, match=r"c\.lance is not a gallery"):
            LanceStore.open(tmp_path / "c.lance")


LATER = """
import importlib.util, sys
from pathlib import Path

spec = importlib.util.find_spec("msedge.search.photo")
source = Path(spec.origin).read_text()
last = '    taken: float = _fact("float64", shown=True)\\n'
assert source.count(last) == 1
new = '''    stars: int = _fact("int32", least=0, added=FIRST, default=3)
    label: str = _fact("string", added=SECOND, default="it's")
'''
module = importlib.util.module_from_spec(spec)
sys.modules["msedge.search.photo"] = module
exec(compile(source.replace(last, last + new), spec.origin, "exec"), module.__dict__)

from dataclasses import replace
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores import check_gallery

path = Path(sys.argv[1])
with LanceStore.open(path) as store:
    assert {(p.stars, p.label) for p in store.photos()} == {(3, "it's")}
    (block,) = store.blocks()
    assert {p.stars for p in block.photos} == {3}
    assert check_gallery(path) == []
    assert store.version() == int(sys.argv[2])
with LanceStore.open(path, writable=True) as store:
    assert {(p.stars, p.label) for p in store.photos()} == {(3, "it's")}
    store.change(put=[replace(block.photos[0], stars=5, label="new")])
    assert [(p.id, p.stars, p.label) for p in store.photos([1, 2])] == [
        (1, 5, "new"), (2, 3, "it's")
    ]
    version = store.version()
with LanceStore.open(path, writable=True) as store:
    assert store.version() == version
    store.commit(LanceStore.write_apart(path, store.model.dim, block._replace(
        ids=[n + 100 for n in block.ids])), remove=block.ids)
    assert store.photos()[0].stars == 3
with LanceStore.create(path.with_name("new.lance"), store.model) as made:
    assert made.now().dataset.schema == store.open(path).now().dataset.schema
"""


def test_a_column_that_a_release_adds_is_read_as_its_default_and_added_when_written(store):
    version = str(store.version())
    program = LATER.replace("FIRST", str(ADDED + 1)).replace("SECOND", str(ADDED + 2))
    run = [sys.executable, "-c", program, store.path, version]
    subprocess.run(run, check=True, timeout=60)
    with pytest.raises(DataError, match=f"schema {3 + ADDED}, and this release knows {1 + ADDED}:"):
        LanceStore.open(store.path)


class TestAMissingOrDamagedDataset:
    def read(self, path: Path) -> None:
        with LanceStore.open(path) as store:
            store.photos()
            store.view()

    def refusal(self, path: Path) -> str:
        with pytest.raises(DataError) as refused:
            self.read(path)
        message = str(refused.value)
        assert "\n" not in message
        assert "rust" not in message
        return message

    def test_is_told_from_what_is_no_gallery(self, tmp_path):
        with pytest.raises(MissingGalleryError, match=r"no gallery .*none\.lance: make it with"):
            LanceStore.open(tmp_path / "none.lance")
        (tmp_path / "folder.lance").mkdir()
        (tmp_path / "file.lance").write_text("no")
        for name in ("folder.lance", "file.lance"):
            assert f"{name} is not a gallery" in self.refusal(tmp_path / name)

    @pytest.mark.parametrize("kind", ["_versions", "data"])
    @pytest.mark.parametrize("left", [0.5, 0.0])
    def test_says_that_files_were_cut_short(self, store, kind, left):
        for file in (store.path / kind).iterdir():
            content = file.read_bytes()
            file.write_bytes(content[: int(len(content) * left)])
        message = self.refusal(store.path)
        assert "a.lance: it cannot be read or written (" in message
        assert "try again; if that stays so it is damaged: move it away" in message

    @pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"\xff" * 999)])
    def test_says_that_files_are_gone_or_something_else(self, store, damage):
        for file in (store.path / "data").iterdir():
            damage(file)
        assert "it cannot be read" in self.refusal(store.path)

    def test_says_so_when_it_goes_away(self, store, tmp_path):
        store.path.rename(tmp_path / "b.lance")
        with pytest.raises(MissingGalleryError, match=r"no gallery .*a\.lance"):
            store.now(afresh=True)

    def test_is_not_made_where_nothing_can_be(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match=r"cannot write .*a\.lance .*: choose a place"):
            LanceStore.create(tmp_path / "file" / "a.lance", MODEL)
        with LanceStore.create(tmp_path / "new" / "a.lance", MODEL) as store:
            assert store.count() == 0

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (OSError("Permission denied"), "may not be read or written: change the permissions"),
            (OSError("No space left on device"), "the disk is full: make room; what was committed"),
            (ValueError("LanceError(IO): it, /a/b.rs:1:2 more"), r"read or written \(it\): try"),
            (RuntimeError("x" * 300), "x{200}" + r"\.\.\.\)"),
            (OSError("error sending request"), "its object store does not answer"),
        ],
    )
    def test_is_told_of_in_one_line(self, store, monkeypatch, error, message):
        def fail(*_, **__):
            raise error

        monkeypatch.setattr(LanceDataset, "count_rows", fail)
        with pytest.raises(DataError, match=message):
            store.count()


class TestAnOpenGallery:
    def test_sees_what_others_commit_within_a_second(self, store):
        with LanceStore.open(store.path, writable=True) as other:
            view = store.view()
            other.put_with_ids(block(11))
            begun = time.monotonic()
            while store.is_current(view):
                assert time.monotonic() - begun < lance_store.SECONDS_BETWEEN_LOOKS + 0.5
                time.sleep(0.01)
            assert store.view(view).photos([11]) == [kept(made(11), 11)]
            assert view.photos([11]) == []

    def test_does_not_look_for_newer_versions_all_the_time(self, store):
        with LanceStore.open(store.path, writable=True) as other:
            store.now(afresh=True)
            other.put_with_ids(block(11))
            assert (store.count(), store.now(afresh=True).count()) == (10, 11)

    def test_says_so_when_it_has_been_rebuilt(self, store, tmp_path):
        store.path.rename(tmp_path / "old.lance")
        LanceStore.create(store.path, type(MODEL)("another", "0" * 64, DIM))
        with pytest.raises(WeightsError, match="has been rebuilt with other weights"):
            store.now(afresh=True)

    def test_is_not_taken_over_by_another(self, store, tmp_path):
        for refused in (lambda: store.take_over(tmp_path), lambda: store.successor(MODEL)):
            with pytest.raises(ConfigError, match="--rebuild is not for a Lance dataset: index"):
                refused()


class TestChanging:
    def test_is_one_version_where_no_new_ids_are_needed(self, store):
        before = store.version()
        move = (5, Path("/moved/5.jpg"), 9, 7 * 10**9)
        store.change(put=[made(44, made(4).path)], move=[move], remove=[6])
        assert store.version() == before + 1

    def test_of_many_photos_replaces_them_all(self, tmp_path):
        count = 700  # more than fit into a filter
        store = filled(tmp_path / "a.lance", *range(1, count + 1))
        store.change(move=[(n, Path(f"/moved/{n}.jpg"), n, n) for n in range(1, count + 1)])
        assert store.folders() == [(Path("/moved"), count)]
        assert [photo.id for photo in store.photos(range(1, 2000))] == [*range(1, count + 1)]
        moved = [made(n, f"/moved/{n}.jpg") for n in range(1, count + 1)]
        store.put_with_ids(Block(list(range(1001, 1001 + count)), moved))
        assert (store.count(), ids(store)[0]) == (count, 1001)

    def test_plans_again_where_another_put_one_of_the_paths_meanwhile(self, store, monkeypatch):
        other = LanceStore.open(store.path, writable=True)
        self.hinder(monkeypatch, lambda: other.change(put=[made(30, "/new/1.jpg")]))
        store.change(put=[made(21, "/new/1.jpg"), made(22, "/new/2.jpg")])
        at = [store.id_at(Path(f"/new/{n}.jpg")) for n in (1, 2)]
        assert at == [13, 11]
        assert store.photos(at) == [
            kept(made(21, "/new/1.jpg"), 13),
            kept(made(22, "/new/2.jpg"), 11),
        ]
        assert store.count() == 12

    def test_reserves_more_ids_where_a_photo_it_was_to_replace_is_gone(self, store, monkeypatch):
        other = LanceStore.open(store.path, writable=True)
        self.hinder(monkeypatch, lambda: other.change(remove=[4]))
        store.change(put=[made(44, made(4).path), made(21)])
        assert ids(store) == [1, 2, 3, *range(5, 13)]

    def test_moves_photos_to_where_others_move_away(self, store):
        first, second = made(1).path, made(2).path
        store.change(move=[(1, Path("/new.jpg"), 9, 9), (2, first, 9, 9), (3, second, 9, 9)])
        assert [str(each.path) for each in store.photos([1, 2, 3])] == [
            "/new.jpg", str(first), str(second)
        ]  # fmt: skip

    def test_gives_up_where_others_change_it_all_the_time(self, store, monkeypatch):
        monkeypatch.setattr(lance_store, "_SECONDS_BEFORE_NEXT_TRY", 0)

        def hindered(*_, **__):
            raise OSError("preempted by concurrent transaction")

        monkeypatch.setattr(LanceDataset, "commit", hindered)
        with pytest.raises(DataError, match="other processes change it all the time: try again"):
            store.change(remove=[1])

    def hinder(self, monkeypatch, change):
        """Let another change come first, once, after a change was planned."""
        real, hindered = LanceDataset.commit, []

        def commit_after(dataset, operation, **options):
            if isinstance(operation, lance.LanceOperation.Update) and not hindered:
                hindered.append(True)
                change()
            return real(dataset, operation, **options)

        monkeypatch.setattr(LanceDataset, "commit", commit_after)

    def test_begins_again_where_compacting_moved_what_is_to_go(self, tmp_path, monkeypatch):
        store = in_pieces(tmp_path)
        other = LanceStore.open(store.path)
        self.hinder(monkeypatch, lambda: other.compact(Watched()))
        store.commit(apart(store, 11), remove=[3, 5])
        assert ids(store) == [1, 2, 6, 7, 8, 9, 10, 11]

    def test_is_refused_where_photos_change_at_the_last_moment(self, store, monkeypatch):
        other = LanceStore.open(store.path, writable=True)
        self.hinder(monkeypatch, lambda: other.put_with_ids(block(30)))
        with pytest.raises(DataError, match=CHANGED):
            store.commit(apart(store, 11), remove=[1])
        assert ids(store) == [*range(1, 11), 30]


class TestWritersAtOnce:
    @pytest.mark.parametrize("there", [(), (1,), (1, 2, 3)], ids=["empty", "one", "several"])
    @pytest.mark.parametrize("remove", [(), (1,), (1, 2, 3)])
    def test_of_one_version_never_both_succeed(self, tmp_path, there, remove):
        store = LanceStore.create(tmp_path / "a.lance", MODEL)
        for number in there:
            store.put_with_ids(block(number))
        writers = [LanceStore.open(store.path, writable=True) for _ in range(2)]
        writers[0].commit(apart(store, 11), remove=remove)
        with pytest.raises(DataError, match=CHANGED):
            writers[1].commit(apart(store, 12))
        assert ids(store) == sorted(set(there) - set(remove) | {11})

    def test_at_the_same_moment_conflict(self, tmp_path, monkeypatch):
        """Lance itself would let both through, since neither touches what the other does."""
        store = in_pieces(tmp_path)
        others = [LanceStore.open(store.path, writable=True) for _ in range(2)]
        real, versions = LanceDataset.commit, []

        def commit(dataset, operation, **options):
            versions.append(dataset.version)
            if len(versions) == 1:
                others[0].change(remove=[9])
            return real(dataset, operation, **options)

        monkeypatch.setattr(LanceDataset, "commit", commit)
        others[1].change(remove=[7])
        assert len(versions) == 3  # planned again
        assert ids(store) == [1, 2, 3, 5, 6, 8, 10]

    def test_that_found_it_empty_both_put(self, tmp_path, monkeypatch):
        in_ones = partial(write_fragments, max_rows_per_file=1)
        monkeypatch.setattr(lance_dataset, "write_fragments", in_ones)
        store = LanceStore.create(tmp_path / "a.lance", MODEL)
        store.spare_ids(9)
        other = LanceStore.open(store.path, writable=True)
        real, hindered = LanceDataset.commit, []

        def commit(dataset, operation, **options):
            if not hindered:
                hindered.append(True)
                other.put_with_ids(block(2))
            return real(dataset, operation, **options)

        monkeypatch.setattr(LanceDataset, "commit", commit)
        store.put_with_ids(block(1, 3, 4))
        assert ids(store) == [1, 2, 3, 4]
        numbers = [each.fragment_id for each in store.now().dataset.get_fragments()]
        assert len(numbers) == len(set(numbers)) == 4

    def test_put_a_path_once(self, store):
        together = threading.Barrier(4)

        def write(writer):
            with LanceStore.open(store.path, writable=True) as own:
                for turn in range(5):
                    together.wait()
                    own.change(put=[made(100 * writer + turn, f"/shared/{turn}.jpg")])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        shared = [photo for photo in store.now(afresh=True).photos() if photo.id > 10]
        assert sorted(str(photo.path) for photo in shared) == [f"/shared/{n}.jpg" for n in range(5)]
        assert check_gallery(store.path) == []


class TestWhatIsWrittenApart:
    def test_is_seen_when_it_is_committed_with_what_goes(self, store):
        before = store.version()
        written = apart(store, 11, 12) + apart(store, 13)
        assert all(text.isprintable() for text in written)
        assert ids(store) == [*range(1, 11)]
        store.commit(written, remove=[2, 3, 999])
        assert ids(store) == [1, *range(4, 14)]
        assert store.photos([12]) == [kept(made(12), 12)]
        assert store.version() == before + 1

    def test_in_pieces_fills_an_empty_gallery(self, tmp_path):
        store = LanceStore.create(tmp_path / "a.lance", MODEL)
        store.commit([text for n in range(1, 5) for text in apart(store, n)])
        store.commit(apart(store, 5), remove=[1])
        assert ids(store) == [2, 3, 4, 5]
        store.commit([], remove=range(1, 6))
        assert store.count() == 0
        store.commit(apart(store, 6))
        assert ids(store) == [6]

    def test_of_nothing_changes_nothing(self, store):
        before = store.version()
        assert apart(store) == []
        store.commit([])
        assert store.now(afresh=True).version == before

    def test_is_refused_where_it_does_not_fit(self, store, tmp_path):
        with pytest.raises(ShapeError):
            LanceStore.write_apart(store.path, DIM + 1, block(1))
        with pytest.raises(MissingGalleryError):
            LanceStore.write_apart(tmp_path / "none.lance", DIM, block(1))
        with pytest.raises(DataError, match="2 photos came with 1 ids: give one each"):
            LanceStore.write_apart(store.path, DIM, block(1, 2, ids=[1]))
        with pytest.raises(DataError, match="needs an id of its own, from 1: reserve some"):
            LanceStore.write_apart(store.path, DIM, block(1, 2, ids=[0, 1]))
        for text in ("", "{}", "[1]", '"a"'):
            with pytest.raises(DataError, match="no fragment of a gallery: commit what write_apar"):
                store.commit([text])

    def test_is_refused_where_another_has_changed_photos_since_the_places_were_read(self, store):
        with LanceStore.open(store.path, writable=True) as other:
            other.put_with_ids(block(11))
        with pytest.raises(DataError, match=CHANGED):
            store.commit([], remove=[1])
        assert store.count() == 11
        assert store.places()[str(made(11).path)].id == 11
        store.commit([], remove=[1])  # what others did is known now
        assert store.count() == 10

    def test_is_refused_where_nobody_knows_what_happened_meanwhile(self, store):
        with LanceStore.open(store.path, writable=True) as other:
            other.write_note("a", "b")
            other.write_note("a", "c")
            other.compact(Watched(), kept=timedelta(0))
        with pytest.raises(DataError, match=CHANGED):
            store.commit([], remove=[1])

    def test_is_not_hindered_by_upkeep_notes_and_reserved_ids(self, store):
        store.put_with_ids(block(11))  # a second fragment, so that there is something to compact
        with LanceStore.open(store.path, writable=True) as other:
            other.reserve_ids(5)
            other.write_note("a", "b")
            build(other)
            other.compact(Watched())
        store.commit(apart(store, 12), remove=[1])
        assert ids(store) == [*range(2, 13)]

    def test_after_own_changes_is_not_refused(self, store):
        store.change(put=[made(11)])
        store.reserve_ids(2)
        store.commit([], remove=[11])
        assert store.count() == 10


class TestVectorsInMemory:
    def check(self, view, numbers):
        found = sorted(view.search(query(0), 1000, together=False), key=lambda hit: hit.id)
        assert [hit.id for hit in found] == numbers
        vectors = np.array([view.vector(number) for number in numbers]).reshape(-1, DIM)
        expected = [unit(number, DIM) for number in numbers]
        np.testing.assert_array_equal(vectors, unit_vectors(np.reshape(expected, (-1, DIM))))

    def test_follow_every_change(self, tmp_path):
        store = LanceStore.create(tmp_path / "a.lance", MODEL)
        view = store.view()
        self.check(view, [])
        store.put_with_ids(block(5, 3, 1))
        for numbers, remove in ((), ()), ([2], []), ([4, 6], [3]), ([], [1, 2]), ([9], [4, 5, 6]):
            store.commit(apart(store, *numbers), remove=remove)
            view = store.view(view)
            self.check(view, ids(store))
        store.put_with_ids(block(9))
        store.compact(Watched())
        self.check(store.view(view), [9])

    def test_are_not_read_again_where_nothing_changed(self, store):
        before = store.view()
        for file in (store.path / "data").iterdir():
            file.rename(store.path / file.name)  # whoever reads it now fails
        store.commit(apart(store, 17))
        self.check(store.view(before), [*range(1, 11), 17])

    def test_that_are_not_finite_are_refused(self, store):
        append(store, block(11), vector=[np.full(DIM, np.nan, "f2")])
        with pytest.raises(DataError, match="the vector of photo 11 holds NaN or infinity"):
            LanceStore.open(store.path).view()

    def test_are_held_up_to_what_is_given(self, store):
        # What lies in files cannot be searched once these are gone.
        views = {}
        for bytes_ in (10 * DIM * 4, 10 * DIM * 4 - 1):
            with LanceStore.open(store.path, memory=bytes_) as other:
                views[bytes_] = other.view()
        for file in (store.path / "data").iterdir():
            file.unlink()
        enough, scarce = views.values()
        assert search(enough, 3)[0].id == 3
        with pytest.raises(DataError):
            search(scarce, 3)


@pytest.mark.parametrize("memory", [2**20, 0])
class TestAView:
    def test_is_not_moved_on_by_changes_and_upkeep(self, tmp_path, memory):
        filled(tmp_path / "a.lance", 1, 2).close()
        with LanceStore.open(tmp_path / "a.lance", writable=True, memory=memory) as store:
            for number, upkeep in (
                (3, lambda: store.compact(Watched())),
                (4, lambda: build(store)),
            ):
                store.put_with_ids(block(number))
                view = store.view()
                version, held = view.version, {hit.id for hit in search(view, 1)}
                upkeep()
                store.put_with_ids(block(10 + number))
                assert view.version == version < store.version()
                assert {hit.id for hit in search(view, 1)} == held
                assert view.photos([10 + number]) == []
                np.testing.assert_allclose(view.vector(2), query(2), atol=1e-6)
                after = store.view(view)
                assert {hit.id for hit in search(after, 1)} == held | {10 + number}

    def test_of_an_empty_gallery_finds_nothing(self, tmp_path, memory):
        LanceStore.create(tmp_path / "a.lance", MODEL).close()
        with LanceStore.open(tmp_path / "a.lance", memory=memory) as store:
            view = store.view()
            assert search(view, 1) == []
            assert search(view, 1, filters=Filters(folder=Path("/photos"))) == []
            assert (view.vector(1), view.vector(-1), view.vector(2**70)) == (None, None, None)


PHOTOS, AFTER, RARE = 6000, 300, 40
EVERY = [n for n in range(1, PHOTOS + AFTER + 1) if not 100 <= n < 200]
QUERIES = [query(10**6 - n) for n in range(4)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A gallery whose index has two parts, and photos that it does not know; some are rare."""
    some, rest = range(1, PHOTOS + 1), range(PHOTOS + 1, PHOTOS + AFTER + 1)
    with LanceStore.create(tmp_path_factory.mktemp("a") / "a.lance", MODEL) as store:
        store.put_with_ids(often_and_rare(some))
        assert build(store, 0.1).parameters == {"partitions": 2, "probes": 1, "refine": 1}
        store.put_with_ids(often_and_rare(rest))
        store.commit([], remove=range(100, 200))
        assert store.index_state().behind == AFTER
    return store.path


def often_and_rare(numbers):
    photos = [made(n, f"/{'rare' if n % 150 == 0 else 'often'}/{n}.jpg") for n in numbers]
    return Block(list(numbers), photos)


class TestVectorsInFiles:
    def nearest(self, path, query, k, filters=None, *, exact=False):
        with LanceStore.open(path, memory=0, exact=exact) as store:
            return store.view().vectors.nearest(query, k, filters)

    def truth(self, numbers, query, k):
        vectors = unit_vectors(np.array([unit(n, DIM) for n in numbers]))
        rows, similarities = nearest(vectors, query, k)
        return [numbers[row] for row in rows], similarities

    @pytest.mark.parametrize("k", [1, 20, 700])
    def test_are_ranked_exactly_where_all_are_read(self, path, k):
        for query in QUERIES:
            found = self.nearest(path, query, k, exact=True)
            wanted, similarities = self.truth(EVERY, query, k)
            assert found.ids.tolist() == wanted
            np.testing.assert_array_equal(found.similarities, similarities)

    @pytest.mark.parametrize("k", [1, RARE, 100])
    def test_give_as_many_rare_photos_as_there_are(self, path, k):
        rare = [n for n in EVERY if n % 150 == 0]
        for query in QUERIES:
            found = self.nearest(path, query, k, Filters(folder=Path("/rare")))
            assert found.ids.tolist() == self.truth(rare, query, k)[0]

    def test_are_found_by_the_index_and_beside_it(self, path):
        new = PHOTOS + 7
        assert self.nearest(path, query(new), 1).ids.tolist() == [new]
        assert 150 not in self.nearest(path, query(150), 50).ids
        assert sorted(self.nearest(path, QUERIES[0], 10**5).ids.tolist()) == EVERY

    def test_are_not_all_looked_through(self, path):
        exact = [set(self.nearest(path, q, 20, exact=True).ids) for q in QUERIES]
        some = [set(self.nearest(path, q, 20).ids) for q in QUERIES]
        assert some != exact

    @pytest.mark.parametrize(
        "said", ["", "{}", "[]", "[" * 10**5, '{"kind": 1}', '{"probes": 0}', '{"probes": "1"}']
    )
    def test_are_all_read_where_nobody_knows_how_to_ask_the_index(self, path, said):
        dataset = lance.dataset(path)
        before = dataset.config()["msedge.vector_index"]
        if '"probes"' in said:
            said = before.replace('"probes":1,', said.strip("{}") + ",")
            assert said != before
        dataset.update_config({"msedge.vector_index": said})
        try:
            with LanceStore.open(path) as store:
                assert store.index_state() is None
            found = self.nearest(path, QUERIES[0], 20)
            assert found.ids.tolist() == self.truth(EVERY, QUERIES[0], 20)[0]
        finally:
            dataset.update_config({"msedge.vector_index": before})


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("a") / "a.lance", *range(1, 6201))


class TestTheIndex:
    def test_finds_the_share_that_was_asked_for_with_the_effort_it_takes(self, many):
        states = [build(many, recall) for recall in (0.3, 0.9, 0.99)]
        for state, recall in zip(states, (0.3, 0.9, 0.99), strict=True):
            assert (state.photos, state.queries, state.recall_wanted) == (6200, 64, recall)
            assert state.recall >= 1 - (1 - recall) / 2
            assert (state.kind, state.behind, state.seconds > 0) == ("IVF_SQ", 0, True)
            assert state.bytes_a_vector > DIM
        efforts = [(each.parameters["probes"], each.parameters["refine"]) for each in states]
        assert efforts == sorted(efforts)
        assert efforts[0] < efforts[-1]
        names = {index.name for index in many.now().dataset.describe_indices()}
        assert names == {"msedge_vectors", "id_idx", "path_idx"}
        assert [photo.id for photo in many.photos([5, 1, 6200])] == [5, 1, 6200]
        assert many.id_at(made(17).path) == 17

    def test_says_what_is_done_and_ends_where_that_raises(self, many):
        watcher = Saying()
        many.build_index(0.9, AUTO, Watched(watcher))
        assert watcher.steps == [
            "building the index on vectors",
            "building the indices on ids and paths",
            "measuring how much is found",
        ]
        before = many.now(afresh=True).version
        with pytest.raises(KeyboardInterrupt, match="building"):
            many.build_index(0.9, AUTO, Watched(Saying(until=1)))
        assert many.now(afresh=True).version == before

    def test_is_built_while_photos_are_put(self, tmp_path):
        store = filled(tmp_path / "a.lance", *range(1, 3001))
        with LanceStore.open(store.path) as other, ThreadPoolExecutor(1) as pool:
            building = pool.submit(build, other)
            number = 3000
            while not building.done():
                number += 1
                store.commit(apart(store, number), remove=[number - 2999])
            assert building.result().recall >= 0.95
        assert number > 3001
        assert ids(store) == [1, *range(number - 2998, number + 1)]
        with LanceStore.open(store.path, memory=0) as other:
            for last in (1, number - 2998, number):
                assert search(other.view(), last, 1)[0].id == last

    def test_is_refused_where_there_is_nothing_or_another_is_wanted(self, tmp_path):
        empty = LanceStore.create(tmp_path / "a.lance", MODEL)
        with pytest.raises(DataError, match="holds no photos to index"):
            build(empty)
        assert empty.index_state() is None
        assert not empty.is_index_due(0)
        with pytest.raises(ConfigError, match="--kind hnsw: a Lance dataset chooses its own, leav"):
            empty.build_index(0.9, "hnsw", Watched())


def in_pieces(tmp_path):
    """Nine photos in as many fragments: ten commits, and one that removed the fourth."""
    store = filled(tmp_path / "a.lance", 1)
    for number in range(2, 11):
        store.put_with_ids(block(number))
    store.commit([], remove=[4])
    return store


def data(store):
    return {file.name for file in (store.path / "data").iterdir()}


class TestCompacting:
    @pytest.fixture
    def store(self, tmp_path):
        return in_pieces(tmp_path)

    def test_puts_all_rows_into_one_fragment_and_keeps_what_readers_may_read(self, store):
        photos, before = store.photos(), data(store)
        compacted = store.compact(Watched())
        assert compacted.done[0] == "fragments: 9 before, 1 now"
        assert compacted.done[1].startswith("old versions removed: 0 (0 bytes); younger ones stay")
        assert before < data(store)
        assert (store.photos(), fragments(store)) == (photos, 1)
        assert store.reserve_ids(1) == 11
        sizes = [file.stat().st_size for file in store.path.rglob("*") if file.is_file()]
        again = store.compact(Watched())
        assert again.done[0] == "fragments: 1 before, 1 now"
        assert again.bytes_before >= compacted.bytes_after
        assert sum(sizes) == store.size().on_disk

    def test_leaves_no_removed_rows(self, store):
        store.compact(Watched())
        store.commit([], remove=[5])
        store.compact(Watched())
        assert store.now(afresh=True).dataset.get_fragments()[0].num_deletions == 0

    def test_removes_versions_that_are_older(self, store):
        before = data(store)
        compacted = store.compact(Watched(), kept=timedelta(0))
        assert not before & data(store)
        assert "old versions removed: 0" not in compacted.done[1]
        assert store.size().parts == {"fragments": 1, "versions": 1, "unindexed": 0}
        assert store.count() == 9

    def test_leaves_what_a_run_has_written_and_not_committed_for_a_week(self, store):
        written = apart(store, 20)
        left = {}
        for days in (6, 8):
            before = data(store)
            apart(store, 30)
            (left[days],) = data(store) - before
            then = time.time() - days * DAY
            os.utime(store.path / "data" / left[days], (then, then))
        with LanceStore.open(store.path) as other:
            other.compact(Watched(), kept=timedelta(0))
        assert left[6] in data(store)
        assert left[8] not in data(store)
        store.places()
        store.commit(written, remove=[1])
        assert store.photos([1, 20]) == [kept(made(20), 20)]

    def test_brings_the_index_up_to_date_and_says_what_it_does(self, store):
        build(store)
        store.put_with_ids(block(11))
        assert (store.index_state().behind, store.size().parts["unindexed"]) == (1, 1)
        watcher = Saying()
        compacted = store.compact(Watched(watcher))
        assert compacted.done[2:] == ("photos taken into the index: 1",)
        assert watcher.steps == [
            "putting fragments together",
            "bringing the indices up to date",
            "removing old versions",
        ]
        assert store.index_state().behind == 0
        assert store.photos([11]) == [kept(made(11), 11)]

    def test_goes_on_while_photos_are_put(self, store):
        failed, ended = [], threading.Event()

        def compact():
            try:
                with LanceStore.open(store.path) as other:
                    while not ended.is_set():
                        other.compact(Watched())
            except BaseException as error:
                failed.append(error)

        build(store)
        compacting = threading.Thread(target=compact)
        compacting.start()
        for number in range(11, 41):
            store.commit(apart(store, number), remove=[number - 8])
            time.sleep(0.02)
        ended.set()
        compacting.join()
        assert failed == []
        assert ids(store) == [1, 2, *range(33, 41)]

    def test_gives_up_where_others_change_it_all_the_time(self, store, monkeypatch):
        monkeypatch.setattr(lance_store, "_SECONDS_BEFORE_NEXT_TRY", 0)

        def hindered(*_, **__):
            raise OSError("preempted by concurrent transaction")

        optimizer = type(store.now().dataset.optimize)
        monkeypatch.setattr(optimizer, "optimize_indices", hindered)
        with pytest.raises(DataError, match="other processes change it all the time: try again"):
            store.compact(Watched())
        monkeypatch.undo()
        real = optimizer.compact_files

        def sparing_alone(self, **options):
            return real(self, **options) if options else hindered()

        monkeypatch.setattr(optimizer, "compact_files", sparing_alone)
        store.put_with_ids(block(11))
        store.compact(Watched())  # as far as that goes beside those who change photos
        assert fragments(store) == 2


def append(store, block, /, **columns):
    """Add rows behind the gallery's back, with some columns as they are given."""
    rows = table_of(block, DIM)
    for name, values in columns.items():
        field = rows.schema.field(name)
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, field, pa.array(values, field.type))
    lance.write_dataset(rows, str(store.path), mode="append", schema=rows.schema)


class TestChecking:
    @pytest.fixture
    def store(self, tmp_path):
        """Of three fragments."""
        store = filled(tmp_path / "a.lance", *range(1, 101))
        for start in (101, 201):
            store.put_with_ids(block(*range(start, start + 100)))
        store.spare_ids(999)
        return store

    def held(self, store):
        return {
            number: (kept(each, number), each.vector.tobytes())
            for part in store.now(afresh=True).blocks(1000)
            for number, each in zip(*part, strict=True)
        }

    def files(self, store):
        return {file: file.read_bytes() for file in store.path.rglob("*") if file.is_file()}

    def mended(self, store, name):
        """The one finding of that name; it changes nothing, is mended, and stays mended."""
        before = self.files(store)
        (finding,) = check_gallery(store.path)
        assert (finding.name, finding.is_left, finding.can_mend) == (name, True, True)
        assert self.files(store) == before
        (after,) = check_gallery(store.path, repair=True)
        assert (after.name, after.is_left) == (name, False)
        assert check_gallery(store.path) == []
        return finding

    def test_finds_and_changes_nothing_in_a_sound_gallery(self, store):
        before = self.files(store)
        assert check_gallery(store.path) == check_gallery(store.path, repair=True) == []
        assert self.files(store) == before

    @pytest.mark.parametrize(
        ("name", "columns"),
        [
            *(("vectors", {"vector": [np.full(DIM, x, "f2")]}) for x in (np.nan, np.inf, 0, 0.36)),
            ("paths", {"path": [b"a.jpg"]}),
            ("paths", {"path": [b""]}),
            ("fields", {"id": [-4]}),
            ("fields", {"size": [-1]}),
            ("fields", {"taken": [np.nan]}),
        ],
    )
    def test_removes_rows_that_no_search_can_use(self, store, name, columns):
        wanted = self.held(store)
        append(store, block(500), **columns)
        finding = self.mended(store, name)
        assert (finding.count, finding.what[:14]) == (1, "1 photos with ")
        assert finding.advice == "removes them; the next `msedge index` reads these photos again"
        assert self.held(store) == wanted

    def test_removes_all_rows_of_an_id_where_one_is_useless(self, store):
        wanted = self.held(store)
        append(store, block(900, ids=[5]), vector=[np.zeros(DIM, "f2")])
        self.mended(store, "vectors")
        assert self.held(store) == {n: wanted[n] for n in wanted if n != 5}

    def test_keeps_the_newest_of_rows_of_one_id_or_path(self, store):
        wanted = self.held(store)
        append(store, block(900, ids=[5]))  # another path under an id that is taken
        append(store, Block([600], [made(77, made(21).path)]))
        append(store, block(901, ids=[5]))
        assert self.mended(store, "repeated").count == 5
        after = self.held(store)
        assert after.keys() == wanted.keys() - {21} | {600}
        assert after[5][0] == kept(made(901), 5)
        assert after[600][0] == kept(made(77, made(21).path), 600)
        assert all(after[number] == wanted[number] for number in wanted.keys() - {5, 21})

    def test_keeps_ids_from_being_given_again(self, store):
        append(store, block(1000))
        finding = self.mended(store, "ids")
        assert finding.what == "ids up to 1,000 are taken and may be given again"
        assert store.reserve_ids(1) == 1001

    def test_mends_several_things_at_once(self, store):
        wanted = self.held(store)
        append(store, block(1500), taken=[np.nan])
        append(store, block(1501), path=[b"x"])
        assert {each.name for each in check_gallery(store.path)} == {"fields", "paths", "ids"}
        assert not any(each.is_left for each in check_gallery(store.path, repair=True))
        assert check_gallery(store.path) == []
        assert self.held(store) == wanted

    @pytest.mark.parametrize("damage", ["noise", "cut", "gone"])
    def test_takes_out_the_photos_of_a_damaged_file_alone(self, store, damage):
        wanted = self.held(store)
        fragment = lance.dataset(str(store.path)).get_fragments()[1]
        path = store.path / "data" / fragment.metadata.files[0].path
        content = path.read_bytes()
        path.unlink()
        if damage != "gone":
            noise = np.random.default_rng(0).bytes(len(content))
            path.write_bytes(noise if damage == "noise" else content[: len(content) // 2])
        finding = self.mended(store, "damage")
        assert finding.count == 100
        assert finding.what.startswith("1 fragments with 100 photos cannot be read (")
        assert self.held(store) == {n: wanted[n] for n in wanted if not 100 < n <= 200}

    @pytest.mark.parametrize("where", [LanceDataset, lance.fragment.LanceFragment])
    def test_tells_of_what_makes_lance_itself_give_up(self, store, monkeypatch, where):
        class PanicException(BaseException):
            """As Lance's has it, which no module gives."""

        def fail(*_, **__):
            raise PanicException("index out of bounds")

        monkeypatch.setattr(where, "scanner", fail)
        if where is LanceDataset:
            with pytest.raises(DataError, match=r"cannot be read or written \(index out of bounds"):
                store.photos()
        else:
            (finding,) = check_gallery(store.path)
            assert finding.what.endswith("300 photos cannot be read (index out of bounds)")

    def test_leaves_a_dataset_whose_newest_version_cannot_be_read(self, store):
        newest = min((store.path / "_versions").glob("*.manifest"))
        newest.write_bytes(np.random.default_rng(0).bytes(newest.stat().st_size))
        before = self.files(store)
        (finding,) = check_gallery(store.path, repair=True)
        assert (finding.name, finding.is_left, finding.can_mend) == ("damage", True, False)
        assert "\n" not in finding.what
        assert self.files(store) == before

    def test_refuses_what_is_no_gallery(self, tmp_path):
        lance.write_dataset(pa.table({"x": [1]}), str(tmp_path / "b.lance"))
        with pytest.raises(DataError, match="not a gallery"):
            check_gallery(tmp_path / "b.lance", repair=True)

    def test_removes_half_a_copy(self, store):
        half = store.path.with_name("a.lance-new")
        (half / "data").mkdir(parents=True)
        (finding,) = check_gallery(store.path)
        assert finding.what == "half a copy that a killed process left (a.lance-new)"
        assert half.exists()
        assert not check_gallery(store.path, repair=True)[0].is_left
        assert not half.exists()

    def test_notes_what_compacting_helps_against(self, store):
        build(store)
        store.change(put=[made(500)])
        (finding,) = check_gallery(store.path)
        assert (finding.name, finding.count, finding.is_left) == ("unindexed", 1, False)
        for number in range(600, 701):
            append(store, block(number))
        notes = {each.name: each.count for each in check_gallery(store.path)}
        assert notes["fragments"] == 105
        assert notes["versions"] > 105
        store.compact(Watched(), kept=timedelta(0))
        assert check_gallery(store.path) == []


PLACES = [f"/photos/{name}.jpg" for name in "abcdefgh"]
NUMBERS = st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["put", "change", "remove", "apart", "compact", "open again"]),
        NUMBERS,
        st.permutations(PLACES),
    ),
    min_size=1,
    max_size=8,
)


class Dictionary:
    """What a gallery should hold: photos by their ids, whose paths differ."""

    def __init__(self):
        self.photos, self.last = {}, 0

    def put(self, block):
        paths = {photo.path for photo in block.photos}
        left = {number: each for number, each in self.photos.items() if each.path not in paths}
        self.photos = left | dict(zip(*block, strict=True))
        self.last = max(self.last, *block.ids)

    def remove(self, numbers):
        self.photos = {each: self.photos[each] for each in self.photos if each not in numbers}

    def id_at(self, path):
        return next((number for number, each in self.photos.items() if each.path == path), None)


@given(changes=CHANGES)
@settings(max_examples=25, deadline=None)
def test_a_gallery_holds_what_a_dictionary_would(changes):
    model = Dictionary()
    with tempfile.TemporaryDirectory() as folder:
        store = LanceStore.create(Path(folder) / "a.lance", MODEL)
        for turn, (kind, numbers, places) in enumerate(changes):
            new = [
                made(100 * turn + number, place)
                for number, place in zip(sorted(numbers), places, strict=False)
            ]
            if kind == "put":
                store.put_with_ids(Block(sorted(numbers), new))
                model.put(Block(sorted(numbers), new))
            elif kind == "change":
                store.change(put=new, remove=numbers)
                for photo in new:
                    number = model.id_at(photo.path) or store.id_at(photo.path)
                    if number is not None:
                        assert number in model.photos or number > model.last
                        model.put(Block([number], [photo]))
                model.remove(numbers)
                model.last = store.last_id()
            elif kind == "remove":
                store.commit([], remove=numbers)
                model.remove(numbers)
            elif kind == "apart":
                first = store.reserve_ids(len(new))
                assert first > model.last
                block = Block(list(range(first, first + len(new))), new)
                known = store.places()
                gone = [known[str(each.path)].id for each in new if str(each.path) in known]
                store.commit(LanceStore.write_apart(store.path, DIM, block), remove=gone)
                model.put(block)
            elif kind == "compact":
                store.compact(Watched())
            else:
                store.close()
                store = LanceStore.open(store.path, writable=True)
            hold_the_same(store, model.photos)
        store.close()


def hold_the_same(store, photos):
    expected = [kept(photo, number) for number, photo in sorted(photos.items())]
    assert store.photos() == expected
    assert store.count() == len(expected)
    view = store.view()
    for number, each in photos.items():
        (hit, *_) = view.search(each.vector.astype("f4"), 1, together=False)
        assert hit.id == number
