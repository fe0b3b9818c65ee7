"""What every kind of store does with photos."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from encoders import ColourEncoder
from made_photos import MODEL, held, ids, make, photo, photos, told, unit
from msedge.errors import ConfigError, DataError, ShapeError, WeightsError
from msedge.search.photo import Block
from msedge.search.stores import open_or_create, open_store, store_class
from msedge.search.stores.reports import Model
from msedge.search.stores.store import MissingGalleryError

TESTS = Path(__file__).parent.parent.parent


@pytest.fixture
def store(gallery):
    with open_store(gallery, writable=True) as store:
        yield store


class TestCreating:
    def test_a_new_gallery_is_empty_and_says_what_made_it(self, path, suffix):
        with store_class(path).create(path, MODEL) as store:
            assert (store.count(), store.photos(), store.folders()) == (0, [], [])
            assert (store.model, store.path, store.last_id()) == (MODEL, path, 0)
            assert store.places() == {}
            assert f".{store.kind}".replace("sqlite", "msedge") == suffix

    def test_its_folder_is_made(self, tmp_path, suffix):
        path = tmp_path / "a" / "b" / f"g{suffix}"
        with open_or_create(path, MODEL) as store:
            assert store.count() == 0
        with open_or_create(path, Model("other", "other", 4)) as store:
            assert store.model == MODEL

    def test_what_is_there_is_not_overwritten(self, path):
        path.write_text("a diary")
        with pytest.raises(DataError, match="is there already"):
            store_class(path).create(path, MODEL)
        assert path.read_text() == "a diary"

    def test_a_missing_gallery(self, path):
        with pytest.raises(MissingGalleryError, match="make it with `msedge index"):
            open_store(path)
        assert list(path.parent.iterdir()) == []

    def test_a_place_that_cannot_be_written_to(self, tmp_path, suffix):
        (tmp_path / "file").write_text("no folder")
        with pytest.raises(DataError):
            store_class(Path(f"g{suffix}")).create(tmp_path / "file" / f"g{suffix}", MODEL)


class TestReading:
    def test_photos_come_back_to_the_bit(self, path):
        odd = photo(1, os.fsdecode(b"/x/\xff\n%?#.jpg")), photo(2, "s3://bucket/b.jpg")
        make(path, odd, [3, 9])
        assert held(path) == [(3, *told(odd[0])), (9, *told(odd[1]))]
        with open_store(path) as store:
            assert [each.as_json()["uri"] for each in store.photos()] == [
                odd[0].path.as_uri(), "s3://bucket/b.jpg"
            ]  # fmt: skip

    def test_in_the_order_asked_for(self, path):
        make(path, photos(1200))
        wanted = [1200, 5, 99_999, 5, *range(600, 0, -1)]
        with open_store(path) as store:
            assert [p.id for p in store.photos(wanted)] == [n for n in wanted if n != 99_999]
            assert store.photos([]) == []

    @pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**63 - 1, 2**63, 2**70])
    def test_any_number_may_be_asked_for(self, store, number):
        assert [photo.id for photo in store.photos([number, 1])] == [1]
        assert store.view().vector(number) is None

    def test_blocks_hold_everything_in_order(self, store):
        blocks = list(store.blocks(rows=40))
        assert [number for block in blocks for number in block.ids] == list(range(1, 101))
        assert [told(each) for block in blocks for each in block.photos] == [
            told(each) for each in photos(100)
        ]
        assert max(len(block.ids) for block in blocks) <= 40

    def test_blocks_are_of_one_moment(self, store):
        blocks = store.blocks(rows=40)
        first = next(blocks)
        store.change(remove=[90], put=[photo(500)])
        assert len(first.ids) + sum(len(block.ids) for block in blocks) == 100

    def test_by_path(self, store):
        assert store.id_at(Path("/photos/2/9.jpg")) == 10
        assert store.id_at(Path("/photos/2/none.jpg")) is None
        place = store.places()["/photos/2/9.jpg"]
        made = photo(9)
        assert place == (10, made.size, made.mtime_ns, made.content_hash)

    def test_by_content(self, store):
        store.change(put=[photo(200, content_hash="same"), photo(150, content_hash="same")])
        assert told(store.with_content("same")) == told(photo(200, content_hash="same"))
        assert store.with_content("none") is None

    def test_folders_count_what_lies_directly_in_them(self, path):
        make(path, [photo(seed, f"/x/{name}") for seed, name in enumerate(("1", "2", "y/3"))])
        with open_store(path) as store:
            assert store.folders() == [(Path("/x"), 2), (Path("/x/y"), 1)]


class TestChanging:
    def test_the_same_path_replaces_and_keeps_its_id(self, store, gallery):
        store.change(put=[photo(300, photo(4).path), photo(301)])
        rows = {row[0]: row[1:] for row in held(gallery)}
        assert rows[5] == told(photo(300, photo(4).path))
        assert rows[store.id_at(photo(301).path)] == told(photo(301))
        assert store.count() == 101

    def test_all_of_it_is_one_commit(self, store, gallery):
        before = store.version()
        store.change(put=[photo(300)], move=[(1, Path("/b.jpg"), 9, 7)], remove=[2, 3])
        with open_store(gallery) as other:
            assert other.version() == store.version() > before
            assert [each.id for each in other.photos([1, 2, 3, 101])] == [1, 101]
            assert other.id_at(Path("/b.jpg")) == 1

    @pytest.mark.parametrize(
        "change", [{"put": [photo(9, size=1)]}, {"move": [(1, Path("/b"), 1, 1)]}, {"remove": [1]}]
    )
    def test_the_version_rises_with_each(self, store, change):
        before = store.version()
        store.change(**change)
        assert store.version() > before

    def test_after_an_error_nothing_has_happened(self, store, gallery):
        before, version = held(gallery), store.version()
        with pytest.raises(DataError, match="absolute"):
            store.change(remove=[1], put=[photo(300), photo(301, "relative.jpg")])
        with pytest.raises(DataError, match="absolute"):
            store.change(put=[photo(300)], move=[(1, Path("relative.jpg"), 1, 1)])
        with pytest.raises(ShapeError, match=r"expected float16 \(8,\)"):
            store.change(put=[photo(300), photo(301, vector=unit(1, 9))])
        assert (held(gallery), store.version()) == (before, version)
        store.change(remove=[1])
        assert store.count() == 99

    def test_a_moved_photo_keeps_id_and_vector_and_replaces_what_was_there(self, store, gallery):
        store.change(move=[(1, photo(1).path, 9, 5)])
        rows = {row[0]: row[1:] for row in held(gallery)}
        moved = photo(0, photo(1).path, size=9, mtime_ns=5)
        assert rows[1] == told(moved)
        assert 2 not in rows

    @pytest.mark.parametrize("mtime_ns", [5, 1_600_000_000_123_456_789])
    def test_a_date_of_the_file_moves_with_it_and_a_date_of_its_own_does_not(self, path, mtime_ns):
        mine = 1_599_999_999_987_654_321
        make(path, [photo(1, "/a", mtime_ns=mine, taken=mine / 1e9),
                    photo(2, "/b", mtime_ns=mine, taken=7.0)])  # fmt: skip
        with open_store(path, writable=True) as store:
            store.change(move=[(1, Path("/a"), 9, mtime_ns), (2, Path("/c"), 9, mtime_ns)])
            assert [each.taken for each in store.photos()] == [mtime_ns / 1e9, 7.0]

    def test_removed_ids_need_not_be_there(self, store):
        store.change(remove=[7, 7, 4000, 0, -1])
        assert store.count() == 99

    def test_a_reader_does_not_write(self, gallery):
        with open_store(gallery) as reader, pytest.raises(DataError, match="for reading alone"):
            reader.change(remove=[1])

    def test_two_writers_take_turns(self, store, gallery):
        with open_store(gallery, writable=True) as other:
            store.change(put=[photo(300)])
            other.change(put=[photo(301)])
        assert len(set(ids(gallery))) == 102

    def test_many_threads_read_while_one_writes(self, store, gallery):
        wrong, going = [], threading.Event()

        def read(reader):
            while not going.is_set():
                (numbers,) = [block.ids for block in reader.blocks(rows=1000)] or [[]]
                found = reader.photos(numbers)
                if len(numbers) % 10 or len(found) < len(numbers):  # commits add ten or none
                    wrong.append((len(numbers), len(found)))

        with open_store(gallery) as reader:
            threads = [threading.Thread(target=read, args=(reader,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for start in range(100, 200, 10):
                store.change(put=[photo(n) for n in range(start, start + 10)])
            going.set()
            for thread in threads:
                thread.join()
            assert wrong == []
        with open_store(gallery) as after:  # a reader of Lance looks anew once a second
            assert after.count() == 200

    def test_a_killed_writer_loses_what_was_not_committed_alone(self, path):
        program = (
            "import os, sys; from pathlib import Path\n"
            "sys.path.insert(0, sys.argv[2])\n"
            "from made_photos import make, photo, photos\n"
            "from msedge.search.stores import open_store\n"
            "store = open_store(make(Path(sys.argv[1]), photos(3)), writable=True)\n"
            "def some():\n"
            "    yield photo(10)\n"
            "    os.kill(os.getpid(), 9)\n"
            "class Lazy(list):\n"
            "    __iter__ = lambda self: some()\n"
            "store.change(put=[photo(9)])\n"
            "store.change(put=Lazy([1, 2]))\n"
        )
        done = subprocess.run([sys.executable, "-c", program, path, TESTS], timeout=60)
        assert done.returncode == -9
        assert ids(path) == [1, 2, 3, 4]


class TestIds:
    def test_of_removed_photos_are_not_given_again(self, store, gallery):
        store.change(remove=[100])
        store.change(put=[photo(300)])
        assert ids(gallery)[-2:] == [99, 101]
        assert store.last_id() == 101

    def test_are_reserved_once(self, store, gallery):
        with open_store(gallery, writable=True) as other:
            first, second = store.reserve_ids(5), other.reserve_ids(3)
        assert (first, second) == (101, 106)
        store.change(put=[photo(300)])
        assert store.id_at(photo(300).path) == 109
        assert store.last_id() == 109

    def test_of_an_empty_gallery(self, path):
        with store_class(path).create(path, MODEL) as store:
            assert (store.reserve_ids(2), store.last_id()) == (1, 2)

    def test_can_be_spared(self, store):
        store.spare_ids(500)
        store.spare_ids(200)
        assert store.last_id() == 500
        store.change(put=[photo(300)])
        assert store.id_at(photo(300).path) == 501

    def test_of_their_own(self, store, gallery):
        """What has the id or the path goes, and is not there under another one."""
        store.put_with_ids(Block([50, 700], [photo(300), photo(9)]))
        rows = {row[0]: row[1:] for row in held(gallery)}
        assert (rows[50], rows[700]) == (told(photo(300)), told(photo(9)))
        assert 10 not in rows
        assert (len(rows), store.last_id()) == (100, 700)

    @pytest.mark.parametrize(
        "block", [Block([200, 200], [photo(300), photo(301)]), Block([200, 201], [photo(300)] * 2)]
    )
    def test_each_stands_once_in_a_block(self, store, gallery, block):
        before = held(gallery)
        with pytest.raises(DataError, match=r"twice|of its own"):
            store.put_with_ids(block)
        assert held(gallery) == before


class TestNotes:
    def test_are_kept_by_name(self, store, gallery):
        assert (store.note("parts"), store.notes()) == ("", {})
        version = store.version()
        store.write_note("parts", "2x2")
        store.write_note("sizes", "1\n2")
        store.write_note("parts", "3x3")
        assert store.version() >= version
        with open_store(gallery) as other:
            assert (other.note("parts"), other.note("none")) == ("3x3", "")
            assert other.notes() == {"parts": "3x3", "sizes": "1\n2"}
            assert other.model == MODEL


class TestModels:
    def test_an_encoder_of_other_weights_is_refused_with_the_ways_out(self, path):
        with store_class(path).create(path, Model("colours", "colours-1", 32)) as store:
            store.check_model(ColourEncoder())
            with pytest.raises(WeightsError) as caught:
                store.check_model(ColourEncoder("colours-2"))
        for way_out in ("--gallery OTHER", "--rebuild", "--model"):
            assert way_out in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    def test_a_reader_sees_that_another_model_has_taken_over(self, gallery, suffix, tmp_path):
        other = make(tmp_path / f"other{suffix}", [photo(4, dim=6), photo(500, dim=6)],
                     model=Model("new", "new-1", 6))  # fmt: skip
        with open_store(other, writable=True) as new:
            new.write_note("parts", "new")
        with open_store(gallery, writable=True) as store, open_store(gallery) as reader:
            store.write_note("old", "gone")
            before = reader.version()
            try:
                store.take_over(other)
            except ConfigError:
                assert store.kind == "lance"
                return
            assert store.version() > before
            assert store.notes() == {"parts": "new"}
            for read in (reader.version, reader.photos, lambda: list(reader.blocks())):
                with pytest.raises(WeightsError, match="open it again"):
                    read()
        assert [row[1:] for row in held(gallery)] == [told(photo(n, dim=6)) for n in (4, 500)]
        assert ids(gallery)[0] == 5


class TestOneWriterOrMany:
    def test_who_is_not_shared_says_where_a_cluster_writes(self, store, gallery):
        block = Block([store.reserve_ids(2), 102], [photo(300), photo(301)])
        if store.is_shared:
            store.commit(type(store).write_apart(gallery, MODEL.dim, block), remove=[1])
            assert ids(gallery) == list(range(2, 103))
            return
        for write in (
            lambda: type(store).write_apart(gallery, MODEL.dim, block),
            lambda: store.commit([]),
        ):
            with pytest.raises(
                ConfigError, match=r"writes a Lance gallery.*give --gallery NAME\.l"
            ):
                write()


def test_a_closed_gallery_says_so_or_reads_on(gallery):
    store = open_store(gallery)
    store.close()
    if store.kind == "sqlite":
        with pytest.raises(DataError, match="has been closed"):
            store.count()


def test_vectors_come_back_at_length_one(gallery):
    with open_store(gallery) as store:
        vector = store.view().vector(7)
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)
    np.testing.assert_allclose(vector, photo(6).vector, atol=1e-3)
