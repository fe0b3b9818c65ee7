"""Searching: the vectors of one moment, in memory or through an index, and what has changed since.

Every answer through an index is held against the exact one.
"""

from __future__ import annotations

import datetime
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_photos import make, photo, photos, unit
from msedge.search.filters import Filters
from msedge.search.stores import build_approximate, open_store
from msedge.search.stores.vectors import Kept, Resident, rows_of

PHOTOS = 600
DAY = 86_400.0


@pytest.fixture
def store(path):
    """Ten photos, a day each, in two folders; ids 1 to 10."""
    make(path, [photo(n, f"/photos/{n % 2}/{n}.jpg", taken=DAY * n) for n in range(10)])
    with open_store(path, writable=True) as store:
        yield store


def hits(view, query, k=3, *, filters=None, without=(), together=False):
    found = view.search(query, k, filters=filters, without=without, together=together)
    return [each.id for each in found]


def query(seed=99):
    return unit(seed).astype(np.float32)


class TestSearch:
    def test_the_photo_itself_comes_first(self, store):
        view = store.view()
        for number in range(1, 11):
            assert hits(view, view.vector(number))[0] == number

    def test_only_photos_that_match(self, store):
        view = store.view()
        days = Filters(after=datetime.date(1970, 1, 3), before=datetime.date(1970, 1, 4))
        assert set(hits(view, query(), 9, filters=days)) == {3, 4}
        for folder, wanted in (("/photos/1", {2, 4, 6, 8, 10}), ("/elsewhere", set())):
            assert set(hits(view, query(), 9, filters=Filters(folder=Path(folder)))) == wanted

    def test_photos_that_are_not_wanted(self, store):
        view = store.view()
        found = hits(view, view.vector(4), 99, without=(4, 999))
        assert (len(found), 4 in found) == (9, False)

    def test_near_duplicates_are_one_hit(self, store):
        store.change(put=[photo(50, vector=photo(3).vector)])
        (first, *_) = store.view().search(query(3), 3)
        assert (first.id, first.copies) == (4, (store.id_at(photo(50).path),))

    def test_many_threads_and_more_filters_than_are_kept(self, store):
        view = store.view()
        asked = [Filters(after=datetime.date(1969, 1, 1 + number % 28), before=day)
                 for number in range(40) for day in (datetime.date(1970, 1, 5), None)]  # fmt: skip
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda f: hits(view, query(), 99, filters=f), asked))
        assert [len(answer) for answer in answers] == [5 if each.before else 10 for each in asked]


class TestOneMoment:
    def test_the_same_view_until_something_changes(self, store):
        view = store.view()
        assert store.view(view) is view
        assert store.is_current(view)
        store.change(put=[photo(70)])
        assert not store.is_current(view)
        after, new = store.view(view), store.id_at(photo(70).path)
        assert (after.version, view.vector(new)) == (store.version(), None)
        assert after.version > view.version
        np.testing.assert_allclose(after.vector(new), query(70), atol=1e-3)

    def test_a_photo_that_went_is_not_shown(self, store):
        view = store.view()
        store.change(remove=[5])
        again = store.view(view)
        assert [each.id for each in again.photos([4, 5, 6])] == [4, 6]
        assert (again.photos([]), again.vector(5)) == ([], None)
        assert 5 in hits(view, view.vector(5))
        assert 5 not in hits(again, view.vector(5), 99)


class TestWhatHasChanged:
    @pytest.fixture
    def file(self, tmp_path):
        path = make(tmp_path / "photos.msedge", photos(40))
        with open_store(path, writable=True) as store:
            yield store

    def test_it_is_what_reading_everything_gives(self, file):
        before = file.view()
        file.change(put=[photo(800, photo(3).path), photo(801)], remove=[7, 40])
        after, whole = file.view(before).vectors, file.view().vectors
        assert after.version == whole.version > before.version
        np.testing.assert_array_equal(after.ids, whole.ids)
        np.testing.assert_array_equal(after.rows, whole.rows)
        assert (len(after.ids), 7 in after.ids) == (39, False)

    def test_of_an_id_that_is_put_again(self, file):
        from msedge.search.photo import Block

        before = file.view()
        file.put_with_ids(Block([3], [photo(900)]))
        np.testing.assert_allclose(file.view(before).vector(3), query(900), atol=1e-3)

    @pytest.mark.parametrize(("removed", "is_read"), [(10, False), (11, True)])
    def test_only_that_is_read_unless_it_is_much(self, file, removed, is_read):
        """A photo that has not changed is not looked at: its row may be anything by then."""
        before = file.view()
        file.change(remove=range(1, removed + 1))
        other = unit(5000)
        with closing(sqlite3.connect(file.path)) as connection, connection:
            connection.execute("UPDATE photos SET vector = ? WHERE id = 40", (other.tobytes(),))
        seen = np.allclose(file.view(before).vector(40), other, atol=1e-3)
        assert seen == is_read


class TestResident:
    def made(self, ids, rows):
        vectors = np.asarray(rows, np.float32).reshape(-1, 2)
        return Resident(1, np.array(ids, np.int64), vectors, np.zeros(len(ids)), "", "")

    def test_it_cannot_be_changed(self):
        resident = self.made([1], [[1, 0]])
        for array in (resident.ids, resident.rows):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_a_vector_by_id(self):
        resident = self.made([2, 5, 9], np.eye(3, 2))
        np.testing.assert_array_equal(resident.vector(5), [0, 1])
        assert [resident.vector(missing) for missing in (-1, 0, 1, 3, 10, 2**70)] == [None] * 6
        assert self.made([], []).vector(1) is None

    def test_the_first_of_those_that_count(self):
        angles = np.radians(20 * np.arange(4))
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        resident = self.made([2, 5, 9, 11], circle)
        east = np.array([1, 0], np.float32)
        allowed = resident.allowed(np.array([1, 5, 11, 99]))
        assert allowed.tolist() == [False, True, False, True]
        assert resident.first(east, 9, allowed, 0.5).ids.tolist() == [5, 11]
        first = resident.first(east, 2, None, 0.5)
        assert first.ids.tolist() == [2, 5]
        assert first.similarities == pytest.approx([1.0, np.cos(np.radians(20))])
        np.testing.assert_allclose(first.vectors, circle[:2], atol=1e-6)
        assert self.made([1, 2, 3], [east] * 3).first(east, 2, None, 0.5).ids.tolist() == [1, 2]
        empty = self.made([], [])
        assert len(empty.first(east, 5, empty.allowed(np.array([3])), 0.5).ids) == 0

    def test_rows_of_ids(self):
        assert rows_of(np.empty(0, np.int64), np.array([1])).tolist() == [-1]

    def test_what_filters_come_to_is_read_once(self):
        read = []
        kept = Kept(lambda filters: read.append(filters) or len(read))
        many = [Filters(folder=Path(f"/{n}")) for n in range(40)]
        assert (kept.get(None), read) == (None, [])
        assert [kept.get(many[0]) for _ in range(3)] == [1, 1, 1]
        assert [kept.get(each) for each in many[:32]] == list(range(1, 33))
        assert kept.get(many[0]) == 1
        assert kept.get(many[32]) == 33  # which takes the place of what was asked longest ago
        assert (kept.get(many[0]), kept.get(many[31]), kept.get(many[1])) == (1, 32, 34)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A file with an index beside it; ids are those of photos plus one."""
    path = tmp_path_factory.mktemp("approximate") / "g.msedge"
    make(path, [photo(n, f"/photos/{n % 3}/{n}.jpg") for n in range(PHOTOS)])
    build_approximate(path, recall=0.95, kind="ivf-sq", force=True)
    return path


@pytest.fixture
def indexed(built, tmp_path):
    for each in built.parent.iterdir():
        (shutil.copytree if each.is_dir() else shutil.copy)(each, tmp_path / each.name)
    return tmp_path / "g.msedge"


def index_of(store, last=None):
    """The index that a view goes through; None where it is exact."""
    return getattr(store.view(last).vectors, "index", None)


class TestWhichIndexIsUsed:
    def test_the_one_beside_it_unless_search_is_to_be_exact(self, indexed):
        with open_store(indexed) as store, open_store(indexed, exact=True) as exact:
            assert index_of(store) is not None
            assert index_of(exact) is None
            assert exact.is_current(exact.view())
            found, true = hits(store.view(), query(), 20), hits(exact.view(), query(), 20)
            assert len(set(found) & set(true)) >= 18

    def test_none_of_another_gallery(self, indexed):
        """A gallery made anew may have the same name, model and version."""
        indexed.unlink()
        with open_store(make(indexed, photos(5))) as store:
            assert index_of(store) is None

    def test_none_that_is_damaged(self, indexed):
        (indexed.with_name("g.msedge.approximate") / "about.json").write_text("{}")
        with open_store(indexed) as store:
            view = store.view()
            assert index_of(store, view) is None
            assert store.is_current(view)
            assert store.view(view) is view
            assert len(hits(view, query(), 20)) == 20

    def test_none_that_is_far_behind(self, indexed):
        with open_store(indexed, writable=True) as store:
            store.change(put=[photo(n) for n in range(PHOTOS, PHOTOS + 10_000)])
            assert index_of(store) is not None
            store.change(put=[photo(PHOTOS + 10_001)])
            assert index_of(store) is None

    def test_a_new_one_is_taken_up_and_a_deleted_one_given_up(self, indexed):
        with open_store(indexed) as store:
            first = store.view()
            build_approximate(indexed, recall=0.95, force=True)
            assert not store.is_current(first)
            second = store.view(first)
            assert second.vectors.index is not first.vectors.index
            assert store.is_current(second)
            shutil.rmtree(indexed.with_name("g.msedge.approximate"))
            assert len(hits(second, query(), 20)) == 20  # its files stay mapped
            assert not store.is_current(second)
            third = store.view(second)
            assert index_of(store, third) is None
            build_approximate(indexed, recall=0.95, force=True)
            assert not store.is_current(third)
            assert index_of(store, third) is not None

    def test_it_is_opened_once(self, indexed):
        with open_store(indexed, writable=True) as store:
            first = store.view()
            store.change(put=[photo(900)])
            assert index_of(store, first) is first.vectors.index


class TestWhatHasChangedSinceAnIndex:
    def test_new_changed_and_removed_photos(self, indexed):
        with open_store(indexed, writable=True) as store:
            before = store.view()
            store.change(put=[photo(PHOTOS)], remove=[10])
            store.change(put=[photo(PHOTOS, "/photos/1/7.jpg")])  # id 8 now looks like the new one
            view, new = store.view(before), store.id_at(photo(PHOTOS).path)
            assert view.vectors.index is before.vectors.index
            asked = view.vector(8)
            np.testing.assert_array_equal(asked, view.vector(new))
            assert hits(view, asked, 2) == [8, new]
            assert view.vector(10) is None
            assert 10 not in hits(view, before.vector(10), PHOTOS + 9)
            assert len(hits(view, asked, PHOTOS + 9)) == PHOTOS
            assert hits(before, before.vector(10), 1) == [10]
            below = Filters(folder=Path("/photos/1"))
            found = hits(view, asked, PHOTOS, filters=below)
            assert (found[0], len(set(found))) == (8, len(found))
            assert 8 not in hits(view, asked, PHOTOS, filters=Filters(folder=Path("/photos/0")))

    def test_nothing_is_lost_with_many_changes(self, indexed):
        with open_store(indexed, writable=True) as store:
            changed = [photo(n + 5000, f"/photos/{n % 3}/{n}.jpg") for n in range(0, PHOTOS, 2)]
            store.change(put=changed, remove=range(1, PHOTOS, 5))
            view = store.view()
            with open_store(indexed, exact=True) as exact:
                true = exact.view()
            assert view.vectors.index is not None
            assert sorted(hits(view, query(), PHOTOS)) == true.vectors.ids.tolist()
            for number in true.vectors.ids[::37].tolist():
                np.testing.assert_array_equal(view.vector(number), true.vector(number))

    @settings(max_examples=25, deadline=None)
    @given(folder=st.integers(0, 3), seed=st.integers(0, 10**6), k=st.integers(1, 250))
    def test_filters_are_exact(self, built, folder, seed, k):
        filters = Filters(folder=Path(f"/photos/{folder}"))
        with open_store(built) as store:
            found = hits(store.view(), query(seed), k, filters=filters)
        matching = {n + 1 for n in range(PHOTOS) if n % 3 == folder}
        assert set(found) <= matching
        assert len(found) == len(set(found)) == min(k, len(matching))

    def test_photos_that_are_not_wanted(self, built):
        with open_store(built) as store:
            view = store.view()
            assert hits(view, view.vector(5), 1) == [5]
            assert 5 not in hits(view, view.vector(5), 50, without=(5,))
