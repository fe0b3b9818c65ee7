from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from encoders import ColourEncoder
from msedge.errors import DataError, WeightsError
from msedge.search.gallery_file import GalleryFile, Model
from photo_files import SECOND, new_photo

MODEL = Model("colours", "colours-1", 4)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photos.msedge"


@pytest.fixture
def gallery(path):
    with GalleryFile.create(path, MODEL) as file:
        yield file


class TestCreating:
    def test_a_new_gallery_is_empty_and_says_what_made_it(self, gallery, path):
        assert (gallery.count(), gallery.version(), gallery.photos()) == (0, 0, [])
        ids, vectors = gallery.vectors()
        assert (ids.shape, vectors.shape, vectors.dtype) == ((0,), (0, 4), np.float16)
        assert (gallery.model, gallery.path, gallery.folders()) == (MODEL, path, [])

    def test_nothing_lies_beside_a_closed_gallery(self, path):
        with GalleryFile.create(path, MODEL) as file:
            file.put([new_photo("/a.jpg")])
        with GalleryFile.open(path) as file:
            assert file.count() == 1
        assert list(path.parent.iterdir()) == [path]

    def test_what_is_there_is_not_overwritten(self, path):
        path.write_text("a diary")
        with pytest.raises(DataError, match="is there already"):
            GalleryFile.create(path, MODEL)
        assert path.read_text() == "a diary"

    def test_what_a_kill_left_of_an_earlier_try_goes(self, path):
        for suffix in ("-new", "-new-wal", "-new-shm"):
            path.with_name(path.name + suffix).write_bytes(b"half of it")
        with GalleryFile.create(path, MODEL) as file:
            assert file.count() == 0
        assert list(path.parent.iterdir()) == [path]

    def test_a_place_that_cannot_be_written_to(self, path):
        path.write_text("no folder")
        with pytest.raises(DataError, match="choose a folder that can be written to"):
            GalleryFile.create(path / "g.msedge", MODEL)

    def test_its_folder_is_made(self, tmp_path):
        with GalleryFile.create(tmp_path / "a" / "b" / "g.msedge", MODEL) as file:
            assert file.count() == 0

    def test_odd_names(self, tmp_path):
        path = tmp_path / os.fsdecode(b"100%?#\xff.msedge")
        with GalleryFile.create(path, MODEL) as file:
            file.put([new_photo("/a.jpg")])
        with GalleryFile.open(path) as file:
            assert file.count() == 1


class TestPhotos:
    def test_photos_come_back(self, gallery):
        new = [new_photo(os.fsdecode(b"/x/\xff\n.jpg"), 1), new_photo("/y/b.jpg", 2)]
        gallery.put(new)
        photos = gallery.photos()
        assert [photo.id for photo in photos] == [1, 2]
        for given_, found in zip(new, photos, strict=True):
            for name in ("path", "size", "mtime_ns", "content_hash", "width", "height", "taken"):
                assert getattr(given_, name) == getattr(found, name)
        ids, vectors = gallery.vectors()
        assert ids.tolist() == [1, 2]
        np.testing.assert_array_equal(vectors, [photo.vector for photo in new])

    def test_photos_come_in_the_order_asked_and_unknown_ones_do_not(self, gallery):
        gallery.put([new_photo(f"/{number}.jpg", number) for number in range(1, 1201)])
        wanted = [1200, 5, 99_999, 5, *range(600, 0, -1)]
        assert [p.id for p in gallery.photos(wanted)] == [n for n in wanted if n != 99_999]
        assert gallery.photos([]) == []

    def test_the_same_path_replaces_and_keeps_its_id(self, gallery):
        gallery.put([new_photo("/a.jpg", 1), new_photo("/b.jpg", 2)])
        gallery.put([new_photo("/a.jpg", 3)])
        assert [(p.id, p.size) for p in gallery.photos()] == [(1, 13), (2, 12)]
        np.testing.assert_array_equal(gallery.vectors()[1][0], new_photo("/a.jpg", 3).vector)

    def test_ids_of_removed_photos_are_not_given_again(self, gallery):
        gallery.put([new_photo("/a.jpg", 1), new_photo("/b.jpg", 2)])
        gallery.remove([2, 77])
        gallery.put([new_photo("/c.jpg", 3)])
        assert [(p.id, p.path.name) for p in gallery.photos()] == [(1, "a.jpg"), (3, "c.jpg")]

    def test_a_moved_photo_keeps_id_and_vector_and_replaces_what_was_there(self, gallery):
        gallery.put([new_photo("/a.jpg", 1), new_photo("/b.jpg", 2)])
        gallery.move(1, Path("/b.jpg"), 5 * SECOND)
        (photo,) = gallery.photos()
        assert (photo.id, photo.path, photo.mtime_ns) == (1, Path("/b.jpg"), 5 * SECOND)
        np.testing.assert_array_equal(gallery.vectors()[1][0], new_photo("/a.jpg", 1).vector)

    @pytest.mark.parametrize("mtime_ns", [5, 1_600_000_000_123_456_789])
    def test_a_date_of_the_file_moves_with_it_and_a_date_of_its_own_does_not(
        self, gallery, mtime_ns
    ):
        mine = 1_599_999_999_987_654_321
        gallery.put(
            [
                new_photo("/a.jpg", 1, mtime_ns=mine, taken=mine / 1e9),
                new_photo("/b.jpg", 2, mtime_ns=mine, taken=7.0),
            ]
        )
        gallery.move(1, Path("/a.jpg"), mtime_ns)
        gallery.move(2, Path("/c.jpg"), mtime_ns)
        assert [photo.taken for photo in gallery.photos()] == [mtime_ns / 1e9, 7.0]

    def test_folders_count_what_lies_directly_in_them(self, gallery):
        gallery.put([new_photo(f"/x/{n}", seed) for seed, n in enumerate(("1", "2", "y/3"))])
        assert gallery.folders() == [(Path("/x"), 2), (Path("/x/y"), 1)]

    def test_a_photo_by_its_content(self, gallery):
        gallery.put([new_photo("/a.jpg", 1), new_photo("/b.jpg", 1)])
        assert gallery.with_content(new_photo("/", 1).content_hash).path == Path("/a.jpg")
        assert gallery.with_content("0") is None

    @pytest.mark.parametrize("number", [-(2**63), -1, 0, 2**63 - 1, 2**63, 2**70])
    def test_any_number_may_be_asked_for(self, gallery, number):
        gallery.put([new_photo("/a.jpg")])
        assert [photo.id for photo in gallery.photos([number, 1])] == [1]


class TestCommits:
    def test_the_version_rises_with_each_commit_for_everyone(self, gallery, path):
        with GalleryFile.open(path) as other:
            seen = [other.version()]
            gallery.put([new_photo("/a.jpg")])
            seen.append(other.version())
            gallery.move(1, Path("/b.jpg"), 1)
            seen.append(other.version())
            gallery.remove([1])
            seen.append(other.version())
        assert seen == sorted(set(seen))

    def test_a_transaction_is_one_commit(self, gallery, path):
        before = gallery.version()
        with GalleryFile.open(path) as other:
            with gallery.transaction():
                gallery.put([new_photo("/a.jpg")])
                gallery.put([new_photo("/b.jpg", 1)])
                assert other.count() == 0
            assert (other.count(), other.version()) == (2, before + 1)

    def test_after_an_error_nothing_has_happened(self, gallery):
        gallery.put([new_photo("/a.jpg")])
        before = gallery.version()

        def fail():
            with gallery.transaction():
                gallery.remove([1])
                gallery.put([new_photo("relative.jpg")])

        with pytest.raises(DataError, match="absolute"):
            fail()
        assert (gallery.count(), gallery.version()) == (1, before)
        gallery.remove([1])
        assert gallery.count() == 0

    @pytest.mark.usefixtures("gallery")
    def test_a_reader_does_not_write(self, path):
        with GalleryFile.open(path) as reader, pytest.raises(DataError, match="for reading alone"):
            reader.remove([1])

    def test_two_writers_take_turns(self, gallery, path):
        with GalleryFile.open(path, writable=True) as other:
            gallery.put([new_photo("/a.jpg")])
            other.put([new_photo("/b.jpg", 1)])
        assert gallery.count() == 2

    def test_a_closed_gallery_says_so(self, path):
        with GalleryFile.create(path, MODEL) as file:
            pass
        with pytest.raises(DataError, match="has been closed"):
            file.count()

    def test_a_killed_writer_loses_what_was_not_committed_alone(self, path):
        program = (
            "import os, sys; from pathlib import Path\n"
            "sys.path.insert(0, sys.argv[2])\n"
            "from photo_files import new_photo\n"
            "from msedge.search.gallery_file import GalleryFile, Model\n"
            "file = GalleryFile.create(Path(sys.argv[1]), Model('m', 'f', 4))\n"
            "file.put([new_photo('/a.jpg')])\n"
            "with file.transaction():\n"
            "    file.put([new_photo('/b.jpg', 1)])\n"
            "    os.kill(os.getpid(), 9)\n"
        )
        here = str(Path(__file__).parent.parent)
        done = subprocess.run([sys.executable, "-c", program, str(path), here], timeout=60)
        assert done.returncode == -9
        with GalleryFile.open(path) as file:
            assert [photo.path.name for photo in file.photos()] == ["a.jpg"]


class TestThreads:
    def test_many_threads_read_while_one_writes(self, gallery, path):
        gallery.put([new_photo(f"/{number}.jpg", number) for number in range(100)])
        wrong, going = [], threading.Event()

        def read(reader):
            while not going.is_set():
                ids, vectors = reader.vectors()
                photos = reader.photos(ids.tolist())
                # every commit adds ten photos or none
                if len(ids) != len(vectors) or len(ids) % 10 or len(photos) < len(ids):
                    wrong.append((len(ids), len(photos)))

        with GalleryFile.open(path) as reader:
            threads = [threading.Thread(target=read, args=(reader,)) for _ in range(6)]
            for thread in threads:
                thread.start()
            for start in range(100, 300, 10):
                gallery.put([new_photo(f"/{n}.jpg", n) for n in range(start, start + 10)])
            going.set()
            for thread in threads:
                thread.join()
            assert wrong == []
            assert reader.count() == 300


class TestModels:
    def test_an_encoder_of_other_weights_is_refused_with_the_ways_out(self, path):
        model = Model("colours", "colours-1", 32)
        with GalleryFile.create(path, model) as gallery:
            gallery.check_model(ColourEncoder())
            with pytest.raises(WeightsError) as caught:
                gallery.check_model(ColourEncoder("colours-2"))
        for way_out in ("--gallery OTHER", "--rebuild", "--model"):
            assert way_out in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1

    def test_taking_over_is_one_commit_and_keeps_ids(self, gallery, path, tmp_path):
        gallery.put([new_photo("/a.jpg", 1), new_photo("/b.jpg", 2), new_photo("/c.jpg", 3)])
        before = gallery.version()
        other = tmp_path / "other.msedge"
        with GalleryFile.create(other, Model("new", "new-1", 6)) as new:
            new.put([new_photo("/d.jpg", 4, dim=6), new_photo("/b.jpg", 5, dim=6)])
        with GalleryFile.open(path) as reader:
            gallery.take_over(other)
            with pytest.raises(WeightsError, match="open it again"):
                reader.vectors()
            with pytest.raises(WeightsError, match="open it again"):
                reader.version()
        assert [(p.id, p.path.name) for p in gallery.photos()] == [(2, "b.jpg"), (4, "d.jpg")]
        assert gallery.version() == before + 1
        with GalleryFile.open(path) as again:
            assert again.model == Model("new", "new-1", 6)
            np.testing.assert_array_equal(
                again.vectors()[1],
                [new_photo("/", 5, dim=6).vector, new_photo("/", 4, dim=6).vector],
            )
