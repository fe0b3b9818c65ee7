"""A gallery of either kind is brought to hold what lies in folders, shards and URLs."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from cluster_runs import index_here
from encoders import ColourEncoder
from indexing_runs import CountingEncoder, Listener, counts, held, id_of, rows_of, run
from msedge.errors import ConfigError, DataError
from msedge.search import indexing as indexing
from msedge.search.indexing import index
from msedge.search.reading import embedded
from msedge.search.sources.shards import list_shard
from msedge.search.stores import open_store
from photo_files import touch, write_photo
from shard_files import photo_bytes, served, write_parquet, write_tar


@pytest.fixture
def root(tmp_path):
    return tmp_path / "photos"


@pytest.fixture(params=["photos.msedge", "photos.lance"])
def gallery(request, tmp_path):
    return tmp_path / request.param


class TestFromNothing:
    def test_photos_are_held_with_all_that_is_known_of_them(self, root, gallery):
        path = write_photo(
            root / "a.jpg", 1, second=50, size=(40, 30), date="2020:01:31 10:00:00", orientation=6
        )
        write_photo(root / "b" / "c.png", 2, second=77)
        summary = run(root, gallery)
        assert counts(summary) == (2, 0, 0, 0, 0)
        assert (summary.photos, summary.embedded, summary.skipped) == (2, 2, [])
        first, second = rows_of(gallery).values()
        assert np.linalg.norm(first.vector.astype(float)) == pytest.approx(1, abs=1e-3)
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
        monkeypatch.setattr(indexing, "_PHOTOS_A_COMMIT", 8)
        for number in range(20):
            write_photo(root / f"{number}.png", number)
        listener = Listener()
        run(root, gallery, watcher=listener)
        assert listener.moves == [(done, 20) for done in range(0, 21, 4)]
        assert listener.commits == [8, 16, 20]

    def test_what_came_is_committed_every_few_seconds(self, root, gallery, monkeypatch):
        monkeypatch.setattr(indexing, "_SECONDS_A_COMMIT", 0)
        for number in range(12):
            write_photo(root / f"{number}.png", number)
        listener = Listener()
        run(root, gallery, watcher=listener)
        assert listener.commits == [4, 8, 12]

    @pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": 0}])
    def test_numbers_that_cannot_be(self, root, gallery, options):
        with pytest.raises(ConfigError, match="at least 1"):
            index([root], gallery, ColourEncoder(), **options)

    def test_no_folder_at_all(self, gallery):
        with pytest.raises(ConfigError, match="name at least one"):
            index([], gallery, ColourEncoder())
        assert not gallery.exists()

    def test_ids_follow_the_paths_copies_included(self, root, gallery):
        for number, content in enumerate([3, 1, 3, 2, 1, 3]):
            write_photo(root / f"{number}.png", content)
        run(root, gallery)
        assert [photo.path.stem for photo in rows_of(gallery).values()] == list("012345")


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
        monkeypatch.setattr(indexing, "_PHOTOS_A_COMMIT", 1)
        for number in range(4):
            write_photo(root / f"a{number}.png", number)
        run(root, gallery)
        for number in range(4):  # "a" is committed before "z" is looked at
            write_photo(root / f"z{number}.png", number)
            write_photo(root / f"a{number}.png", 10 + number, second=2_000)
        assert counts(run(root, gallery)) == (4, 4, 0, 0, 0)
        again = gallery.with_stem("again")
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

    def test_a_missing_folder_makes_neither_a_gallery_nor_its_folder(self, root, gallery):
        with pytest.raises(DataError, match="no such file"):
            run(root, gallery.parent / "new" / gallery.name)
        assert list(gallery.parent.iterdir()) == []

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

        monkeypatch.setattr("msedge.search.reading.read_image_file", fail)
        summary = run(root, gallery)
        monkeypatch.undo()
        assert [skipped.reason for skipped in summary.skipped] == ["permission denied"]
        assert len(held(gallery)) == 1

    def test_damaged_copies_are_all_told(self, root, gallery):
        root.mkdir()
        for number in range(6):
            (root / f"{number}.jpg").write_bytes(b"no photo")
        assert len(run(root, gallery).skipped) == 6


class TestPace:
    @pytest.mark.parametrize(("workers", "threads"), [(1, 1), (None, 3)])
    def test_as_many_threads_as_asked_for_or_as_there_are_cpus(
        self, root, gallery, monkeypatch, workers, threads
    ):
        asked = []

        def noted(items, encoder, **options):
            asked.append((options["workers"], options["batch_size"]))
            return embedded(items, encoder, **options)

        monkeypatch.setattr(indexing, "embedded", noted)
        monkeypatch.setattr(indexing, "usable_cpus", lambda: 3)
        write_photo(root / "a.png", 1)
        assert index([root], gallery, ColourEncoder(), workers=workers, batch_size=1).new == 1
        assert asked[0] == (threads, 1)


class TestSummary:
    def test_what_was_passed_over_comes_by_path(self, root, gallery):
        for name in ("b.jpg", "d.jpg"):
            write_photo(root / name).write_bytes(b"no photo")
        os.mkfifo(root / "a.jpg")
        (root / "c").symlink_to(root / "none")
        skipped = run(root, gallery).skipped
        assert [each.path.name for each in skipped] == ["a.jpg", "b.jpg", "c", "d.jpg"]
        assert skipped[0].reason == "it is not a regular file"

    def test_as_json(self):
        skipped = [indexing.Skipped(Path("/a"), "why")]
        summary = indexing.IndexSummary(new=3, changed=1, skipped=skipped, seconds=0.25)
        told = summary.as_dict()
        assert (told["photos_per_second"], told["seconds"]) == (16.0, 0.25)
        assert told["skipped"] == [{"path": "/a", "reason": "why"}]
        assert (told["new"], told["stopped"]) == (3, False)
        assert indexing.IndexSummary().photos_per_second == 0


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


@pytest.fixture
def opened(monkeypatch):
    """The names of the shards that are opened to be listed."""
    names = []

    def listed(shard, column=None):
        names.append(shard.path.rpartition("/")[2])
        return list_shard(shard, column)

    monkeypatch.setattr(indexing, "list_shard", listed)
    return names


class TestShards:
    def test_photos_of_every_source_have_the_vectors_of_files(self, root, gallery, tmp_path):
        images = [photo_bytes(number) for number in range(6)]
        write_tar(root / "s.tar", {f"{n}.png": images[n] for n in (0, 1)})
        write_parquet(root / "p.parquet", {"image": images[2:4]})
        (root / "4.png").write_bytes(images[4])
        (tmp_path / "far").mkdir()
        (tmp_path / "far" / "5.png").write_bytes(images[5])
        with served(tmp_path / "far") as url:
            summary = run([root, f"{url}/5.png"], gallery)
        assert (counts(summary), summary.skipped) == ((6, 0, 0, 0, 0), [])
        photos = list(rows_of(gallery).values())
        alone = tmp_path / "alone.msedge"
        for number, content in enumerate(images):
            path = tmp_path / "files" / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        run(tmp_path / "files", alone)
        expected = {p.content_hash: p.vector.tobytes() for p in rows_of(alone).values()}
        assert {p.content_hash: p.vector.tobytes() for p in photos} == expected

    def test_ids_follow_the_order_in_the_shard(self, root, gallery):
        write_tar(root / "s.tar", {f"{n}.png": photo_bytes(n) for n in (3, 1, 2)})
        write_photo(root / "a.png", 9)
        write_photo(root / "z.png", 8)
        run(root, gallery)
        stems = [photo.path.stem for photo in rows_of(gallery).values()]
        assert stems == ["a", "3", "1", "2", "z"]

    def test_what_is_whole_in_the_gallery_is_not_opened_again(self, root, gallery, opened):
        write_tar(root / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(3)})
        write_tar(root / "bad.tar", {"a.png": photo_bytes(1), "b.png": b"no photo"})
        run(root, gallery)
        assert opened == ["bad.tar", "s.tar"]
        encoder = CountingEncoder()
        summary = run(root, gallery, encoder)
        assert (counts(summary), encoder.count) == ((0, 0, 0, 0, 4), 0)
        assert [skipped.path.name for skipped in summary.skipped] == ["b.png"]
        assert opened[2:] == ["bad.tar"]
        with open_store(gallery, writable=True) as store:
            store.write_note("shards", "something odd")
        assert run(root, gallery).unchanged == 4
        assert sorted(opened[3:]) == ["bad.tar", "s.tar"]

    def test_members_that_climb_out_are_told_each_time(self, root, gallery, opened):
        named = ("a.png", "../b.png", "x/../../c.png", "/../d.png", "../x.txt", "../drafts/e.png")
        write_tar(root / "s.tar", {name: photo_bytes(n) for n, name in enumerate(named)})
        for kept, done in ((gallery, run), (root.parent / "g.lance", index_here)):
            for new in (2, 0):
                summary = done([root], kept, exclude=("drafts",))
                assert (summary.new, summary.photos) == (new, 2)
                names = {str(each.path).removeprefix(f"{root}/"): each for each in summary.skipped}
                assert list(names) == ["s.tar/../b.png", "s.tar/../c.png"]
                assert {each.reason for each in summary.skipped} == {
                    "its name climbs out of the tar: give it one that lies within"
                }
                assert summary.as_dict()["skipped"][0]["path"] == f"{root}/s.tar/../b.png"
        assert opened == ["s.tar"]

    def test_a_shard_that_is_written_anew_is_read_once(self, root, gallery, opened):
        tar = write_tar(root / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(3)})
        run(root, gallery)
        before = rows_of(gallery)
        write_tar(tar, {"0.png": photo_bytes(0), "1.png": photo_bytes(7), "9.png": photo_bytes(2)})
        touch(tar, 9_000)
        encoder = CountingEncoder()
        assert counts(run(root, gallery, encoder)) == (0, 1, 1, 0, 1)
        assert encoder.count == 1
        after = {photo.path.name: id for id, photo in rows_of(gallery).items()}
        assert after == {"0.png": 1, "1.png": 2, "9.png": 3}
        assert rows_of(gallery)[3].vector.tobytes() == before[3].vector.tobytes()
        opened.clear()
        assert counts(run(root, gallery)) == (0, 0, 0, 0, 3)
        assert opened == []

    def test_a_photo_that_moves_into_a_shard_and_out_of_it(self, root, gallery, opened):
        path = write_photo(root / "a.png", 1)
        content = path.read_bytes()
        run(root, gallery)
        path.unlink()
        tar = write_tar(root / "s.tar", {"b.png": content})
        for moved, size in ((tar / "b.png", tar.stat().st_size), (path, len(content))):
            if moved == path:
                tar.unlink()
                path.write_bytes(content)
            encoder = CountingEncoder()
            assert counts(run(root, gallery, encoder)) == (0, 0, 1, 0, 0)
            ((id, photo),) = rows_of(gallery).items()
            assert (id, photo.path, photo.size, encoder.count) == (1, moved, size, 0)
            opened.clear()
            assert counts(run(root, gallery, encoder)) == (0, 0, 0, 0, 1)
            assert (opened, encoder.count) == ([], 0)

    def test_copies_in_a_shard_are_dated_by_it(self, root, gallery):
        write_photo(root / "a.png", 1, second=50)
        content = (root / "a.png").read_bytes()
        dated = write_photo(root / "b.jpg", 2, date="2020:01:31 10:00:00").read_bytes()
        touch(write_tar(root / "s.tar", {"a.png": content, "b.jpg": dated}), 70)
        encoder = CountingEncoder()
        assert (run(root, gallery, encoder).new, encoder.count) == (4, 2)
        taken = [photo.taken for photo in rows_of(gallery).values()]
        assert taken == [50.0, 1_580_464_800.0, 70.0, 1_580_464_800.0]

    def test_a_shard_that_cannot_be_listed_is_told_and_keeps_its_photos(self, root, gallery):
        write_photo(root / "a.png", 1)
        tar = write_tar(root / "s.tar", {"b.png": photo_bytes(2)})
        run(root, gallery)
        tar.write_bytes(b"no tar")
        summary = run(root, gallery)
        assert (counts(summary), len(held(gallery))) == ((0, 0, 0, 0, 1), 2)
        assert [(s.path, "no plain tar" in s.reason) for s in summary.skipped] == [(tar, True)]

    def test_which_column_holds_the_photos(self, root, gallery):
        columns = {"front": [photo_bytes(1)], "back": [photo_bytes(2)]}
        path = write_parquet(root / "p.parquet", columns)
        (skipped,) = run(root, gallery).skipped
        assert "--image-column: front, back" in skipped.reason
        assert run(path, gallery, column="back").new == 1

    def test_a_shard_that_is_suddenly_empty_is_not_believed(self, root, gallery):
        tar = write_tar(root / "s.tar", {"b.png": photo_bytes(2)})
        run(root, gallery)
        write_tar(tar, {})
        with pytest.raises(DataError, match="is its disk missing"):
            run(root, gallery)
        write_tar(tar, {"b.png": photo_bytes(2)})
        with pytest.raises(DataError, match="is its disk missing"):
            run(root, gallery, exclude=["b.png"])
        assert run(root, gallery, exclude=["b.png"], allow_empty=True).removed == 1

    def test_a_stop_while_they_are_listed_changes_nothing(self, root, gallery):
        write_tar(root / "s.tar", {"b.png": photo_bytes(2)})
        stop = threading.Event()
        stop.set()
        summary = run(root, gallery, stop=stop)
        assert (summary.stopped, summary.photos, counts(summary)) == (True, 0, (0,) * 5)
        with open_store(gallery) as store:
            assert store.notes() == {}
        assert run(root, gallery).new == 1

    def test_what_is_missing_far_away_makes_no_gallery(self, root, gallery):
        root.mkdir()
        with served(root) as url, pytest.raises(DataError, match="nothing was changed"):
            run([root, f"{url}/none.tar"], gallery)
        assert list(gallery.parent.iterdir()) == [root]
