"""A gallery in an object store: a real server process that speaks S3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from lance_galleries import DIM, MODEL, block, kept, made_up, vector_of
from msedge.errors import DataError
from msedge.search.filters import Filters
from msedge.search.lance.fragments import write_fragment
from msedge.search.lance.gallery import LanceGallery
from msedge.search.open_store import open_store
from msedge.search.store import Block
from object_store import BUCKET, object_store

pytest.importorskip("moto", reason="needs moto[server]")


@pytest.fixture(scope="module")
def store():
    with object_store() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield BUCKET


@pytest.fixture
def path(store, request):
    return Path(f"s3:/{store}/{request.node.name}/photos.lance")


class TestAGalleryInAnObjectStore:
    def test_is_made_changed_searched_and_compacted(self, path):
        gallery = LanceGallery.create(path, MODEL)
        assert gallery.reserve_ids(10) == 1
        gallery.put(block(1, 2, 3))
        gallery.commit(write_fragment(path, DIM, block(4, 5)), removing=[2])
        gallery.commit(write_fragment(path, DIM, block(6)), removing=[4])
        with LanceGallery.open(path) as other:
            assert other.photos() == [kept(made_up(n), n) for n in (1, 3, 5, 6)]
        gallery.build_index()
        assert gallery.compact(kept=timedelta(0)).fragments_after == 1
        for memory in (2**20, 0):
            with LanceGallery.open(path, memory=memory) as other:
                found = other.view().search(
                    vector_of(5).astype("f4"), 2, filters=None, without=(), together=True
                )
                assert found[0].id == 5
                below = Filters(folder=Path("/photos/0"))
                found = other.view().search(
                    vector_of(5).astype("f4"), 9, filters=below, without=(), together=True
                )
                assert {each.id for each in found} == {3, 6}

    def test_holds_photos_of_object_stores(self, path):
        gallery = LanceGallery.create(path, MODEL)
        photo = made_up(1, "s3:/photos/a.tar/cat.jpg")
        gallery.put(Block([1], [photo]))
        assert gallery.id_at(photo.path) == 1
        assert gallery.folders() == [(Path("s3:/photos/a.tar"), 1)]
        below = Filters(folder=Path("s3:/photos"))
        found = gallery.view().search(
            photo.vector.astype("f4"), 1, filters=below, without=(), together=True
        )
        assert [each.id for each in found] == [1]

    def test_gives_ids_once_to_writers_at_once(self, path):
        LanceGallery.create(path, MODEL).close()

        def reserve(_):
            with LanceGallery.open(path, writable=True) as gallery:
                return [gallery.reserve_ids(2) for _ in range(4)]

        with ThreadPoolExecutor(3) as pool:
            given = [first for each in pool.map(reserve, range(3)) for first in each]
        assert sorted(given) == list(range(1, 25, 2))

    def test_is_told_from_none(self, path):
        with pytest.raises(DataError, match=r"no gallery s3://bucket/.*photos\.lance: make it"):
            open_store(path)
        LanceGallery.create(path, MODEL).close()
        with pytest.raises(DataError, match="is there already"):
            LanceGallery.create(path, MODEL)


def test_a_store_that_does_not_answer_is_said_to(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(DataError, match="its object store does not answer"):
        LanceGallery.open(Path("s3:/nowhere/photos.lance"))
