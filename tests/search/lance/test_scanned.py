from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lance_galleries import MODEL, made_up, vector_of
from msedge.search.candidates import unit_vectors
from msedge.search.filters import Filters
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.scanned import Scanned
from msedge.search.lance.vector_index import read_tuning
from msedge.search.ranking import nearest
from msedge.search.store import Block

PHOTOS, AFTER, RARE = 6000, 300, 40


@pytest.fixture(scope="module")
def moment(tmp_path_factory):
    """Three partitions of an index, and photos that it does not know; some are rare."""
    gallery = LanceGallery.create(tmp_path_factory.mktemp("a") / "a.lance", MODEL)
    put(gallery, range(1, PHOTOS + 1))
    gallery.build_index(recall=0.1)
    put(gallery, range(PHOTOS + 1, PHOTOS + AFTER + 1))
    gallery.commit([], removing=range(100, 200))
    return gallery.now()


def put(gallery, numbers):
    photos = [made_up(n, f"/{'rare' if n % 150 == 0 else 'often'}/{n}.jpg") for n in numbers]
    gallery.put(Block(list(numbers), photos))


@cache
def vectors():
    return unit_vectors(np.array([vector_of(n) for n in range(PHOTOS + AFTER + 1)]))


def truth(numbers, query, k):
    rows, similarities = nearest(vectors()[numbers], query, k)
    return [numbers[row] for row in rows], similarities


EVERY = [n for n in range(1, PHOTOS + AFTER + 1) if not 100 <= n < 200]
QUERIES = [unit_vectors(vector_of(-n + 10**6)[None])[0] for n in range(5)]


class TestReadingEveryVector:
    def test_ranks_exactly(self, moment):
        for query in QUERIES:
            for k in (1, 20, 700):
                found = Scanned(moment, None).nearest(query, k, None)
                ids, similarities = truth(EVERY, query, k)
                assert found.ids.tolist() == ids
                np.testing.assert_array_equal(found.similarities, similarities)


class TestTheIndex:
    def test_finds_photos_that_came_after_it(self, moment):
        new = PHOTOS + 7
        (query,) = unit_vectors(vector_of(new)[None])
        assert Scanned(moment, read_tuning(moment)).nearest(query, 1, None).ids.tolist() == [new]

    def test_finds_no_photos_that_have_gone(self, moment):
        (query,) = unit_vectors(vector_of(150)[None])
        assert 150 not in Scanned(moment, read_tuning(moment)).nearest(query, 50, None).ids

    def test_does_not_look_through_everything(self, moment):
        tuning = read_tuning(moment)
        assert (tuning.partitions, tuning.probes) == (2, 1)

    @pytest.mark.parametrize("k", [1, 10, RARE, 100])
    def test_finds_as_many_rare_photos_as_there_are(self, moment, k):
        rare = [n for n in EVERY if n % 150 == 0]
        scanned = Scanned(moment, read_tuning(moment))
        for query in QUERIES:
            found = scanned.nearest(query, k, Filters(folder=Path("/rare")))
            assert found.ids.tolist() == truth(rare, query, k)[0]

    def test_gives_everything_where_that_is_asked_for(self, moment):
        found = Scanned(moment, read_tuning(moment)).nearest(QUERIES[0], 10**5, None)
        assert sorted(found.ids.tolist()) == EVERY
