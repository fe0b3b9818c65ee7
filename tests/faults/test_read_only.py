"""Galleries, photos and results folders that may be read and not written, or not even read."""

from __future__ import annotations

import json
import os
import sys

import pytest

from encoders import ColourEncoder
from galleries import make_gallery, photo
from indexing_runs import counts, held, run
from made_photos import compact, statistics
from msedge.errors import DataError
from msedge.search.gallery import Gallery
from msedge.search.stores import check_gallery, copy_gallery, open_store
from msedge.search.thumbnails import ThumbnailCache
from msedge.training.trainer import train
from photo_files import write_photo

NOBODY = 65534
PICTURES = {f"{number}.png": photo("red", mark=number) for number in range(6)}


def refusal(work) -> str:
    with pytest.raises(DataError) as caught:
        work()
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


@pytest.fixture
def locked_disk(disk):
    """A gallery of six photos on a disk that is read-only now."""
    make_gallery(disk.root, PICTURES)
    disk.read_only()
    yield disk.root / "photos.msedge"
    disk.writable()


class TestAReadOnlyDisk:
    def test_searching_works(self, locked_disk, tmp_path):
        drawing = tmp_path / "drawing.png"
        photo("red").save(drawing)
        with Gallery.open(locked_disk, model=ColourEncoder()) as gallery:
            assert len(gallery.search(drawing, k=6, collapse=False)) == 6
            assert gallery.refresh() is False

    def test_so_do_counting_checking_and_copying_from_it(self, locked_disk, tmp_path):
        assert statistics(locked_disk).photos == 6
        assert not [found for found in check_gallery(locked_disk) if found.is_left]
        assert copy_gallery(locked_disk, tmp_path / "copy.msedge").photos == 6
        assert held(tmp_path / "copy.msedge") == held(locked_disk)

    def test_thumbnails_are_made_and_not_kept(self, locked_disk):
        cache = ThumbnailCache.beside(locked_disk)
        cache.put("hash", 100, b"jpeg")
        assert cache.get("hash", 100) is None
        cache.close()

    @pytest.mark.parametrize("work", [compact, lambda g: run(g.parent, g)])
    def test_what_writes_says_so(self, locked_disk, work):
        before = locked_disk.read_bytes()
        line = refusal(lambda: work(locked_disk))
        assert "Read-only file system" in line or "check its permissions" in line
        assert locked_disk.read_bytes() == before

    def test_a_new_gallery_says_so(self, locked_disk, tmp_path):
        write_photo(tmp_path / "photos" / "1.png")
        line = refusal(lambda: run(tmp_path / "photos", locked_disk.with_name("new.msedge")))
        assert "Read-only file system" in line

    def test_photos_on_one_are_indexed_into_a_gallery_elsewhere(self, locked_disk, tmp_path):
        summary = run(locked_disk.parent / "photos", tmp_path / "g.msedge")
        assert counts(summary) == (6, 0, 0, 0, 0)

    def test_training_says_so_before_the_work(self, locked_disk, tiny_config, listener):
        config = tiny_config(save_root=locked_disk.parent / "runs")
        line = refusal(lambda: train(config, listener))
        assert "Read-only file system" in line
        assert not listener.rows


def as_nobody(work):
    """What some work comes to, or its error, for a user who owns nothing: in a child process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answered:
        answer = json.load(answered)
    os.waitpid(child, 0)
    return answer


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="becomes another user")
class TestAUserWithoutPermission:
    @pytest.fixture
    def index(self, disk, tmp_path):
        """Index ``photos`` into ``own/g.msedge`` on a disk that everybody reaches, as nobody."""
        for folder in (tmp_path, *list(tmp_path.parents)[:2]):
            folder.chmod(0o755)
        for number in range(6):
            write_photo(disk.root / "photos" / f"{number % 2}" / f"{number}.png", number)
        (disk.root / "own").mkdir(mode=0o777)
        (disk.root / "own").chmod(0o777)

        def run_it(gallery="own/g.msedge"):
            return as_nobody(lambda: run(disk.root / "photos", disk.root / gallery).as_dict())

        return run_it

    def test_a_folder_without_permission_is_told_and_keeps_its_photos(self, disk, index):
        gallery = disk.root / "own" / "g.msedge"
        assert index()["new"] == 6
        before = held(gallery)
        (disk.root / "photos" / "1").chmod(0)
        found = index()
        assert (found["new"], found["removed"], found["unchanged"]) == (0, 0, 3)
        (skipped,) = found["skipped"]
        assert skipped["reason"] == "permission denied"
        assert held(gallery) == before
        (disk.root / "photos" / "1").chmod(0o755)
        assert index()["unchanged"] == 6

    def test_a_photo_without_permission_is_told_and_stays(self, disk, index):
        gallery = disk.root / "own" / "g.msedge"
        index()
        before = held(gallery)
        path = disk.root / "photos" / "1" / "3.png"
        write_photo(path, 33, second=5_000)
        path.chmod(0)
        found = index()
        assert (found["removed"], len(found["skipped"])) == (0, 1)
        assert held(gallery) == before

    def test_the_folder_of_photos_itself(self, disk, index):
        index()
        (disk.root / "photos").chmod(0)
        line = index()
        assert "ermission denied" in line
        assert "nothing was changed" in line
        assert len(held(disk.root / "own" / "g.msedge")) == 6

    def test_a_gallery_of_another_user_is_searched_and_not_written(self, disk, index):
        gallery = disk.root / "g.msedge"
        run(disk.root / "photos", gallery)
        gallery.chmod(0o644)
        disk.root.chmod(0o755)
        before = gallery.read_bytes()
        line = index("g.msedge")
        assert "ermission denied" in line or "may not be written" in line
        assert as_nobody(lambda: len(held(gallery))) == 6
        assert gallery.read_bytes() == before
        with open_store(gallery) as file:
            assert file.count() == 6
