"""An index finds what exact search finds; what may not be found, it never finds."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import approximate_galleries
from approximate_galleries import built, clustered, drawn, exactly, ids_of, index_of
from msedge.errors import DataError
from msedge.search.approximate.index import EXACT_ROWS, ApproximateIndex
from msedge.search.ranking import nearest, unit_vectors

COUNT, DIM = 12_000, 30
KINDS = ("hnsw", "ivf-sq", "ivf-pq")
TESTS = str(Path(approximate_galleries.__file__).parent)


@pytest.fixture(scope="module")
def vectors():
    vectors = clustered(COUNT, DIM)
    vectors[[5, 900, 901, 11_999]] = vectors[77]  # ties, wherever they matter
    return vectors


@pytest.fixture(scope="module", params=KINDS)
def index(request, tmp_path_factory, vectors):
    return index_of(tmp_path_factory.mktemp(request.param) / "index", vectors, kind=request.param)


def found(index, query, k, allowed=None):
    rows, similarities = index.nearest(query, k, allowed=allowed)
    return rows.tolist(), similarities.tolist()


def recall(index, vectors, queries, k, allowed=None):
    right = 0
    for query in queries:
        rows, similarities = found(index, query, k, allowed)
        assert len(rows) == len(set(rows)) == len(similarities) == k
        assert (np.diff(similarities) <= 0).all()
        right += len(set(rows) & set(exactly(vectors, query, k, allowed)[0]))
    return right / (k * len(queries))


class TestSmoke:
    def test_ids_and_vectors_are_those_of_the_gallery(self, index, vectors):
        assert index.ids.tolist() == ids_of(COUNT).tolist()
        assert (index.vectors == vectors).all()
        assert index.vectors.dtype == np.float16

    def test_similarities_are_exact(self, index, vectors):
        query = drawn(1, DIM)[0]
        rows, similarities = found(index, query, 20)
        every = dict(zip(*exactly(vectors, query, COUNT), strict=True))
        assert similarities == [every[row] for row in rows]


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

    def test_it_stays_where_the_centres_of_lists_form_a_graph(self, tmp_path):
        vectors = clustered(132_000, 6)
        index = index_of(tmp_path / "index", vectors, kind="ivf-sq", recall=0.9)
        assert index.about.parameters["lists"] == 1024
        assert recall(index, vectors, drawn(40, 6, seed=77), 20) >= 0.9

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dim", [1, 3, 7, 33])
    def test_any_width(self, tmp_path, dim, kind):
        vectors = clustered(6000, dim)
        index = index_of(tmp_path / "index", vectors, kind=kind, recall=0.9)
        queries = drawn(20, dim)
        similarities = [found(index, query, 20)[1] for query in queries]
        exact = [exactly(vectors, query, 20)[1] for query in queries]
        assert np.isclose(similarities, exact, atol=2e-3).mean() >= 0.85


class TestFilters:
    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_few_rows_are_ranked_exactly_to_the_last_bit(self, index, vectors, data):
        seed, count = data.draw(st.integers(0, 9)), data.draw(st.integers(0, EXACT_ROWS))
        allowed = np.zeros(COUNT, np.bool_)
        allowed[np.random.default_rng(seed).choice(COUNT, count, replace=False)] = True
        k = data.draw(st.sampled_from([1, 7, 20, 500, 5000]))
        query = data.draw(st.sampled_from([drawn(1, DIM, seed=seed)[0], vectors[77]]))
        assert found(index, query, k, allowed) == exactly(vectors, query, k, allowed)

    @given(st.data())
    @settings(max_examples=40, deadline=None)
    def test_as_many_as_there_are_and_none_that_do_not_count(self, index, data):
        allowed = np.arange(COUNT) >= data.draw(st.integers(0, COUNT))
        if data.draw(st.booleans()):
            allowed &= np.arange(COUNT) % data.draw(st.integers(1, 50)) == 0
        k = data.draw(st.sampled_from([1, 20, 500, 7000, COUNT, 2 * COUNT]))
        rows, similarities = found(index, drawn(1, DIM)[0], k, allowed)
        assert len(rows) == len(similarities) == min(k, np.count_nonzero(allowed))
        assert set(rows) <= set(np.flatnonzero(allowed).tolist())
        assert len(set(rows)) == len(rows)

    def test_none_count(self, index):
        assert found(index, drawn(1, DIM)[0], 5, np.zeros(COUNT, np.bool_)) == ([], [])

    def test_all_count(self, index):
        query = drawn(1, DIM)[0]
        assert found(index, query, 20, np.ones(COUNT, np.bool_)) == found(index, query, 20)


class TestCardinality:
    @pytest.mark.parametrize("kind", [None, *KINDS])
    @pytest.mark.parametrize("count", [0, 1, 7, 50])
    def test_tiny_galleries_are_ranked_exactly(self, tmp_path, count, kind):
        vectors, query = clustered(count, 10), drawn(1, 10)[0]
        index = index_of(tmp_path / "index", vectors, kind=kind)
        for k in (1, 20, 100):
            assert found(index, query, k) == exactly(vectors, query, k)
        assert index.about.recall_measured == 1

    @pytest.mark.parametrize("k", [COUNT - 1, COUNT, COUNT + 1])
    def test_more_than_there_are(self, index, vectors, k):
        query = drawn(1, DIM)[0]
        rows, similarities = found(index, query, k)
        assert len(rows) == min(k, COUNT)
        if k >= COUNT:
            assert (rows, similarities) == exactly(vectors, query, k)


class TestTies:
    def test_copies_stand_together_by_rising_row(self, index, vectors):
        rows, similarities = found(index, vectors[77].astype(np.float32), 5)
        assert rows == [5, 77, 900, 901, 11_999]
        assert len(set(similarities)) == 1

    @pytest.mark.parametrize("seed", [0, 1, 3])
    def test_what_is_nearer_than_float32_can_tell_is_told_apart(self, tmp_path, seed):
        vectors = np.tile(clustered(1, 64), (EXACT_ROWS, 1))
        # The least numbers that float16 knows.
        least = np.random.default_rng(seed).integers(99, size=(EXACT_ROWS, 32), dtype=np.uint16)
        vectors[:, :32] = least.view(np.float16)
        index, query = index_of(tmp_path / "index", vectors), drawn(1, 64, seed=seed)[0]
        assert found(index, query, 500) == exactly(vectors, query, 500)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_gallery_of_one_photo_over_and_over(self, tmp_path, kind):
        vectors = np.tile(clustered(1, 16), (6000, 1))
        index = index_of(tmp_path / "index", vectors, kind=kind)
        rows, similarities = found(index, vectors[0].astype(np.float32), 30)
        assert rows == sorted(set(rows))
        assert similarities == pytest.approx(np.ones(30), abs=1e-3)
        assert index.about.recall_measured == 1


class TestThreads:
    def test_searches_side_by_side_find_what_each_finds_alone(self, index):
        queries, allowed = drawn(64, DIM), np.arange(COUNT) % 2 == 0
        alone = [found(index, query, 20, allowed) for query in queries]
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(lambda q: found(index, q, 20, allowed), queries)) == alone

    def test_it_takes_one_and_leaves_faiss_as_many_as_it_had(self, index, monkeypatch):
        kind, taken = type(index.structure), []
        name = "search_numpy" if hasattr(kind, "search_numpy") else "search"
        search = getattr(kind, name)

        def watched(*words, **named):
            taken.append(faiss.omp_get_max_threads())
            return search(*words, **named)

        monkeypatch.setattr(kind, name, watched)
        before = faiss.omp_get_max_threads()
        try:
            faiss.omp_set_num_threads(3)
            index.nearest(drawn(1, DIM)[0], 20)
            assert (taken, faiss.omp_get_max_threads()) == ([1], 3)
        finally:
            faiss.omp_set_num_threads(before)


def printed(code, *words):
    """What Python prints in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": TESTS}
    program = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(
        program, capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_beside_a_library_that_puts_another_search_into_faiss(tmp_path):
    """As pytorch-metric-learning does, in a process of its own: that cannot be undone."""
    code = (
        "import sys; import faiss.contrib.torch_utils; import numpy as np\n"
        "from pathlib import Path; from approximate_galleries import clustered, index_of\n"
        "vectors = clustered(6000, 16)\n"
        "index = index_of(Path(sys.argv[1]), vectors, kind='ivf-pq')\n"
        "print(len(index.nearest(np.asarray(vectors[5], np.float32), 20)[0]))\n"
    )
    assert printed(code, tmp_path / "index") == "20\n"


def test_what_is_said_bounds_the_memory_that_opening_and_searching_take(tmp_path):
    about = built(tmp_path / "index", clustered(60_000, 64), kind="ivf-pq", recall=0.8)
    assert about.bytes / about.count < 64 // 4 + 8 + 10
    code = (
        "import sys; import numpy as np; from pathlib import Path\n"
        "from msedge.search.approximate.index import ApproximateIndex\n"
        "def anonymous():\n"
        "    lines = Path('/proc/self/smaps_rollup').read_text().splitlines()\n"
        "    return sum(int(l.split()[1]) for l in lines if l.startswith('Anonymous'))\n"
        "def use():\n"
        "    index = ApproximateIndex.open(Path(sys.argv[1]))\n"
        "    index.nearest(np.ones(64, np.float32) / 8, 20)\n"
        "    return index\n"
        "first = use(); before = anonymous()\n"
        "more = [use() for _ in range(10)]\n"
        "print((anonymous() - before) / 10)\n"
    )
    # Some structures are mapped, others read: none takes more than its file.
    assert float(printed(code, tmp_path / "index")) < 1.2 * about.bytes / 1024 + 300


class TestReopening:
    def test_it_finds_the_same_from_whatever_folder(self, tmp_path, vectors, monkeypatch):
        first = index_of(tmp_path / "index", vectors, kind="ivf-pq")
        monkeypatch.chdir(tmp_path)
        again = ApproximateIndex.open(Path("index"))
        for query in drawn(10, DIM):
            assert found(first, query, 20) == found(again, query, 20)

    def test_who_has_it_open_goes_on_when_another_takes_its_place(self, tmp_path, vectors):
        old, query = index_of(tmp_path / "index", vectors, kind="ivf-pq"), drawn(1, DIM)[0]
        before = found(old, query, 20)
        new = index_of(tmp_path / "index", vectors[:5000], version=2)
        assert (old.about.version, new.about.version) == (1, 2)
        assert found(old, query, 20) == before
        assert (old.vectors == vectors).all()
        assert len(new.ids) == 5000

    def test_another_may_take_its_place_while_it_is_opened(self, tmp_path, monkeypatch):
        from msedge.search.approximate import index as module

        built(tmp_path / "index", clustered(10, 4))
        read, versions = module.read_about, iter((2, 3))

        def overtaken(folder):
            about, files = read(folder)
            for version in versions:
                built(tmp_path / "index", clustered(10, 4), version=version)
                break
            return about, files

        monkeypatch.setattr(module, "read_about", overtaken)
        assert ApproximateIndex.open(tmp_path / "index").about.version == 3


@pytest.fixture(scope="module")
def hubness():
    return np.random.default_rng(3).uniform(-0.1, 0.5, COUNT)


@pytest.fixture(scope="module", params=KINDS)
def with_hubs(request, tmp_path_factory, vectors, hubness):
    folder = tmp_path_factory.mktemp(request.param) / "index"
    return index_of(folder, vectors, kind=request.param, hubness=hubness)


class TestHubs:
    """Hubness is one number more in the structure: it finds the near ones with it and without."""

    @pytest.mark.parametrize("share", [0.0, 0.5])
    @pytest.mark.parametrize("counting", [1.0, 0.5, 0.01])
    def test_the_first_by_score_are_found(self, with_hubs, vectors, hubness, share, counting):
        allowed = np.random.default_rng(1).random(COUNT) < counting
        right, queries = 0, drawn(40, DIM, seed=77)
        for query in queries:
            rows, similarities = with_hubs.nearest(query, 20, allowed=allowed, hub_share=share)
            exact, wanted = nearest(
                unit_vectors(vectors), query, 20, allowed=allowed, handicaps=share * hubness
            )
            right += len(set(rows.tolist()) & set(exact.tolist()))
            assert allowed[rows].all()
            assert (np.diff(similarities - share * hubness[rows]) <= 0).all()
            if rows.tolist() == exact.tolist():
                assert similarities.tolist() == wanted.tolist()
        assert right >= 0.95 * 20 * len(queries)

    def test_it_says_whose_they_are_and_what_was_measured_is_with_them(self, with_hubs, hubness):
        assert with_hubs.about.hubs == "a bank"
        assert with_hubs.about.recall_measured >= 0.95
        assert with_hubs.hubness.tolist() == hubness.tolist()
        assert with_hubs.structure.d == 32  # 30 numbers, hubness, and a zero

    def test_without_its_file_it_is_not_used(self, tmp_path, vectors, hubness):
        built(tmp_path / "index", vectors[:500], hubness=hubness[:500])
        (file,) = (tmp_path / "index").glob("hubness-*")
        whole = file.read_bytes()
        for content in (whole[:-8], whole[:-1] + b"\0" * 9, bytes(len(whole))):
            file.write_bytes(content)
            with pytest.raises(DataError, match="cannot be used"):
                ApproximateIndex.open(tmp_path / "index")
        file.write_bytes(whole)
        assert len(ApproximateIndex.open(tmp_path / "index").ids) == 500
        file.unlink()
        with pytest.raises(DataError, match="cannot be used"):
            ApproximateIndex.open(tmp_path / "index")

    def test_building_another_removes_it(self, tmp_path, vectors, hubness):
        built(tmp_path / "index", vectors[:500], hubness=hubness[:500])
        built(tmp_path / "index", vectors[:500])
        assert not list((tmp_path / "index").glob("hubness-*"))
        assert ApproximateIndex.open(tmp_path / "index").hubness.tolist() == [0.0] * 500
