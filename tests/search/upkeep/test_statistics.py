from __future__ import annotations

import threading

import pytest

from kept_galleries import MODEL, make, photo
from msedge.errors import DataError
from msedge.search.gallery_file import GalleryFile
from msedge.search.thumbnail_cache import ThumbnailCache
from msedge.search.upkeep.statistics import gallery_statistics
from msedge.search.upkeep.watching import StoppedError


@pytest.fixture(params=["msedge", "lance"])
def gallery(tmp_path, request):
    same = photo(1).content_hash
    several = [
        photo(1, "/a/1.jpg", width=30, height=20, taken=500.0),
        photo(2, "/a/2.jpg", width=20, height=30, taken=100.0),
        photo(3, "/a/b/3.jpg", width=20, height=20, taken=900.0, content_hash=same),
        photo(4, "s3://bucket/cats/4.jpg", width=31, height=30, taken=200.0),
    ]  # fmt: skip
    return make(tmp_path / f"photos.{request.param}", several)


def test_what_it_holds(gallery):
    statistics = gallery_statistics(gallery)
    assert (statistics.photos, statistics.model, statistics.bytes_a_vector) == (4, MODEL, 16)
    assert statistics.taken == (100.0, 900.0)
    assert statistics.orientations == {"landscape": 2, "portrait": 1, "square": 1}
    assert statistics.folders == [("/a", 2), ("/a/b", 1), ("s3://bucket/cats", 1)]
    assert (statistics.folder_count, statistics.same_content) == (3, 1)
    assert statistics.approximate is None


def test_the_largest_folders_are_named(tmp_path):
    several = [photo(n, f"/{n % 15:02}/{n}.jpg") for n in range(15 * 3 + 4)]
    statistics = gallery_statistics(make(tmp_path / "photos.msedge", several))
    assert statistics.folder_count == 15
    assert statistics.folders == [(f"/{n:02}", 4 if n < 4 else 3) for n in range(10)]


def test_bytes_are_those_on_disk(tmp_path):
    gallery = make(tmp_path / "photos.msedge", [photo(1)])
    cache = ThumbnailCache.beside(gallery)
    cache.put("x", 320, b"x" * 9000)
    cache.close()
    statistics = gallery_statistics(gallery)
    assert statistics.bytes_on_disk == gallery.stat().st_size
    thumbnails = tmp_path / "photos.msedge.thumbnails"
    assert statistics.bytes_of_caches == {"thumbnails": thumbnails.stat().st_size}


def test_an_empty_gallery(tmp_path):
    statistics = gallery_statistics(make(tmp_path / "photos.msedge", []))
    assert (statistics.photos, statistics.taken, statistics.folders) == (0, None, [])


def test_the_version_is_the_gallerys(tmp_path):
    path = make(tmp_path / "photos.msedge", [photo(1)])
    with GalleryFile.open(path, writable=True) as file:
        file.remove([1])
        assert gallery_statistics(path).version == file.version()


def test_no_gallery(tmp_path):
    for name in ("a.msedge", "a.lance"):
        with pytest.raises(DataError, match="no gallery"):
            gallery_statistics(tmp_path / name)


def test_it_can_be_stopped(gallery):
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        gallery_statistics(gallery, stop=stop)
