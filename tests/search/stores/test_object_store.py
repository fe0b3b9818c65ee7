"""A gallery in an object store: a real server process that speaks S3."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import lance
import pytest

from made_photos import MODEL, held, make, photo, photos, told
from msedge.errors import DataError
from msedge.search.filters import Filters
from msedge.search.photo import Block, Digest
from msedge.search.stores import check_gallery, copy_gallery, open_store
from msedge.search.stores.lance.store import LanceStore
from msedge.search.stores.reports import Watched
from msedge.search.stores.store import MissingGalleryError
from object_store import BUCKET, object_store
from shard_files import answering


@pytest.fixture(scope="module")
def bucket():
    pytest.importorskip("moto", reason="needs moto[server]")
    with object_store() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield BUCKET


@pytest.fixture
def path(bucket, request):
    return Path(f"s3:/{bucket}/{request.node.name}/photos.lance")


class TestAGalleryInAnObjectStore:
    def test_is_made_changed_searched_and_compacted(self, path):
        store = LanceStore.create(path, MODEL)
        assert store.reserve_ids(10) == 1
        store.put_with_ids(Block([1, 2, 3], [photo(1), photo(2), photo(3)]))
        written = LanceStore.write_apart(path, MODEL.dim, Block([4, 5], [photo(4), photo(5)]))
        store.commit(written, remove=[2])
        store.change(put=[photo(6)], remove=[4])
        store.write_note("a", "b")
        assert held(path) == [
            (n, *told(photo(seed))) for n, seed in ((1, 1), (3, 3), (5, 5), (11, 6))
        ]
        store.build_index(0.95, "auto", Watched())
        assert store.compact(Watched(), kept=timedelta(0)).bytes_after is None
        assert store.size().parts == {"fragments": 1, "versions": 1, "unindexed": 0}
        for memory in (2**20, 0):
            with LanceStore.open(path, memory=memory) as other:
                query = photo(5).vector.astype("f4")
                assert other.view().search(query, 2)[0].id == 5
                below = Filters(folder=Path("/photos/3"))
                assert [hit.id for hit in other.view().search(query, 9, filters=below)] == [3]
                assert other.notes() == {"a": "b"}

    def test_holds_photos_of_object_stores(self, path):
        store, remote = LanceStore.create(path, MODEL), photo(1, "s3:/photos/a.tar/cat.jpg")
        store.change(put=[remote])
        assert store.id_at(remote.path) == 1
        assert store.folders() == [(Path("s3:/photos/a.tar"), 1)]
        below = Filters(folder=Path("s3:/photos"))
        found = store.view().search(remote.vector.astype("f4"), 1, filters=below)
        assert [hit.id for hit in found] == [1]

    def test_gives_ids_once_to_writers_at_once(self, path):
        LanceStore.create(path, MODEL).close()

        def reserve(_):
            with LanceStore.open(path, writable=True) as store:
                return [store.reserve_ids(2) for _ in range(4)]

        with ThreadPoolExecutor(3) as pool:
            given = [first for each in pool.map(reserve, range(3)) for first in each]
        assert sorted(given) == list(range(1, 25, 2))

    def test_is_told_from_none(self, path):
        for missing in (open_store, check_gallery):
            with pytest.raises(
                MissingGalleryError, match=r"no gallery s3://bucket/.*\.lance: make"
            ):
                missing(path)
        LanceStore.create(path, MODEL).close()
        with pytest.raises(DataError, match=r"s3://bucket/.*\.lance is there already"):
            LanceStore.create(path, MODEL)

    def test_is_copied_into_and_out_of(self, path, tmp_path):
        source = make(tmp_path / "a.lance", photos(50))
        copied = copy_gallery(source, path)
        assert copied.photos == 50
        assert held(path) == held(source)
        with pytest.raises(DataError, match="is there already"):
            copy_gallery(source, path)
        assert copy_gallery(path, tmp_path / "b.lance").digest == copied.digest

    @pytest.mark.parametrize("others", [0, 4])
    def test_a_copy_that_is_not_equal_goes_unless_others_have_put_photos(
        self, path, tmp_path, monkeypatch, others
    ):
        source, real = make(tmp_path / "a.lance", photos(5)), Digest.take

        def take(digest, block):
            real(digest, block)
            if digest.count == 5 and taken:
                with LanceStore.open(path, writable=True) as other:
                    for seed in range(others):
                        other.change(put=[photo(100 + seed)])
                monkeypatch.setattr(digest, "_hash", type(digest)()._hash)
            taken.append(block)

        taken = []
        monkeypatch.setattr(Digest, "take", take)
        with pytest.raises(DataError, match="are not the 5 that were copied, and is not kept"):
            copy_gallery(source, path)
        if others:
            assert lance.dataset(f"s3://{path.as_posix()[4:]}").count_rows() == 5 + others
        else:
            with pytest.raises(MissingGalleryError):
                open_store(path)


@pytest.mark.parametrize("use", [LanceStore.open, lambda path: check_gallery(path, repair=True)])
def test_a_store_that_does_not_answer_is_said_to_and_left_as_it_is(monkeypatch, use):
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match="its object store does not answer"):
        use(Path("s3:/nowhere/photos.lance"))


class TestAnAddressOfPlainHttp:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch):
        monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
            monkeypatch.setenv(name, "x")

    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
    def test_is_asked_as_it_stands(self, monkeypatch, name):
        with answering(404) as url:
            monkeypatch.setenv(name, url)
            with pytest.raises(DataError, match="404 Not Found"):
                open_store(Path("s3:/b/photos.lance"))

    def test_is_refused_by_name_where_it_is_forbidden(self, monkeypatch):
        monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        for use in (LanceStore.open, lambda path: LanceStore.create(path, MODEL)):
            with pytest.raises(DataError, match="AWS_ALLOW_HTTP"):
                use(Path("s3:/b/photos.lance"))
