from __future__ import annotations

from pathlib import Path

import pytest

from galleries import make_gallery, photo
from msedge.errors import ConfigError, DataError
from msedge.search.gallery_file import GalleryFile
from msedge.search.open_store import open_store


def test_a_file(tmp_path):
    path = make_gallery(tmp_path, {"a.png": photo("red")})
    with open_store(path) as store:
        assert isinstance(store, GalleryFile)
        assert store.count() == 1


def test_a_lance_dataset_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"no gallery .*photos\.lance"):
        open_store(tmp_path / "photos.lance")


def test_a_file_cannot_lie_in_an_object_store():
    with pytest.raises(ConfigError, match=r"s3://bucket/photos\.msedge: .*ends in \.lance"):
        open_store(Path("s3://bucket/photos.msedge"))
