"""Searching a Lance gallery in each of its ways, beside SQLite's gallery of the same photos."""

from __future__ import annotations

import datetime
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from encoders import ColourEncoder
from galleries import COLOURS, make_gallery, photo
from lance_galleries import MODEL, block, make_lance, vector_of
from msedge.search.filters import Filters
from msedge.search.gallery import Gallery
from msedge.search.gallery_file import GalleryFile
from msedge.search.lance.gallery import LanceGallery
from msedge.search.lance.resident import Resident
from msedge.search.lance.scanned import Scanned

ENCODER = ColourEncoder()
WAYS = ["memory", "reading", "index"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Fifteen photos of five colours, some nearly the same, in folders with odd names."""
    pictures = {
        f"{folder}/{colour}.png": photo(colour, size, mark)
        for folder, size, mark in (
            ("first", (60, 40), 0),
            ("first/below", (40, 60), 0),
            (os.fsdecode(b"caf\xe9"), (50, 50), 6),
        )
        for colour in COLOURS
    }
    return make_gallery(tmp_path_factory.mktemp("sqlite"), pictures)


@pytest.fixture(scope="module")
def dataset(file, tmp_path_factory):
    """The same photos, in three commits, with an index."""
    path = tmp_path_factory.mktemp("lance") / "photos.lance"
    with GalleryFile.open(file) as store, LanceGallery.create(path, store.model) as gallery:
        for some in store.blocks(5):
            gallery.put(some)
        gallery.build_index()
    return path


@pytest.fixture(params=WAYS)
def galleries(request, file, dataset):
    memory = 2**20 if request.param == "memory" else 0
    store = LanceGallery.open(dataset, memory=memory, exact=request.param == "reading")
    with Gallery(store, ENCODER) as ours, Gallery.open(file, model=ENCODER) as theirs:
        yield ours, theirs


def told(hits):
    return [(each.rank, each.similarity, each.photo, each.copies) for each in hits]


class TestSearching:
    @pytest.mark.parametrize("collapse", [True, False])
    @pytest.mark.parametrize("k", [1, 4, 15, 100])
    def test_finds_what_sqlite_finds(self, galleries, k, collapse):
        ours, theirs = galleries
        for drawing, like in ((photo("red"), ()), ((), [3]), (photo("blue"), [4, 5])):
            found = theirs.search(drawing, k=k, like=like, collapse=collapse)
            assert told(ours.search(drawing, k=k, like=like, collapse=collapse)) == told(found)
            assert found

    @pytest.mark.parametrize(
        "wanted",
        [
            {"folder": "first"},
            {"folder": "first/below"},
            {"folder": os.fsdecode(b"caf\xe9")},
            {"folder": "firs"},
            {"after": datetime.date(1970, 1, 4), "before": datetime.date(1970, 1, 12)},
            {"orientation": "portrait"},
            {"orientation": "square", "after": datetime.date(1970, 1, 13)},
            {"orientation": "landscape", "folder": "first", "before": datetime.date(1970, 1, 2)},
        ],
    )
    def test_finds_what_sqlite_finds_among_some(self, galleries, file, wanted):
        ours, theirs = galleries
        if "folder" in wanted:
            wanted = wanted | {"folder": file.parent / "photos" / wanted["folder"]}
        for _ in range(2):  # the second time, what matches is known
            for collapse in (True, False):
                options = {"k": 20, "filters": Filters(**wanted), "collapse": collapse}
                found = theirs.search(photo("red"), **options)
                assert told(ours.search(photo("red"), **options)) == told(found)

    def test_shuns_what_sqlite_shuns(self, galleries):
        ours, theirs = galleries
        for options in ({"unlike": [1]}, {"unlike": [1, 2], "like": [3]}, {"like": [4, 5]}):
            found = theirs.search(photo("red"), k=20, **options)
            assert told(ours.search(photo("red"), k=20, **options)) == told(found)

    def test_finds_photos_like_one_of_a_path(self, galleries, file):
        ours, theirs = galleries
        like = file.parent / "photos/first/red.png"
        assert told(ours.similar(like, k=5)) == told(theirs.similar(like, k=5))
        assert ours.similar(like, k=5)[0].photo.path == like

    def test_gives_the_same_to_threads_at_once(self, galleries):
        ours, _ = galleries
        expected = told(ours.search(photo("green"), k=5))
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(lambda _: told(ours.search(photo("green"), k=5)), range(16))
        assert all(answer == expected for answer in answers)


@pytest.mark.parametrize("memory", [2**20, 0])
class TestAView:
    def test_answers_of_its_own_moment(self, tmp_path, memory):
        make_lance(tmp_path / "a.lance", 1, 2, 3).close()
        with LanceGallery.open(tmp_path / "a.lance", writable=True, memory=memory) as gallery:
            view = gallery.view()
            gallery.put(block(4, 11, ids=[2, 4]))
            gallery.commit([], removing=[1])
            gallery.compact()
            assert {each.id for each in search(view, 2)} == {1, 2, 3}
            assert [each.id for each in view.photos([1, 2, 4])] == [1, 2]
            assert view.photos([2])[0].size == 1002
            np.testing.assert_allclose(view.vector(2), vector_of(2), atol=1e-3)
            assert view.vector(4) is None
            after = gallery.view(view)
            assert {each.id for each in search(after, 4)} == {2, 3, 4}
            np.testing.assert_allclose(after.vector(2), vector_of(4), atol=1e-3)

    def test_is_not_moved_on_by_upkeep(self, tmp_path, memory):
        make_lance(tmp_path / "a.lance", 1, 2).close()
        with LanceGallery.open(tmp_path / "a.lance", writable=True, memory=memory) as gallery:
            for number, upkeep in ((3, gallery.compact), (4, gallery.build_index)):
                gallery.put(block(number))
                view = gallery.view()
                version, ids = view.version, {each.id for each in search(view, 1)}
                upkeep()
                assert view.version == version < gallery.version()
                gallery.put(block(10 + number))
                assert {each.id for each in search(view, 1)} == ids
                assert view.photos([10 + number]) == []
                assert {each.id for each in search(gallery.view(view), 1)} == ids | {10 + number}

    def test_of_an_empty_gallery_finds_nothing(self, tmp_path, memory):
        LanceGallery.create(tmp_path / "a.lance", MODEL).close()
        with LanceGallery.open(tmp_path / "a.lance", memory=memory) as gallery:
            view = gallery.view()
            assert search(view, 1) == []
            assert search(view, 1, Filters(folder=Path("/photos"))) == []
            assert view.vector(1) is None
            assert view.vector(-1) is None
            assert view.photos([1]) == []

    def test_finds_all_where_more_are_asked_for(self, tmp_path, memory):
        make_lance(tmp_path / "a.lance", *range(1, 8)).close()
        with LanceGallery.open(tmp_path / "a.lance", memory=memory) as gallery:
            assert len(search(gallery.view(), 1, k=1000)) == 7


def test_vectors_are_held_in_memory_up_to_what_is_given(tmp_path):
    make_lance(tmp_path / "a.lance", 1, 2, 3).close()
    for photos, way in ((2, Scanned), (3, Resident)):
        memory = photos * MODEL.dim * 4
        with LanceGallery.open(tmp_path / "a.lance", memory=memory) as gallery:
            assert type(gallery.view()._vectors) is way


def search(view, number, filters=None, k=10):
    query = vector_of(number).astype(np.float32)
    return view.search(query, k, filters=filters, without=(), together=True)
