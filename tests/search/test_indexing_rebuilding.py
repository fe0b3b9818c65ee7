"""A gallery of other weights: refused by indexing, and embedded anew where that is asked for."""

from __future__ import annotations

import os
import shutil
import threading

import pytest

from encoders import ColourEncoder
from indexing_runs import CountingEncoder, Listener, held, id_of, run
from msedge.errors import ConfigError, DataError, WeightsError
from msedge.search import indexing as indexing
from msedge.search.stores import open_store
from photo_files import write_photo
from shard_files import photo_bytes, write_tar


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
        with open_store(gallery) as reader:
            summary = run(root, gallery, new, rebuild=True)
            with pytest.raises(WeightsError, match="open it again"):
                reader.count()
        assert (new.count, summary.photos) == (2, 2)
        assert [id_of(gallery, p) for p in (path, elsewhere)] == numbers
        with open_store(gallery) as store:
            assert store.model.fingerprint == "colours-2"
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

    def test_photos_in_shards_come_along_and_are_found_whole_afterwards(
        self, tmp_path, root, gallery, monkeypatch
    ):
        write_photo(root / "a.png", 1)
        here = write_tar(root / "s.tar", {"b.png": photo_bytes(2)})
        far = write_tar(tmp_path / "far.tar", {"c.png": photo_bytes(3), ".d.png": photo_bytes(4)})
        run([root, far], gallery)
        numbers = [id_of(gallery, p) for p in (here / "b.png", far / "c.png")]
        new = CountingEncoder("colours-2")
        assert run(root, gallery, new, rebuild=True).photos == new.count == 3
        assert [id_of(gallery, p) for p in (here / "b.png", far / "c.png")] == numbers
        monkeypatch.setattr(indexing, "list_shard", None)  # none is opened
        assert run([root, far], gallery, new).unchanged == new.count == 3

    def test_what_cannot_be_read_is_told(self, root, gallery):
        write_photo(root / "a.png", 1)
        run(root, gallery)
        os.mkfifo(root / "pipe.png")
        (skipped,) = run(root, gallery, ColourEncoder("colours-2"), rebuild=True).skipped
        assert skipped.path == root / "pipe.png"

    def test_a_source_that_is_suddenly_empty_is_not_believed(self, root, gallery):
        write_photo(root / "a.png", 1)
        run(root, gallery)
        (root / "a.png").unlink()
        new = ColourEncoder("colours-2")
        with pytest.raises(DataError, match="is its disk missing"):
            run(root, gallery, new, rebuild=True)
        assert run(root, gallery, new, rebuild=True, allow_empty=True).photos == 0

    def test_a_lance_dataset_is_refused_before_anything_is_embedded(self, root, gallery):
        write_photo(root / "a.png", 1)
        gallery, new = gallery.with_suffix(".lance"), CountingEncoder("colours-2")
        run(root, gallery)
        with pytest.raises(WeightsError, match="--rebuild"):
            run(root, gallery, new)
        with pytest.raises(ConfigError, match="--rebuild is not for a Lance dataset"):
            run(root, gallery, new, rebuild=True)
        assert (new.count, len(held(gallery))) == (0, 1)
        assert set(gallery.parent.iterdir()) == {gallery, root}

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
