"""A gallery of other weights: refused by indexing, and embedded anew where that is asked for."""

from __future__ import annotations

import shutil
import threading

import pytest

from encoders import ColourEncoder
from indexing_runs import CountingEncoder, Listener, held, id_of, run
from msedge.errors import DataError, WeightsError
from msedge.search.gallery_file import GalleryFile
from photo_files import write_photo


@pytest.fixture
def root(tmp_path):
    return tmp_path / "photos"


@pytest.fixture
def gallery(tmp_path):
    return tmp_path / "photos.msedge"


class TestOtherWeights:
    def test_they_are_refused_and_nothing_changes(self, root, gallery):
        write_photo(root / "a.png", 1)
        run(root, gallery)
        before = gallery.read_bytes()
        write_photo(root / "b.png", 2)
        with pytest.raises(WeightsError, match="--rebuild"):
            run(root, gallery, ColourEncoder("colours-2"))
        assert gallery.read_bytes() == before

    def test_rebuilding_embeds_all_photos_of_the_gallery_anew(self, tmp_path, root, gallery):
        path = write_photo(root / "a.png", 1)
        elsewhere = write_photo(tmp_path / "other" / "b.png", 2)
        gone = write_photo(tmp_path / "other" / "c.png", 3)
        run([root, elsewhere.parent], gallery)
        numbers = [id_of(gallery, p) for p in (path, elsewhere)]
        gone.unlink()
        new = CountingEncoder("colours-2")
        with GalleryFile.open(gallery) as reader:
            summary = run(root, gallery, new, rebuild=True)
            with pytest.raises(WeightsError, match="open it again"):
                reader.count()
        assert (new.count, summary.photos) == (2, 2)
        assert [id_of(gallery, p) for p in (path, elsewhere)] == numbers
        with GalleryFile.open(gallery) as file:
            assert file.model.fingerprint == "colours-2"
        assert sorted(tmp_path.iterdir()) == sorted([root, elsewhere.parent, gallery])

    def test_until_the_end_the_old_gallery_stands_and_the_next_run_goes_on(self, root, gallery):
        for number in range(12):
            write_photo(root / f"{number:02}.png", number)
        run(root, gallery)
        before = held(gallery)
        stop = threading.Event()
        listener = Listener(lambda done: done >= 4 and stop.set())
        new = CountingEncoder("colours-2")
        assert run(root, gallery, new, rebuild=True, watcher=listener, stop=stop).left == 8
        assert held(gallery) == before
        at_stop = 4
        again = CountingEncoder("colours-2")
        assert run(root, gallery, again, rebuild=True).photos == 12
        assert again.count == 12 - at_stop
        third = CountingEncoder("colours-3")
        run(root, gallery, third, rebuild=True)
        assert third.count == 12

    def test_rebuilding_without_the_disk_of_some_photos_is_refused(self, tmp_path, root, gallery):
        write_photo(root / "a.png", 1)
        other = write_photo(tmp_path / "other" / "b.png", 2).parent
        run([root, other], gallery)
        shutil.rmtree(other)
        with pytest.raises(DataError, match="bring its disk back"):
            run(root, gallery, ColourEncoder("colours-2"), rebuild=True)
        assert len(held(gallery)) == 2

    def test_rebuilding_nothing_is_indexing(self, root, gallery):
        write_photo(root / "a.png", 1)
        assert run(root, gallery, rebuild=True).new == 1

    def test_a_file_that_is_no_gallery_is_left_alone(self, root, gallery):
        write_photo(root / "a.png", 1)
        gallery.write_text("a diary")
        for rebuild in (False, True):
            with pytest.raises(DataError, match="is not a gallery"):
                run(root, gallery, rebuild=rebuild)
        assert gallery.read_text() == "a diary"
