"""What a run means for the gallery; the parts are done here, by the code that workers run."""

from __future__ import annotations

import os
import threading

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_runs import (
    Here,
    assert_same_galleries,
    ids_of,
    index_here,
    rows_of,
)
from encoders import ColourEncoder
from msedge.errors import ConfigError, DataError, WeightsError
from msedge.search.cluster.indexing import Cluster, index_on_ray
from msedge.search.cluster.worker import PartResult
from msedge.search.indexing import index
from msedge.search.sources.plan import SHARDS
from msedge.search.stores import open_store, store_class
from msedge.search.stores.reports import Model
from photo_files import touch, write_photo
from shard_files import photo_bytes, write_tar


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "photos"
    for number in range(40):
        write_photo(root / f"{number:02}.png", number)
    return root


@pytest.fixture
def gallery(tmp_path):
    return tmp_path / "g.lance"


def counts(summary):
    names = ("new", "changed", "moved", "removed", "unchanged")
    return tuple(getattr(summary, name) for name in names)


class TestFolders:
    def test_the_first_run_gives_what_the_single_machine_index_gives(self, root, gallery, tmp_path):
        write_photo(root / os.fsdecode(b"\xff\n.jpg"), 50, date="2020:01:02 03:04:05")
        write_photo(root / "lying.jpg", 51, orientation=6)
        summary = index_here([root], gallery)
        index([root], tmp_path / "alone.msedge", ColourEncoder())
        assert counts(summary) == (42, 0, 0, 0, 0)
        assert (summary.photos, summary.embedded, summary.left) == (42, 42, 0)
        assert_same_galleries(gallery, tmp_path / "alone.msedge")

    def test_a_second_run_reads_nothing_and_changes_nothing(self, root, gallery):
        index_here([root], gallery)
        with open_store(gallery) as before:
            version = before.version()
        engine = Here()
        assert counts(index_here([root], gallery, engine)) == (0, 0, 0, 0, 40)
        assert engine.parts == []
        with open_store(gallery) as after:
            assert after.version() == version

    def test_new_changed_touched_moved_and_removed_photos(self, root, gallery):
        index_here([root], gallery)
        ids, before = ids_of(gallery), rows_of(gallery)
        write_photo(root / "00.png", 100, second=2_000)
        touch(root / "01.png", 3_000)
        (root / "02.png").rename(root / "moved.png")
        (root / "03.png").unlink()
        write_photo(root / "new.png", 101)
        summary = index_here([root], gallery)
        assert counts(summary) == (1, 1, 1, 1, 37)
        after, rows = ids_of(gallery), rows_of(gallery)
        assert after["00.png"] == ids["00.png"]
        assert rows[ids["00.png"]].content_hash != before[ids["00.png"]].content_hash
        assert after["01.png"] == ids["01.png"]
        assert rows[ids["01.png"]].mtime_ns == 3_000 * 10**9
        assert after["moved.png"] == ids["02.png"]
        assert "03.png" not in after
        assert after["new.png"] > max(ids.values())
        assert counts(index_here([root], gallery)) == (0, 0, 0, 0, 40)

    def test_of_two_copies_of_a_moved_photo_one_has_its_id(self, root, gallery):
        index_here([root], gallery)
        ids = ids_of(gallery)
        content = (root / "05.png").read_bytes()
        (root / "05.png").unlink()
        for name in ("x.png", "y.png"):
            (root / name).write_bytes(content)
        assert counts(index_here([root], gallery)) == (1, 0, 1, 0, 39)
        after = ids_of(gallery)
        assert after["x.png"] == ids["05.png"]
        assert after["y.png"] > max(ids.values())

    def test_a_photo_that_is_moved_over_another(self, root, gallery):
        index_here([root], gallery)
        ids = ids_of(gallery)
        (root / "05.png").rename(root / "06.png")
        touch(root / "06.png", 5_000)
        assert counts(index_here([root], gallery)) == (0, 0, 1, 0, 38)
        assert ids_of(gallery)["06.png"] == ids["05.png"]
        assert counts(index_here([root], gallery)) == (0, 0, 0, 0, 39)

    def test_photos_elsewhere_stay(self, root, gallery, tmp_path):
        index_here([root], gallery)
        write_photo(tmp_path / "other" / "a.png", 200)
        assert counts(index_here([tmp_path / "other"], gallery)) == (1, 0, 0, 0, 0)
        assert len(rows_of(gallery)) == 41

    def test_a_folder_that_is_suddenly_empty_is_not_believed(self, root, gallery):
        index_here([root], gallery)
        for path in root.iterdir():
            path.unlink()
        with pytest.raises(DataError, match="--allow-empty"):
            index_here([root], gallery)
        assert len(rows_of(gallery)) == 40
        assert counts(index_here([root], gallery, allow_empty=True)) == (0, 0, 0, 40, 0)

    def test_patterns_and_hidden_names(self, root, gallery):
        write_photo(root / ".hidden.png", 60)
        assert index_here([root], gallery, exclude=("0*",), hidden=True).photos == 31
        assert counts(index_here([root], gallery)) == (10, 0, 0, 1, 30)


class TestShards:
    def test_tars_and_parquet_files_in_folders_and_by_name(self, tmp_path, gallery):
        root = tmp_path / "photos"
        write_photo(root / "a.png", 0)
        write_tar(root / "s.tar", {"x/1.png": photo_bytes(1), "x/1.json": b"{}"})
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        images = [{"bytes": photo_bytes(2), "path": "two.png"}]
        far = tmp_path / "far.parquet"
        pq.write_table(pa.table({"image": pa.array(images, struct)}), far)
        assert index_here([root, far], gallery).photos == 3
        found = {str(photo.path): photo for photo in rows_of(gallery).values()}
        assert list(found) == [f"{far}/0", f"{root}/a.png", f"{root}/s.tar/x/1.png"]
        status = (root / "s.tar").stat()
        member = found[f"{root}/s.tar/x/1.png"]
        assert (member.size, member.mtime_ns) == (status.st_size, status.st_mtime_ns)

    def test_whole_shards_are_not_opened_again(self, tmp_path, gallery):
        tar = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(9)})
        index_here([tar], gallery)
        engine = Here()
        assert counts(index_here([tar], gallery, engine)) == (0, 0, 0, 0, 9)
        assert engine.listed == []
        with open_store(gallery, writable=True) as store:
            store.write_note(SHARDS, "")  # a cache, no more
        assert counts(index_here([tar], gallery, engine)) == (0, 0, 0, 0, 9)
        assert engine.listed == [str(tar)]

    def test_a_changed_shard(self, tmp_path, gallery):
        tar = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(9)})
        index_here([tar], gallery)
        ids = ids_of(gallery)
        members = {f"{n}.png": photo_bytes(n if n else 70) for n in range(8)}
        write_tar(tar, {**members, "new.png": photo_bytes(80)})
        touch(tar, 5_000)
        assert counts(index_here([tar], gallery)) == (1, 1, 0, 1, 7)
        after = ids_of(gallery)
        assert {name: after[name] for name in members} == {name: ids[name] for name in members}

    def test_a_shard_that_cannot_be_read_keeps_its_photos(self, tmp_path, gallery):
        tar = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(9)})
        write_photo(tmp_path / "a.png", 30)
        index_here([tmp_path], gallery)
        tar.write_bytes(b"no tar")
        summary = index_here([tmp_path], gallery)
        assert counts(summary) == (0, 0, 0, 0, 1)
        assert summary.photos == 10
        assert [str(skip.path) for skip in summary.skipped] == [str(tar)]

    def test_a_shard_that_is_gone_takes_its_photos_along(self, tmp_path, gallery):
        tar = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(9)})
        write_photo(tmp_path / "a.png", 30)
        index_here([tmp_path], gallery)
        tar.unlink()
        assert counts(index_here([tmp_path], gallery)) == (0, 0, 0, 9, 1)


class TestSkipped:
    def test_what_cannot_be_read_is_told_and_tried_again_until_it_is_mended(self, root, gallery):
        (root / "bad.png").write_bytes(b"no photo")
        tar = write_tar(root / "s.tar", {"1.png": b"no photo", "2.png": photo_bytes(90)})
        (root / "broken.tar").write_bytes(b"no tar")
        summary = index_here([root], gallery)
        assert summary.photos == 41
        skipped = {str(skip.path): skip.reason for skip in summary.skipped}
        assert list(skipped) == [str(root / "bad.png"), str(root / "broken.tar"), f"{tar}/1.png"]
        assert "content is not a JPEG" in skipped[str(root / "bad.png")]
        engine = Here()
        assert index_here([root], gallery, engine).skipped == summary.skipped
        assert [len(part.entries) for part in engine.parts] == [2]
        write_photo(root / "bad.png", 91)
        (root / "broken.tar").unlink()
        write_tar(tar, {"1.png": photo_bytes(92), "2.png": photo_bytes(90)})
        summary = index_here([root], gallery)
        assert (summary.new, summary.skipped) == (2, [])

    def test_a_photo_that_is_damaged_now_is_no_longer_held(self, root, gallery):
        index_here([root], gallery)
        (root / "07.png").write_bytes(b"no photo")
        assert counts(index_here([root], gallery)) == (0, 0, 0, 1, 39)
        assert len(rows_of(gallery)) == 39


class Losing(Here):
    """Workers die of some photos, as they do of whatever ends a process."""

    def __init__(self, deadly: set[str], raising: bool = False) -> None:
        super().__init__()
        self._deadly, self._raising = deadly, raising

    def results(self, parts, work, alone):
        for part in parts:
            if self._deadly.isdisjoint(each.item.path.rpartition("/")[2] for each in part.entries):
                yield from super().results([part], work, alone)
            elif self._raising:
                yield PartResult(part.number, failed="the decoder broke")


class TestLostWorkers:
    @pytest.mark.parametrize("raising", [True, False])
    def test_the_photo_that_they_die_of_is_found_and_passed_over(self, root, gallery, raising):
        summary = index_here([root], gallery, Losing({"17.png"}, raising))
        assert (summary.new, summary.photos) == (39, 39)
        (skip,) = summary.skipped
        assert skip.path == root / "17.png"
        assert ("the decoder broke" if raising else "a worker died") in skip.reason
        assert counts(index_here([root], gallery)) == (1, 0, 0, 0, 39)

    def test_a_known_photo_that_they_die_of_stays_as_it_was(self, root, gallery):
        index_here([root], gallery)
        touch(root / "17.png", 9_000)
        assert len(index_here([root], gallery, Losing({"17.png"})).skipped) == 1
        assert len(rows_of(gallery)) == 40

    def test_where_nothing_can_be_done_it_says_so_and_blames_no_photo(self, root, gallery):
        for number in range(40, 200):
            write_photo(root / f"{number}.png", number)
        everything = {path.name for path in root.iterdir()}
        with pytest.raises(DataError, match="no worker has managed a single photo"):
            index_here([root], gallery, Losing(everything))
        assert rows_of(gallery) == {}

    def test_a_result_that_comes_twice_counts_once(self, root, gallery):
        class Twice(Here):
            def results(self, parts, work, alone):
                for result in super().results(parts, work, alone):
                    yield from (result, result)

        assert index_here([root], gallery, Twice()).new == 40
        assert len(rows_of(gallery)) == 40

    def test_what_came_before_an_error_is_kept(self, root, gallery):
        class Ends(Here):
            def results(self, parts, work, alone):
                yield from super().results(parts[:1], work, alone)
                raise DataError("the cluster is gone")

        with pytest.raises(DataError, match="the cluster is gone"):
            index_here([root], gallery, Ends())
        assert len(rows_of(gallery)) == 16
        assert counts(index_here([root], gallery)) == (24, 0, 0, 0, 16)


class TestStopping:
    def test_what_came_in_is_committed_and_the_next_run_goes_on(self, root, gallery):
        stop = threading.Event()

        class Stops(Here):
            def results(self, parts, work, alone):
                for result in super().results(parts, work, alone):
                    yield result
                    if result is not None:
                        stop.set()

        index_here([root], gallery)
        for number in range(100, 140):
            write_photo(root / f"{number}.png", number)
        (root / "00.png").unlink()
        summary = index_here([root], gallery, Stops(), stop=stop)
        assert (summary.stopped, summary.new, summary.left) == (True, 16, 24)
        assert summary.removed == 0  # who knows where it is moved to
        again = index_here([root], gallery)
        assert (again.new, again.removed, again.stopped) == (24, 1, False)

    def test_while_shards_are_listed(self, root, gallery):
        stop = threading.Event()

        class Stops(Here):
            def list_shards(self, shards, column, stop):
                stop.set()
                yield from super().list_shards(shards, column, stop)

        index_here([root], gallery)
        write_tar(root / "s.tar", {"1.png": photo_bytes(90)})
        (root / "00.png").unlink()
        summary = index_here([root], gallery, Stops(), stop=stop)
        assert (summary.stopped, counts(summary), summary.photos) == (True, (0, 0, 0, 0, 0), 40)
        assert counts(index_here([root], gallery)) == (1, 0, 0, 1, 39)


class TestRefusals:
    def test_a_gallery_of_sqlite(self, root, tmp_path):
        with pytest.raises(ConfigError, match="msedge gallery copy"):
            index_on_ray([root], tmp_path / "g.msedge", "msedge-lite")

    @pytest.mark.parametrize("wrong", [{"workers": 0}, {"threads": 0}, {"gpus": -1}])
    def test_numbers_that_cannot_be(self, wrong):
        with pytest.raises(ConfigError, match="expected"):
            Cluster(**wrong)

    def test_memory_which_other_processes_do_not_see(self, gallery):
        fsspec.filesystem("memory").pipe("/photos/a.png", photo_bytes(1))
        with pytest.raises(ConfigError, match="one process alone"):
            index_here(["memory://photos"], gallery)
        assert not gallery.exists()

    def test_other_weights(self, root, gallery):
        store_class(gallery).create(gallery, Model("other", "other-1", 32)).close()
        with pytest.raises(WeightsError, match="other weights"):
            index_here([root], gallery)

    def test_workers_that_have_another_model(self, root, gallery):
        with pytest.raises(DataError, match="another model of the name colours-2"):
            index_here([root], gallery, Here("colours-2"))

    def test_a_gallery_that_workers_cannot_write(self, root, gallery, monkeypatch):
        tried = []

        def fails(*given):
            tried.append(given[0])
            raise DataError("the disk is full")

        monkeypatch.setattr(store_class(gallery), "write_apart", fails)
        monkeypatch.setattr("msedge.search.cluster.worker._SECONDS_BEFORE_NEXT_TRY", 0.0)
        with pytest.raises(DataError, match="the disk is full"):
            index_here([root], gallery)
        assert tried == [gallery] * 3

    def test_a_gallery_that_another_process_changed_meanwhile(self, root, gallery):
        class Interferes(Here):
            def results(self, parts, work, alone):
                with open_store(gallery, writable=True) as other:
                    other.change(remove=[1])
                yield from super().results(parts, work, alone)

        index_here([root], gallery)
        write_photo(root / "new.png", 99)
        with pytest.raises(DataError, match="another process"):
            index_here([root], gallery, Interferes())
