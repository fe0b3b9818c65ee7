"""Files of SQLite made small; Lance datasets are in ``test_lance.py``."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from kept_galleries import beside, held, make, photo, photos
from msedge.errors import DataError
from msedge.search.gallery_file import GalleryFile
from msedge.search.index_lock import sole_indexer
from msedge.search.upkeep.checking import check_gallery
from msedge.search.upkeep.compacting import compact_gallery
from msedge.search.upkeep.watching import StoppedError


@pytest.fixture
def gallery(tmp_path):
    path = make(tmp_path / "photos.msedge", photos(3000))
    with GalleryFile.open(path, writable=True) as file:
        file.remove(range(100, 2900))
    return path


def test_the_room_of_what_was_removed_is_given_back(gallery):
    wanted, size = held(gallery), gallery.stat().st_size
    compacted = compact_gallery(gallery)
    assert compacted.bytes_before == size
    assert compacted.bytes_after == gallery.stat().st_size < size / 3
    assert held(gallery) == wanted
    assert check_gallery(gallery) == []
    assert beside(gallery.parent) == {gallery.name}


def test_readers_go_on_and_see_what_they_saw(gallery):
    with GalleryFile.open(gallery) as reader:
        blocks = reader.blocks(50)
        first = next(blocks)
        view, version = reader.view(), reader.version()
        compacted = compact_gallery(gallery)
        assert "others read the old one" in compacted.done[-1]
        rest = [number for block in blocks for number in block.ids]
        assert first.ids + rest == [row[0] for row in held(gallery)]
        assert reader.version() == version
        assert reader.is_current(view)
    with GalleryFile.open(gallery, writable=True):
        pass
    assert gallery.stat().st_size < compacted.bytes_before / 3


def test_ids_that_were_given_are_not_given_again(gallery):
    with GalleryFile.open(gallery, writable=True) as file:
        file.remove(range(2900, 3001))
        compact_gallery(gallery)
        file.put([photo(9000)])
        assert file.photos()[-1].id == 3001


def test_one_writer_at_a_time(gallery):
    with sole_indexer(gallery), pytest.raises(DataError, match="another process"):
        compact_gallery(gallery)


def test_when_it_is_stopped_the_gallery_is_as_it_was(gallery):
    wanted, stop = held(gallery), threading.Event()

    class Watcher:
        def say(self, message):
            pass

        def progress(self, *_):
            stop.set()

    with pytest.raises(StoppedError):
        compact_gallery(gallery, watcher=Watcher(), stop=stop)
    assert held(gallery) == wanted
    assert check_gallery(gallery) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
def test_a_full_disk_is_said_in_a_line_and_the_gallery_stays(tmp_path):
    make(tmp_path / "photos.msedge", photos(4000))
    (tmp_path / "small").mkdir()
    mounted = "mount -t tmpfs -o size=1200k none small && cp photos.msedge small"
    if subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted], cwd=tmp_path, check=False
    ).returncode:
        pytest.skip("no file system can be mounted here")
    gallery = f"{sys.executable} -m msedge gallery"
    command = (
        f"{mounted}; {gallery} compact small/photos.msedge; {gallery} check small/photos.msedge"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert "the disk is full" in line
    assert "as it was" in line
    assert done.stdout == "small/photos.msedge is sound\n"
