from __future__ import annotations

import numpy as np
import pytest

from lance_galleries import DIM, MODEL, block, make_lance, vector_of
from msedge.search.candidates import unit_vectors
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.resident import Resident

QUERY = vector_of(0).astype(np.float32)


@pytest.fixture
def gallery(tmp_path):
    return make_lance(tmp_path / "a.lance", 5, 3, 1)


def held(resident):
    found = resident.nearest(QUERY, 1000, None)
    order = np.argsort(found.ids)
    return found.ids[order].tolist(), found.vectors[order]


def check(resident, numbers):
    ids, vectors = held(resident)
    assert ids == numbers
    expected = unit_vectors(np.array([vector_of(n) for n in numbers]).reshape(-1, DIM))
    np.testing.assert_array_equal(vectors, expected)


class TestWhatIsInMemory:
    def test_is_what_the_gallery_holds(self, gallery):
        check(Resident(gallery.now()), [1, 3, 5])

    def test_follows_every_change(self, gallery):
        resident = Resident(gallery.now())
        for numbers, removing in (([2], []), ([4, 6], [3]), ([], [1, 2]), ([9], [4, 5, 6])):
            fragments = write_fragment(gallery.path, DIM, block(*numbers)) if numbers else []
            gallery.commit(fragments, removing=removing)
            resident = Resident(gallery.now(), resident)
            check(resident, [photo.id for photo in gallery.photos()])
        gallery.put(block(9))
        gallery.compact()
        check(Resident(gallery.now(), resident), [9])

    def test_is_not_read_again_where_nothing_changed(self, gallery):
        before = Resident(gallery.now())
        for file in (gallery.path / "data").iterdir():
            file.rename(gallery.path / file.name)  # whoever reads it now fails
        gallery.commit(write_fragment(gallery.path, DIM, block(7)))
        check(Resident(gallery.now(), before), [1, 3, 5, 7])

    def test_may_be_nothing(self, tmp_path):
        empty = LanceGallery.create(tmp_path / "b.lance", MODEL)
        before = Resident(empty.now())
        check(before, [])
        empty.put(block(1))
        check(Resident(empty.now(), before), [1])
