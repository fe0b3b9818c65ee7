"""Folders that moved, or are gone for good: what a gallery of either kind holds afterwards."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cluster_runs import index_here
from indexing_runs import CountingEncoder, counts, rows_of, run
from made_photos import held as rows_with_ids
from made_photos import make, names, photo
from msedge.errors import ConfigError, DataError
from msedge.locks import sole_indexer
from msedge.search import indexing
from msedge.search.folders import forget, reroot
from msedge.search.photo import NAMES
from msedge.search.sources.plan import SHARDS
from msedge.search.stores import open_store
from photo_files import write_photo
from shard_files import photo_bytes, write_parquet, write_tar

ODD = os.fsdecode(b"caf\xe9 \xff\n.jpg")


@pytest.fixture(params=["g.msedge", "g.lance"])
def gallery(request, tmp_path):
    return tmp_path / request.param


@pytest.fixture
def old(tmp_path):
    """Sixty photos in folders, two of one content; a date of its own has each third."""
    for number in range(59):
        date = "2001:02:03 04:05:06" if number % 3 == 0 else None
        write_photo(tmp_path / f"old/{number % 4}/{number}.jpg", number, second=number, date=date)
    write_photo(tmp_path / "old" / ODD, 58, second=900)
    return tmp_path / "old"


def facts(gallery):
    """All that a gallery says of photos but their paths, by id."""
    return {
        id: (*(getattr(photo, name) for name in NAMES if name != "path"), photo.vector.tobytes())
        for id, photo in rows_of(gallery).items()
    }


def paths(gallery):
    """Where photos lie, by id."""
    return {id: str(photo.path) for id, photo in rows_of(gallery).items()}


def under(paths, old, new):
    return {id: str(new) + path.removeprefix(str(old)) for id, path in paths.items()}


def made_at(gallery, *places):
    """A gallery of photos that need no files, ids from 1, each of another content."""
    return make(gallery, [photo(number, place) for number, place in enumerate(places)])


def note(gallery):
    with open_store(gallery) as store:
        return store.note(SHARDS)


def version(gallery):
    with open_store(gallery) as store:
        return store.version()


class TestReroot:
    def test_everything_stays_but_the_paths(self, gallery, old, tmp_path):
        other = write_photo(tmp_path / "older/x.jpg", 700)
        run([old, other.parent], gallery)
        before, where = facts(gallery), paths(gallery)
        new = old.rename(tmp_path / "new place")
        done = reroot(gallery, old, new)
        assert (done.photos, done.known, done.other) == (60, 0, 0)
        assert facts(gallery) == before
        wanted = under(where, old, new)
        (of_other,) = [id for id, path in where.items() if path == str(other)]
        assert paths(gallery) == wanted | {of_other: str(other)}
        encoder = CountingEncoder()
        assert counts(run(new, gallery, encoder)) == (0, 0, 0, 0, 60)
        assert encoder.count == 0

    def test_it_is_one_commit(self, gallery, tmp_path):
        made_at(gallery, *(f"/old/{number % 5}/{number}.jpg" for number in range(600)))
        (tmp_path / "new").mkdir()
        before = version(gallery)
        assert reroot(gallery, "/old", tmp_path / "new").photos == 600
        assert version(gallery) == before + 1
        assert forget(gallery, tmp_path / "new").photos == 600
        assert version(gallery) == before + 2

    def test_a_photo_dated_by_its_file_keeps_its_date(self, gallery, tmp_path):
        made = photo(1, "/old/a.jpg", mtime_ns=5_000_000_001, taken=5.000000001)
        make(gallery, [made])
        (tmp_path / "new").mkdir()
        reroot(gallery, "/old", tmp_path / "new")
        (after,) = rows_of(gallery).values()
        assert (after.taken, after.mtime_ns, after.size) == (made.taken, made.mtime_ns, made.size)

    @pytest.mark.parametrize("way", ["deeper", "higher"])
    def test_one_may_lie_in_the_other(self, gallery, tmp_path, way):
        short, long = tmp_path / "a", tmp_path / "a/b"
        long.mkdir(parents=True)
        old, new = (short, long) if way == "deeper" else (long, short)
        # Each lies where the next is to go, in either direction.
        chain = [old / f"{'b/' * depth}x.jpg" for depth in (2, 0, 3, 1, 4)]
        made_at(gallery, *chain, old / "y.jpg")
        before, where = facts(gallery), paths(gallery)
        assert reroot(gallery, old, new).known == 0
        assert paths(gallery) == under(where, old, new)
        assert facts(gallery) == before
        new.mkdir(exist_ok=True)
        assert reroot(gallery, new, old).photos == 6
        assert (paths(gallery), facts(gallery)) == (where, before)

    def test_many_that_make_way_for_each_other(self, gallery, tmp_path):
        (tmp_path / "a/a").mkdir(parents=True)
        chain = [tmp_path / f"{'a/' * depth}{n}.jpg" for depth in range(1, 5) for n in range(300)]
        made_at(gallery, *chain)
        before, where = facts(gallery), paths(gallery)
        assert reroot(gallery, tmp_path / "a", tmp_path / "a/a").photos == 1200
        assert paths(gallery) == under(where, tmp_path / "a", tmp_path / "a/a")
        assert facts(gallery) == before

    def test_photos_that_were_indexed_in_a_folder_within_are_there_once(
        self, gallery, old, tmp_path
    ):
        run(old, gallery)
        before, where = facts(gallery), paths(gallery)
        old.rename(tmp_path / "aside")
        old.mkdir()
        new = (tmp_path / "aside").rename(old / "within")
        assert counts(run(new, gallery))[0] == 60
        done = reroot(gallery, old, new)
        assert (done.photos, done.known) == (60, 60)
        assert (facts(gallery), paths(gallery)) == (before, under(where, old, new))

    @pytest.mark.parametrize(("old", "new"), [("/", "deep"), ("/old", "/")])
    def test_the_root_is_a_folder(self, gallery, tmp_path, old, new):
        (tmp_path / "deep").mkdir()
        new = tmp_path / new
        made_at(gallery, "/old/a.jpg", "/old/b/c.jpg")
        reroot(gallery, old, new)
        wanted = {"/": [new / "old/a.jpg", new / "old/b/c.jpg"],
                  "/old": [Path("/a.jpg"), Path("/b/c.jpg")]}[old]  # fmt: skip
        assert list(paths(gallery).values()) == list(map(str, wanted))

    def test_names_that_only_begin_alike_stay(self, gallery, tmp_path):
        (tmp_path / "new").mkdir()
        made_at(gallery, "/old/a.jpg", "/old2/a.jpg", "/old.jpg", "/x/old/a.jpg")
        assert reroot(gallery, "/old/", f"{tmp_path}/new/").photos == 1
        assert list(paths(gallery).values())[1:] == ["/old2/a.jpg", "/old.jpg", "/x/old/a.jpg"]

    def test_known_at_the_new_place_with_other_content(self, gallery, old, tmp_path):
        run(old, gallery)
        where = paths(gallery)
        new = old.rename(tmp_path / "new")
        write_photo(new / "1/1.jpg", 4_000, second=50_000)
        run(new, gallery)
        done = reroot(gallery, old, new)
        assert (done.photos, done.known, done.other) == (60, 60, 1)
        assert paths(gallery) == under(where, old, new)
        encoder = CountingEncoder()
        assert counts(run(new, gallery, encoder)) == (0, 1, 0, 0, 59)
        assert encoder.count == 1
        assert paths(gallery) == under(where, old, new)

    def test_copies_with_other_times_that_are_known_are_not_read_again(
        self, gallery, old, tmp_path, monkeypatch
    ):
        run(old, gallery)
        shutil.copytree(old, tmp_path / "new", copy_function=shutil.copyfile)
        shutil.rmtree(old)
        run(tmp_path / "new", gallery)
        reroot(gallery, old, tmp_path / "new")
        monkeypatch.setattr("msedge.search.reading.read_image_file", None)
        assert counts(run(tmp_path / "new", gallery)) == (0, 0, 0, 0, 60)

    def test_shards_are_not_listed_again(self, gallery, tmp_path, monkeypatch):
        old = tmp_path / "old"
        write_tar(old / "deep/a.tar", {"x/1.png": photo_bytes(1), "2.png": photo_bytes(2)})
        write_parquet(old / "b.parquet", {"image": [photo_bytes(3), photo_bytes(4)]})
        write_photo(old / "c.png", 5)
        run(old, gallery)
        before, where = facts(gallery), paths(gallery)
        new = old.rename(tmp_path / "new")
        assert reroot(gallery, old, new).photos == 5
        assert (facts(gallery), paths(gallery)) == (before, under(where, old, new))
        assert str(new / "deep/a.tar") in note(gallery)
        assert str(old) not in note(gallery)
        monkeypatch.setattr(indexing, "list_shard", None)
        assert counts(run(new, gallery)) == (0, 0, 0, 0, 5)

    def test_a_shard_has_another_name_too(self, gallery, tmp_path):
        shard = write_tar(tmp_path / "a.tar", {"x/1.png": photo_bytes(1), "2.png": photo_bytes(2)})
        run(shard, gallery)
        renamed = shard.rename(tmp_path / "b.tar")
        assert reroot(gallery, shard, renamed).photos == 2
        assert counts(run(renamed, gallery)) == (0, 0, 0, 0, 2)

    def test_remote_folders_need_not_be_reached(self, gallery):
        made_at(gallery, "s3://bucket/a/x.jpg", "s3://bucket/ab/x.jpg", "s3://bucket/a/s.tar/y.jpg")
        assert reroot(gallery, "s3://bucket/a/", "s3://other/b").photos == 2
        assert sorted(paths(gallery).values()) == [
            "s3:/bucket/ab/x.jpg", "s3:/other/b/s.tar/y.jpg", "s3:/other/b/x.jpg",
        ]  # fmt: skip
        assert reroot(gallery, "s3://bucket", "file:///").photos == 1

    def test_a_new_folder_has_to_be_there(self, gallery, tmp_path):
        made_at(gallery, "/old/a.jpg")
        (tmp_path / "file").touch()
        before = rows_with_ids(gallery)
        for name in ("nwe", "file"):
            with pytest.raises(DataError, match=f"{name} is no folder.*check its name, or connect"):
                reroot(gallery, "/old", tmp_path / name)
        assert rows_with_ids(gallery) == before
        with pytest.raises(ConfigError, match="the old and the new"):
            reroot(gallery, "/old/", "/old")

    def test_only_one_changes_a_gallery_at_a_time(self, gallery, tmp_path):
        made_at(gallery, "/old/a.jpg")
        with sole_indexer(gallery):
            for act in (lambda: reroot(gallery, "/old", tmp_path), lambda: forget(gallery, "/old")):
                with pytest.raises(DataError, match="another process"):
                    act()
        assert list(paths(gallery).values()) == ["/old/a.jpg"]

    def test_no_gallery(self, gallery, tmp_path):
        for act in (lambda: reroot(gallery, "/old", tmp_path), lambda: forget(gallery, "/old")):
            with pytest.raises(DataError, match="no gallery"):
                act()
        assert names(tmp_path) == set()


class TestForget:
    def test_the_others_stay(self, gallery, old, tmp_path):
        other = write_photo(tmp_path / "older/x.jpg", 700)
        run([old, other.parent], gallery)
        (kept,) = [row for row in rows_with_ids(gallery) if row[1] == os.fsencode(other)]
        assert forget(gallery, old).photos == 60
        assert rows_with_ids(gallery) == [kept]
        assert sum(path.is_file() for path in old.rglob("*")) == 60

    def test_a_folder_that_is_gone_and_ids_are_not_given_again(self, gallery, old):
        run(old, gallery)
        shutil.move(old / "0", old.parent / "zero")
        shutil.rmtree(old)
        assert forget(gallery, old).photos == 60
        run(old.parent / "zero", gallery)
        assert min(paths(gallery)) > 60

    def test_shards_and_remote_places(self, gallery, tmp_path):
        write_tar(tmp_path / "old/a.tar", {"1.png": photo_bytes(1), "2.png": photo_bytes(2)})
        write_tar(tmp_path / "old/b.tar", {"1.png": photo_bytes(3)})
        run(tmp_path / "old", gallery)
        assert forget(gallery, tmp_path / "old/a.tar").photos == 2
        assert list(paths(gallery).values()) == [str(tmp_path / "old/b.tar/1.png")]
        assert "a.tar" not in note(gallery)
        assert "b.tar" in note(gallery)
        assert counts(run(tmp_path / "old", gallery)) == (2, 0, 0, 0, 1)
        far = made_at(tmp_path / f"far{gallery.suffix}", "s3://b/x/1.jpg", "s3://b/y/1.jpg")
        assert forget(far, "s3://b/x").photos == 1
        assert list(paths(far).values()) == ["s3:/b/y/1.jpg"]


class TestNoPhotosThere:
    @pytest.mark.parametrize(
        ("asked", "nearest"),
        [
            ("/data/photo", "/data/photos (3), /data/other (1)"),
            ("/data/photos/2020/summer", "/data/photos/2020 (1)"),
            ("/data/photos/20", "/data/photos/2021 (1), /data/photos/2020 (1)"),
            ("/mnt/data", "/data (4)"),
            ("s3://buckat", "s3://bucket/deep/deeper (1)"),
            ("s3://bucket/deep/x", "s3://bucket/deep/deeper (1)"),
        ],
    )
    def test_the_nearest_folders_are_named(self, gallery, tmp_path, asked, nearest):
        made_at(
            gallery, "/data/photos/0.jpg", "/data/photos/2020/1.jpg", "/data/photos/2021/2.jpg",
            "/data/other/x/y/3.jpg", "s3://bucket/deep/deeper/x.jpg",
        )  # fmt: skip
        before = rows_with_ids(gallery)
        for act in (lambda: forget(gallery, asked), lambda: reroot(gallery, asked, tmp_path)):
            with pytest.raises(DataError) as refused:
                act()
            told = str(refused.value)
            assert f"holds no photos in {asked} or below" in told
            assert nearest.replace("/data/other", "/data/other/x/y") in told
            assert "\n" not in told
        assert rows_with_ids(gallery) == before

    def test_a_photo_is_forgotten_by_its_name_and_the_root_is_not(self, gallery):
        made_at(gallery, "/data/photos/0.jpg", "/data/photos/0.jpg.png")
        with pytest.raises(ConfigError, match="is every photo"):
            forget(gallery, "/")
        assert forget(gallery, "/data/photos/0.jpg").photos == 1
        assert list(paths(gallery).values()) == ["/data/photos/0.jpg.png"]

    def test_a_folder_that_has_none_of_the_photos_is_told(self, gallery, tmp_path):
        made_at(gallery, "/data/photos/0.jpg", "/data/photos/a/1.jpg")
        assert not reroot(gallery, "/data/photos", tmp_path).is_there
        (tmp_path / "a").mkdir()
        (tmp_path / "a/1.jpg").touch()
        made_at(gallery.with_stem("other"), "/data/photos/0.jpg", "/data/photos/a/1.jpg")
        assert reroot(gallery.with_stem("other"), "/data/photos", tmp_path).is_there

    def test_an_empty_gallery(self, gallery):
        make(gallery)
        with pytest.raises(DataError, match="it is empty"):
            forget(gallery, "/old")


class TestProposal:
    def test_indexed_moved_and_indexed_again(self, gallery, old, tmp_path):
        assert run(old, gallery).moved_folders == []
        before, where = facts(gallery), paths(gallery)
        new = old.rename(tmp_path / "new")
        encoder = CountingEncoder()
        summary = run(new, gallery, encoder)
        assert (summary.new, summary.photos, encoder.count) == (60, 120, 0)
        (proposed,) = summary.as_dict()["moved_folders"]
        assert proposed == {"old": str(old), "new": str(new), "photos": 60}
        done = reroot(gallery, proposed["old"], proposed["new"])
        assert (done.photos, done.known, done.other) == (60, 60, 0)
        assert (facts(gallery), paths(gallery)) == (before, under(where, old, new))
        summary = run(new, gallery, encoder)
        assert (counts(summary), encoder.count) == ((0, 0, 0, 0, 60), 0)
        assert summary.moved_folders == []

    def test_or_forgotten(self, gallery, old, tmp_path):
        run(old, gallery)
        new = old.rename(tmp_path / "new")
        run(new, gallery)
        assert forget(gallery, old).photos == 60
        assert {Path(path).parents[1] for path in paths(gallery).values()} == {new, tmp_path}
        assert counts(run(new, gallery)) == (0, 0, 0, 0, 60)

    def test_the_highest_folder_that_is_gone_within_what_is_indexed(self, tmp_path):
        gallery = tmp_path / "g.msedge"
        for number in range(6):
            write_photo(tmp_path / f"disk/photos/{number % 2}/{number}.jpg", number)
        write_photo(tmp_path / "disk/else.jpg", 9)
        run(tmp_path / "disk", gallery)
        for above, root in (("home", "home/photos"), ("all", "all")):
            shutil.copytree(tmp_path / "disk/photos", tmp_path / above / "photos")
            shutil.move(tmp_path / "disk", tmp_path / "gone")
            (proposed,) = run(tmp_path / root, gallery).moved_folders
            shutil.move(tmp_path / "gone", tmp_path / "disk")
            top = ("disk/photos", "home/photos") if above == "home" else ("disk", "all")
            assert proposed.as_dict() == {
                "old": str(tmp_path / top[0]), "new": str(tmp_path / top[1]), "photos": 6,
            }  # fmt: skip
        shutil.copytree(tmp_path / "disk/photos", tmp_path / "third/photos")
        shutil.move(tmp_path / "disk/photos", tmp_path / "gone")
        (proposed,) = run(tmp_path / "third", gallery).moved_folders
        assert (proposed.old, proposed.new) == (
            str(tmp_path / "disk/photos"), str(tmp_path / "third/photos"),
        )  # fmt: skip

    def test_several_folders(self, gallery, tmp_path):
        for number in range(5):
            write_photo(tmp_path / f"a/{number}.jpg", number)
            write_photo(tmp_path / f"b/{number % 2}/x{number}.jpg", number + 10)
        write_photo(tmp_path / "b/0/last.jpg", 30)
        run([tmp_path / "a", tmp_path / "b"], gallery)
        (tmp_path / "new").mkdir()
        for name in "ab":
            shutil.move(tmp_path / name, tmp_path / "new" / f"was {name}")
        proposed = run(tmp_path / "new", gallery).moved_folders
        assert [(Path(each.old).name, Path(each.new).name, each.photos) for each in proposed] == [
            ("b", "was b", 6), ("a", "was a", 5),
        ]  # fmt: skip
        for each in proposed:
            reroot(gallery, each.old, each.new)
        assert sorted(paths(gallery)) == list(range(1, 12))

    def test_nothing_where_nothing_is_gone(self, gallery, old, tmp_path):
        run(old, gallery)
        shutil.copytree(old, tmp_path / "copy")
        assert run(tmp_path / "copy", gallery).moved_folders == []
        shutil.copytree(old, tmp_path / "third")
        (old / "0/0.jpg").unlink()  # its folder is there: the next run over it takes it out
        assert run(tmp_path / "third", gallery).moved_folders == []

    def test_shards(self, gallery, tmp_path):
        members = {f"{number}.png": photo_bytes(number) for number in range(3)}
        write_tar(tmp_path / "old/a.tar", members)
        run(tmp_path / "old", gallery)
        (tmp_path / "old").rename(tmp_path / "new")
        (proposed,) = run(tmp_path / "new", gallery).moved_folders
        assert (proposed.old, proposed.photos) == (str(tmp_path / "old"), 3)
        (tmp_path / "new/a.tar").rename(tmp_path / "new/b.tar")
        assert reroot(gallery, tmp_path / "old/a.tar", tmp_path / "new/b.tar").photos == 3

    def test_of_a_cluster(self, old, tmp_path):
        gallery = tmp_path / "g.lance"
        assert index_here([old], gallery).moved_folders == []
        before, where = facts(gallery), paths(gallery)
        new = old.rename(tmp_path / "new")
        (proposed,) = index_here([new], gallery).as_dict()["moved_folders"]
        assert proposed == {"old": str(old), "new": str(new), "photos": 60}
        reroot(gallery, old, new)
        assert (facts(gallery), paths(gallery)) == (before, under(where, old, new))
        assert counts(index_here([new], gallery)) == (0, 0, 0, 0, 60)

    def test_rebuilding_says_how_to_go_on(self, old, tmp_path):
        gallery = tmp_path / "g.msedge"
        kept = write_photo(tmp_path / "kept/a.jpg", 800)
        run([old, kept.parent], gallery)
        shutil.rmtree(old)
        with pytest.raises(DataError, match="msedge gallery forget"):
            run(kept.parent, gallery, rebuild=True)
        forget(gallery, old)
        assert run(kept.parent, gallery, rebuild=True).photos == 1
