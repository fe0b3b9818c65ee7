"""What only a gallery in a Lance dataset has: versions, and many writers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from lance import LanceDataset
from lance.fragment import write_fragments

from lance_galleries import (
    CHANGED,
    DIM,
    MODEL,
    apart,
    block,
    filled,
    ids,
    in_pieces,
    kept,
    made,
)
from msedge.errors import ConfigError, DataError, WeightsError
from msedge.search.photo import ADDED, Block
from msedge.search.stores import check_gallery
from msedge.search.stores.lance import dataset as lance_dataset
from msedge.search.stores.lance import store as lance_store
from msedge.search.stores.lance.dataset import table_of
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Watched
from msedge.search.stores.store import MissingGalleryError


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path / "a.lance", *range(1, 11))


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
            ("hubness", pa.float64()),
        ]
        wanted = pa.schema([pa.field(name, kind, nullable=False) for name, kind in fields])
        assert schema.remove_metadata() == wanted
        said = schema.metadata
        assert len(said.pop(b"msedge.identity")) == 32
        assert said == {
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
last = '    hubness: float = _fact("float64", default=0.0, added=1)\\n'
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
