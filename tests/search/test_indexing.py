from __future__ import annotations

import os
import shutil
import threading

import numpy as np
import pytest

from encoders import ColourEncoder
from indexing_runs import CountingEncoder, Listener, counts, held, id_of, run
from msedge.errors import ConfigError, DataError
from msedge.search import index_run
from msedge.search.gallery_file import GalleryFile
from msedge.search.indexing import index
from photo_files import touch, write_photo


@pytest.fixture
def root(tmp_path):
    return tmp_path / "photos"


@pytest.fixture
def gallery(tmp_path):
    return tmp_path / "photos.msedge"


class TestFromNothing:
    def test_photos_are_held_with_all_that_is_known_of_them(self, root, gallery):
        path = write_photo(
            root / "a.jpg", 1, second=50, size=(40, 30), date="2020:01:31 10:00:00", orientation=6
        )
        write_photo(root / "b" / "c.png", 2, second=77)
        summary = run(root, gallery)
        assert counts(summary) == (2, 0, 0, 0, 0)
        assert (summary.photos, summary.embedded, summary.skipped) == (2, 2, [])
        with GalleryFile.open(gallery) as file:
            first, second = file.photos()
            assert np.linalg.norm(file.vectors()[1].astype(float), axis=1) == pytest.approx(
                1, abs=1e-3
            )
        assert (first.path, first.size) == (path, path.stat().st_size)
        assert (first.width, first.height) == (30, 40)
        assert (first.taken, first.mtime_ns) == (1_580_464_800.0, 50 * 10**9)
        assert second.taken == 77.0

    def test_a_folder_without_photos_makes_an_empty_gallery(self, root, gallery):
        root.mkdir()
        assert run(root, gallery).photos == 0
        assert held(gallery) == {}

    def test_names_that_are_not_utf_8(self, root, gallery):
        path = write_photo(root / os.fsdecode(b"\xff\xfe\n.jpg"), 1)
        assert run(root, gallery).new == 1
        assert list(held(gallery)) == [os.fsencode(path)]
        assert run(root, gallery).unchanged == 1

    def test_nothing_lies_beside_the_gallery_afterwards(self, root, gallery):
        write_photo(root / "a.jpg")
        run(root, gallery)
        assert sorted(gallery.parent.iterdir()) == [root, gallery]

    def test_progress_and_commits_are_told(self, root, gallery, monkeypatch):
        monkeypatch.setattr(index_run, "_PHOTOS_A_COMMIT", 8)
        for number in range(20):
            write_photo(root / f"{number}.png", number)
        listener = Listener()
        run(root, gallery, watcher=listener)
        assert listener.moves == [(done, 20) for done in range(0, 21, 4)]
        assert listener.commits == [8, 16, 20]

    @pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": 0}])
    def test_numbers_that_cannot_be(self, root, gallery, options):
        with pytest.raises(ConfigError, match="at least 1"):
            index([root], gallery, ColourEncoder(), **options)

    def test_no_folder_at_all(self, gallery):
        with pytest.raises(ConfigError, match="name at least one"):
            index([], gallery, ColourEncoder())


class TestAgain:
    def test_what_is_as_it_was_is_not_read(self, root, gallery):
        path = write_photo(root / "a.jpg", 1)
        run(root, gallery)
        size = path.stat().st_size
        path.write_bytes(bytes(size))  # another content that only a reader would notice
        touch(path, 1_000)
        encoder = CountingEncoder()
        assert counts(run(root, gallery, encoder)) == (0, 0, 0, 0, 1)
        assert encoder.count == 0

    def test_a_changed_photo_is_embedded_anew_and_keeps_its_id(self, root, gallery):
        path = write_photo(root / "a.png", 1)
        write_photo(root / "b.png", 2)
        run(root, gallery)
        before, number = held(gallery), id_of(gallery, path)
        write_photo(path, 3, second=2_000)
        assert counts(run(root, gallery)) == (0, 1, 0, 0, 1)
        assert held(gallery)[os.fsencode(path)] != before[os.fsencode(path)]
        assert id_of(gallery, path) == number

    def test_a_touched_photo_is_dated_anew_and_not_embedded(self, root, gallery):
        path = write_photo(root / "a.png", 1, second=1_000)
        run(root, gallery)
        touch(path, 2_000)
        encoder = CountingEncoder()
        assert counts(run(root, gallery, encoder)) == (0, 0, 0, 0, 1)
        assert encoder.count == 0
        assert held(gallery)[os.fsencode(path)][5] == 2_000.0

    def test_a_moved_photo_keeps_id_and_vector(self, root, gallery):
        path = write_photo(root / "a.png", 1)
        run(root, gallery)
        number = id_of(gallery, path)
        (root / "x").mkdir()
        moved = path.rename(root / "x" / "b.png")
        encoder = CountingEncoder()
        assert counts(run(root, gallery, encoder)) == (0, 0, 1, 0, 0)
        assert (encoder.count, id_of(gallery, moved)) == (0, number)

    def test_a_copy_has_the_vector_of_its_original(self, root, gallery):
        path = write_photo(root / "a.png", 1)
        run(root, gallery)
        shutil.copy(path, root / "b.png")
        encoder = CountingEncoder()
        summary = run(root, gallery, encoder)
        assert (counts(summary), summary.embedded, encoder.count) == ((1, 0, 0, 0, 1), 0, 0)
        a, b = held(gallery).values()
        assert a[-1] == b[-1]

    def test_two_copies_at_once_are_embedded_once(self, root, gallery):
        for number in range(9):
            write_photo(root / f"{number}.png", 5)
        encoder = CountingEncoder()
        summary = run(root, gallery, encoder)
        assert (summary.new, summary.embedded, encoder.count) == (9, 1, 1)

    def test_two_photos_that_exchange_their_names(self, root, gallery):
        a = write_photo(root / "a.png", 1, second=1)
        b = write_photo(root / "b.png", 2, second=2)
        run(root, gallery)
        before = held(gallery)
        a.rename(root / "c")
        b.rename(a)
        (root / "c").rename(b)
        encoder = CountingEncoder()
        assert counts(run(root, gallery, encoder)) == (0, 2, 0, 0, 0)
        after = held(gallery)
        assert encoder.count == 0
        assert [after[os.fsencode(p)][-1] for p in (a, b)] == [
            before[os.fsencode(p)][-1] for p in (b, a)
        ]

    def test_content_whose_only_photo_changed_meanwhile_is_embedded(
        self, root, gallery, monkeypatch
    ):
        monkeypatch.setattr(index_run, "_PHOTOS_A_COMMIT", 1)
        for number in range(4):
            write_photo(root / f"a{number}.png", number)
        run(root, gallery)
        for number in range(4):  # "a" is committed before "z" is looked at
            write_photo(root / f"z{number}.png", number)
            write_photo(root / f"a{number}.png", 10 + number, second=2_000)
        assert counts(run(root, gallery)) == (4, 4, 0, 0, 0)
        again = gallery.with_name("again.msedge")
        run(root, again)
        assert held(gallery) == held(again)

    def test_a_removed_photo_goes(self, root, gallery):
        write_photo(root / "a.png", 1).unlink()
        write_photo(root / "b.png", 2)
        write_photo(root / "c.png", 3)
        run(root, gallery)
        (root / "c.png").unlink()
        assert counts(run(root, gallery)) == (0, 0, 0, 1, 1)
        assert list(held(gallery)) == [os.fsencode(root / "b.png")]

    def test_photos_of_other_folders_stay(self, tmp_path, gallery):
        one, two = tmp_path / "one", tmp_path / "two"
        a, b = write_photo(one / "a.png", 1), write_photo(two / "b.png", 2)
        run(one, gallery)
        assert counts(run(two, gallery)) == (1, 0, 0, 0, 0)
        shutil.rmtree(one)
        assert run(two, gallery).photos == 2
        assert set(held(gallery)) == {os.fsencode(a), os.fsencode(b)}

    def test_what_is_excluded_now_goes(self, root, gallery):
        write_photo(root / "a.png", 1)
        write_photo(root / "raw" / "b.png", 2)
        run(root, gallery)
        assert counts(run(root, gallery, exclude=["raw"])) == (0, 0, 0, 1, 1)

    def test_a_photo_that_moves_onto_another(self, root, gallery):
        a, b = write_photo(root / "a.png", 1), write_photo(root / "b.png", 2)
        run(root, gallery)
        number = id_of(gallery, b)
        touch(b.replace(a), 3_000)
        assert counts(run(root, gallery)) == (0, 0, 1, 0, 0)
        assert id_of(gallery, a) == number
        assert len(held(gallery)) == 1


class TestWhatIsMissing:
    def test_a_missing_folder_changes_nothing(self, tmp_path, root, gallery):
        write_photo(root / "a.png", 1)
        other = write_photo(tmp_path / "other" / "b.png", 2).parent
        run([root, other], gallery)
        before = held(gallery)
        write_photo(root / "c.png", 3)
        shutil.rmtree(other)
        with pytest.raises(DataError, match="nothing was changed"):
            run([root, other], gallery)
        assert held(gallery) == before

    def test_a_missing_folder_makes_no_gallery(self, root, gallery):
        with pytest.raises(DataError, match="no such file"):
            run(root, gallery)
        assert not gallery.exists()

    def test_a_disk_that_is_not_mounted_removes_nothing_unless_asked(self, root, gallery):
        write_photo(root / "a.png", 1)
        run(root, gallery)
        (root / "a.png").unlink()
        with pytest.raises(DataError, match="is its disk missing"):
            run(root, gallery)
        assert len(held(gallery)) == 1
        assert run(root, gallery, allow_empty=True).removed == 1
        assert held(gallery) == {}

    def test_a_folder_below_that_cannot_be_read_keeps_its_photos(self, root, gallery, monkeypatch):
        write_photo(root / "a.png", 1)
        locked = write_photo(root / "locked" / "b.png", 2).parent
        run(root, gallery)
        ask = os.scandir

        def scandir(path):
            if str(path) == str(locked):
                raise PermissionError(13, "Permission denied")
            return ask(path)

        monkeypatch.setattr(os, "scandir", scandir)
        summary = run(root, gallery)
        assert [(s.path, s.reason) for s in summary.skipped] == [(locked, "permission denied")]
        assert (summary.removed, summary.photos) == (0, 2)


class TestWhatCannotBeRead:
    def test_it_is_passed_over_told_and_tried_again(self, root, gallery):
        write_photo(root / "a.png", 1)
        bad = root / "b.jpg"
        bad.write_bytes(b"no photo")
        for new in (1, 0):
            summary = run(root, gallery)
            assert (summary.new, summary.photos) == (new, 1)
            assert [skipped.path for skipped in summary.skipped] == [bad]
            assert "content" in summary.skipped[0].reason
        write_photo(bad, 2)
        assert counts(run(root, gallery)) == (1, 0, 0, 0, 1)

    def test_a_photo_that_was_damaged_goes(self, root, gallery):
        path = write_photo(root / "a.png", 1)
        write_photo(root / "b.png", 2)
        run(root, gallery)
        path.write_bytes(path.read_bytes()[:50])
        summary = run(root, gallery)
        assert (summary.removed, len(summary.skipped), summary.photos) == (1, 1, 1)

    def test_a_photo_that_cannot_be_opened_stays(self, root, gallery, monkeypatch):
        path = touch(write_photo(root / "a.png", 1), 1)
        run(root, gallery)
        touch(path, 2)

        def fail(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("msedge.search.photo_reading.read_image_file", fail)
        summary = run(root, gallery)
        monkeypatch.undo()
        assert [skipped.reason for skipped in summary.skipped] == ["permission denied"]
        assert len(held(gallery)) == 1

    def test_damaged_copies_are_all_told(self, root, gallery):
        root.mkdir()
        for number in range(6):
            (root / f"{number}.jpg").write_bytes(b"no photo")
        assert len(run(root, gallery).skipped) == 6


class TestStopping:
    def test_what_was_in_hand_is_committed_and_the_rest_is_left(self, root, gallery):
        for number in range(30):
            write_photo(root / f"{number:02}.png", number)
        write_photo(root / "gone.png", 99)
        run(root, gallery, exclude=["[0-9]*"])
        (root / "gone.png").unlink()
        stop = threading.Event()
        listener = Listener(lambda done: done >= 8 and stop.set())
        summary = run(root, gallery, watcher=listener, stop=stop)
        assert (summary.stopped, summary.new, summary.left) == (True, 8, 22)
        assert summary.removed == 0
        assert len(held(gallery)) == summary.photos == 9
        rest = run(root, gallery)
        assert counts(rest) == (22, 0, 0, 1, 8)

    def test_a_stop_before_the_start(self, root, gallery):
        write_photo(root / "a.png", 1)
        stop = threading.Event()
        stop.set()
        summary = run(root, gallery, stop=stop)
        assert (summary.stopped, summary.left, summary.photos) == (True, 1, 0)

    def test_two_at_once_the_second_gives_up_and_the_first_goes_on(self, root, gallery):
        for number in range(8):
            write_photo(root / f"{number}.png", number)
        refused = []

        def second(_):
            with pytest.raises(DataError, match="another process is indexing"):
                run(root, gallery)
            refused.append(True)

        assert run(root, gallery, watcher=Listener(second)).photos == 8
        assert refused
