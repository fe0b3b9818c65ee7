"""Photos written apart, vectors, views and the index of a gallery in a Lance dataset."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pytest

from lance_galleries import (
    CHANGED,
    DIM,
    MODEL,
    Saying,
    apart,
    append,
    block,
    build,
    filled,
    ids,
    kept,
    made,
    query,
    search,
)
from made_photos import unit
from msedge.errors import ConfigError, DataError, ShapeError
from msedge.search.filters import Filters
from msedge.search.photo import Block
from msedge.search.ranking import nearest, unit_vectors
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Watched
from msedge.search.stores.store import AUTO, MissingGalleryError


@pytest.fixture
def store(tmp_path):
    return filled(tmp_path / "a.lance", *range(1, 11))


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
        for asked in QUERIES:
            found = self.nearest(path, asked, k, exact=True)
            wanted, similarities = self.truth(EVERY, asked, k)
            assert found.ids.tolist() == wanted
            np.testing.assert_array_equal(found.similarities, similarities)

    @pytest.mark.parametrize("k", [1, RARE, 100])
    def test_give_as_many_rare_photos_as_there_are(self, path, k):
        rare = [n for n in EVERY if n % 150 == 0]
        for asked in QUERIES:
            found = self.nearest(path, asked, k, Filters(folder=Path("/rare")))
            assert found.ids.tolist() == self.truth(rare, asked, k)[0]

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
