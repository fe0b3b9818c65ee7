"""An index finds what exact search finds; what may not be found, it never finds."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approximate_galleries import built, clustered, drawn, exactly, ids_of, index_of
from msedge.search.approximate.index import ApproximateIndex
from msedge.search.approximate.searcher import EXACT_ROWS

COUNT, DIM = 12_000, 30
KINDS = ("hnsw", "ivf-sq", "ivf-pq")


@pytest.fixture(scope="module")
def vectors():
    return clustered(COUNT, DIM)


@pytest.fixture(scope="module", params=KINDS)
def index(request, tmp_path_factory, vectors):
    return index_of(tmp_path_factory.mktemp(request.param) / "index", vectors, kind=request.param)


@pytest.fixture(scope="module")
def lists(tmp_path_factory, vectors):
    return index_of(tmp_path_factory.mktemp("lists") / "index", vectors, kind="ivf-pq")


def recall(index, vectors, queries, k, allowed=None):
    right = 0
    for query in queries:
        rows, similarities = index.nearest(query, k, allowed=allowed)
        assert len(rows) == len(set(rows.tolist())) == len(similarities) == k
        assert (np.diff(similarities) <= 0).all()
        right += len(set(rows.tolist()) & set(exactly(vectors, query, k, allowed)[0]))
    return right / (k * len(queries))


class TestSmoke:
    def test_ids_and_vectors_are_those_of_the_gallery(self, index, vectors):
        assert index.ids.tolist() == ids_of(COUNT).tolist()
        assert (index.vectors == vectors).all()
        assert index.vectors.dtype == np.float16

    def test_similarities_are_exact(self, index, vectors):
        rows, similarities = index.nearest(drawn(1, DIM)[0], 20)
        every = dict(zip(*exactly(vectors, drawn(1, DIM)[0], COUNT), strict=True))
        assert similarities.tolist() == [every[row] for row in rows.tolist()]


class TestRecall:
    @pytest.mark.parametrize("k", [1, 20, 500])
    def test_it_is_what_was_wanted_for_queries_that_it_was_not_tuned_on(self, index, vectors, k):
        assert recall(index, vectors, drawn(40, DIM, seed=77), k) >= 0.95

    @pytest.mark.parametrize("share", [0.95, 0.5, 0.35])
    def test_it_stays_where_a_share_counts(self, index, vectors, share):
        allowed = np.random.default_rng(1).random(COUNT) < share
        assert recall(index, vectors, drawn(20, DIM, seed=78), 20, allowed) >= 0.95

    @pytest.mark.parametrize("seed", [79, 80, 81])
    def test_it_stays_where_what_counts_are_other_kinds_of_photo(self, index, vectors, seed):
        query = drawn(1, DIM, seed=seed)[0]
        single = vectors.astype(np.float32)
        another = single[np.argsort(single @ query)[COUNT // 4]]
        allowed = np.zeros(COUNT, np.bool_)
        allowed[np.argsort(-(single @ another))[: EXACT_ROWS + 1000]] = True
        assert recall(index, vectors, [query], 20, allowed) >= 0.9


class TestFilters:
    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_few_rows_are_ranked_exactly(self, lists, data):
        seed, count = data.draw(st.integers(0, 9)), data.draw(st.integers(0, EXACT_ROWS))
        rng = np.random.default_rng(seed)
        allowed = np.zeros(COUNT, np.bool_)
        allowed[rng.choice(COUNT, count, replace=False)] = True
        k, query = data.draw(st.sampled_from([1, 7, 20, 500, 5000])), drawn(1, DIM, seed=seed)[0]
        rows, similarities = lists.nearest(query, k, allowed=allowed)
        expected = exactly(np.asarray(lists.vectors), query, k, allowed)
        assert (rows.tolist(), similarities.tolist()) == expected

    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_as_many_as_there_are_and_none_that_do_not_count(self, lists, data):
        least = data.draw(st.integers(0, COUNT))
        allowed = np.arange(COUNT) >= least
        if data.draw(st.booleans()):
            allowed &= np.arange(COUNT) % data.draw(st.integers(1, 50)) == 0
        k = data.draw(st.sampled_from([1, 20, 500, 7000, COUNT, 2 * COUNT]))
        rows, similarities = lists.nearest(drawn(1, DIM)[0], k, allowed=allowed)
        assert len(rows) == len(similarities) == min(k, np.count_nonzero(allowed))
        assert allowed[rows].all()
        assert len(set(rows.tolist())) == len(rows)

    def test_as_many_as_there_are_of_every_kind(self, index):
        allowed = np.arange(COUNT) % 2 == 0
        for k in (1, 3000, 5999, 6000, 6001):
            rows, _ = index.nearest(drawn(1, DIM)[0], k, allowed=allowed)
            assert len(rows) == min(k, 6000)
            assert allowed[rows].all()

    def test_none_count(self, index):
        rows, similarities = index.nearest(drawn(1, DIM)[0], 5, allowed=np.zeros(COUNT, np.bool_))
        assert (rows.tolist(), similarities.tolist()) == ([], [])

    def test_all_count(self, index):
        query = drawn(1, DIM)[0]
        every = index.nearest(query, 20, allowed=np.ones(COUNT, np.bool_))
        assert every[0].tolist() == index.nearest(query, 20)[0].tolist()


class TestCardinality:
    @pytest.mark.parametrize("kind", [None, *KINDS])
    @pytest.mark.parametrize("count", [0, 1, 7, 50])
    def test_tiny_galleries_are_ranked_exactly(self, tmp_path, count, kind):
        vectors, query = clustered(count, 10), drawn(1, 10)[0]
        index = index_of(tmp_path / "index", vectors, kind=kind)
        for k in (1, 20, 100):
            rows, similarities = index.nearest(query, k)
            assert (rows.tolist(), similarities.tolist()) == exactly(vectors, query, k)
        assert index.about.recall_measured == 1

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dim", [1, 3, 7, 33])
    def test_any_width(self, tmp_path, dim, kind):
        vectors = clustered(6000, dim)
        index = index_of(tmp_path / "index", vectors, kind=kind, recall=0.9)
        queries = drawn(20, dim)
        found = [index.nearest(query, 20)[1] for query in queries]
        exact = [exactly(vectors, query, 20)[1] for query in queries]
        assert np.isclose(found, exact, atol=2e-3).mean() >= 0.85

    @pytest.mark.parametrize("k", [COUNT - 1, COUNT, COUNT + 1])
    def test_more_than_there_are(self, index, vectors, k):
        query = drawn(1, DIM)[0]
        rows, similarities = index.nearest(query, k)
        assert len(rows) == min(k, COUNT)
        if k >= COUNT:
            assert (rows.tolist(), similarities.tolist()) == exactly(vectors, query, k)


class TestDuplicates:
    def test_few_copies_stand_together_by_rising_row(self, tmp_path):
        vectors = clustered(6000, 16)
        vectors[[5, 900, 5999]] = vectors[77]
        index = index_of(tmp_path / "index", vectors, kind="ivf-pq")
        rows, similarities = index.nearest(vectors[77].astype(np.float32), 4)
        assert rows.tolist() == [5, 77, 900, 5999]
        assert len(set(similarities.tolist())) == 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_gallery_of_one_photo_over_and_over(self, tmp_path, kind):
        vectors = np.tile(clustered(1, 16), (6000, 1))
        index = index_of(tmp_path / "index", vectors, kind=kind)
        rows, similarities = index.nearest(vectors[0].astype(np.float32), 30)
        assert len(set(rows.tolist())) == 30
        assert np.diff(rows).min() > 0
        assert similarities == pytest.approx(np.ones(30), abs=1e-3)
        assert index.about.recall_measured == 1


class TestThreads:
    def test_searches_side_by_side_find_what_each_finds_alone(self, index):
        queries = drawn(64, DIM)
        allowed = np.arange(COUNT) % 2 == 0
        alone = [index.nearest(query, 20, allowed=allowed)[0].tolist() for query in queries]
        with ThreadPoolExecutor(8) as pool:
            found = list(
                pool.map(lambda q: index.nearest(q, 20, allowed=allowed)[0].tolist(), queries)
            )
        assert found == alone

    def test_the_threads_of_faiss_are_left_as_they_were(self, index):
        before = faiss.omp_get_max_threads()
        try:
            faiss.omp_set_num_threads(3)
            index.nearest(drawn(1, DIM)[0], 20)
            assert faiss.omp_get_max_threads() == 3
        finally:
            faiss.omp_set_num_threads(before)

    def test_a_search_takes_no_thread_from_others(self, index):
        stop, seen = threading.Event(), set()
        others = faiss.omp_get_max_threads()

        def searching():
            while not stop.is_set():
                index.nearest(drawn(1, DIM)[0], 20)

        thread = threading.Thread(target=searching)
        thread.start()
        for _ in range(2000):
            seen.add(faiss.omp_get_max_threads())
        stop.set()
        thread.join()
        assert seen == {others}


class TestMemory:
    def test_what_is_said_bounds_what_opening_and_searching_take(self, tmp_path):
        vectors = clustered(60_000, 64)
        about = built(tmp_path / "index", vectors, kind="ivf-pq", recall=0.8)
        assert about.bytes / about.count < 64 // 4 + 8 + 10
        code = (
            "import sys; sys.path.insert(0, 'tests')\n"
            "import numpy as np\n"
            "from pathlib import Path\n"
            "from msedge.search.approximate.index import ApproximateIndex\n"
            "def anonymous():\n"
            "    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()\n"
            "    return sum(int(l.split()[1]) for l in lines if l.startswith('Anonymous'))\n"
            "query = np.ones(64, np.float32) / 8\n"
            "def use():\n"
            "    index = ApproximateIndex.open(Path(sys.argv[1]))\n"
            "    index.nearest(query, 20)\n"
            "    return index\n"
            "first = use(); before = anonymous()\n"
            "more = [use() for _ in range(10)]\n"
            "print((anonymous() - before) / 10)\n"
        )
        words = [sys.executable, "-c", code, str(tmp_path / "index")]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        # Some structures are mapped, others read: none takes more than its file.
        assert float(done.stdout) < 1.2 * about.bytes / 1024 + 300


class TestReopening:
    def test_it_finds_the_same(self, tmp_path, vectors):
        first = index_of(tmp_path / "index", vectors, kind="ivf-pq")
        again = ApproximateIndex.open(tmp_path / "index")
        for query in drawn(10, DIM):
            assert first.nearest(query, 20)[0].tolist() == again.nearest(query, 20)[0].tolist()

    def test_who_has_it_open_goes_on_when_another_takes_its_place(self, tmp_path, vectors):
        old = index_of(tmp_path / "index", vectors, kind="ivf-pq")
        query = drawn(1, DIM)[0]
        before = old.nearest(query, 20)[0].tolist()
        new = index_of(tmp_path / "index", vectors[:5000], version=2)
        assert (old.about.version, new.about.version) == (1, 2)
        assert old.nearest(query, 20)[0].tolist() == before
        assert (old.vectors == vectors).all()
        assert len(new.ids) == 5000
