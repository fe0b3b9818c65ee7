"""Compacting and checking a gallery in a Lance dataset, and what it holds after any changes."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lance import LanceDataset

from cluster_runs import index_here
from indexing_runs import run
from lance_galleries import (
    DAY,
    DIM,
    MODEL,
    Saying,
    apart,
    append,
    block,
    build,
    data,
    filled,
    fragments,
    ids,
    in_pieces,
    kept,
    made,
)
from msedge.errors import DataError
from msedge.search.photo import Block
from msedge.search.stores import check_gallery
from msedge.search.stores.lance import store as lance_store
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Watched
from photo_files import write_photo


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path / "a.lance", *range(1, 11))


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


class TestTidying:
    @pytest.mark.parametrize("done", [run, index_here])
    def test_many_small_runs_end_with_few_fragments(self, tmp_path, done):
        path, reader = tmp_path / "a.lance", None
        for number in range(25):
            write_photo(tmp_path / f"photos/{number}.jpg", number)
            assert done([tmp_path / "photos"], path).photos == number + 1
            if reader is None:
                reader = lance.dataset(str(path))
        with LanceStore.open(path) as store:
            parts = store.size().parts
            assert parts["fragments"] <= 16
            assert len(store.places()) == 25
            assert check_gallery(path) == []
            assert reader.to_table().num_rows == 1  # of a version that is younger than an hour
            store.tidy(kept=timedelta(0))
            assert store.size().parts["versions"] == 1
            before = data(store)
            assert done([tmp_path / "photos"], path).unchanged == 25
            assert (data(store), store.size().parts["versions"]) == (before, 1)

    def test_large_fragments_stay_and_no_more_than_so_much_is_done(self, store, monkeypatch):
        monkeypatch.setattr(lance_store, "_SMALL", 4)
        monkeypatch.setattr(lance_store, "_MOST_TIDIED", 8)
        store.put_with_ids(block(*range(11, 16)))
        large = data(store)
        for number in range(16, 50):
            store.put_with_ids(block(number))
        photos, before = store.photos(), fragments(store)
        store.tidy()
        assert large < data(store)
        assert before - 8 <= fragments(store) < before
        for _ in range(9):
            store.tidy()
        assert fragments(store) <= 2 + 16
        assert store.photos() == photos

    @pytest.mark.parametrize(
        "said", ["preempted by concurrent transaction", "No space left on device"]
    )
    def test_what_stands_in_its_way_is_no_failure(self, store, monkeypatch, said):
        def hindered(*_, **__):
            raise OSError(said)

        for number in range(11, 40):
            store.put_with_ids(block(number))
        photos = store.photos()
        monkeypatch.setattr(type(store.now().dataset.optimize), "compact_files", hindered)
        monkeypatch.setattr(LanceDataset, "cleanup_old_versions", hindered)
        store.tidy(kept=timedelta(0))
        assert store.photos() == photos

    def test_goes_on_beside_a_writer(self, store):
        writer = LanceStore.open(store.path, writable=True)
        writer.places()
        for number in range(11, 40):
            writer.commit(apart(writer, number))
            if number == 30:
                store.tidy()
        assert fragments(store) < 29
        assert ids(store) == list(range(1, 40))


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
