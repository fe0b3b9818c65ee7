"""What people name, and what is found there: folders, links, patterns, shards, URLs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.errors import ConfigError, DataError
from msedge.search.sources import Choice, Found, check_sources, find
from msedge.search.sources.contents import contents, open_location
from msedge.search.sources.objects import Item, found_at, local_or_remote
from msedge.search.sources.shards import list_shard
from photo_files import write_photo
from shard_files import answering, photo_bytes, served, write_parquet, write_tar

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and odd names")


@pytest.fixture
def make(tmp_path):
    """Write empty files below a folder."""

    def write(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return write


def names(root, *folders, without=None, **choice):
    found = find([root / each for each in folders] or [root], Choice(**choice), without=without)
    return [os.path.relpath(file.path, root) for file in found.files]


def below(items, root):
    return [item.path.removeprefix(f"{root}/") for item in items]


class TestWhatCounts:
    def test_photos_and_shards_by_their_names_and_nothing_else(self, make):
        root = make("a.jpg", "b.HEIC", "c/d.tiff", "c/e.txt", "f", "g.jpg.part", "x.TAR", "c/y.tar")
        found = find([root])
        assert below(found.files, root) == ["a.jpg", "b.HEIC", "c/d.tiff"]
        assert below(found.shards, root) == ["c/y.tar", "x.TAR"]
        assert found.roots == (str(root),)

    def test_size_and_time_are_those_of_the_file(self, make):
        root = make("a.jpg", "b.tar", "z.jpg")
        (root / "a.jpg").write_bytes(b"12345")
        os.utime(root / "a.jpg", ns=(1, 1_234_567_891_000_000_000))
        found = find([root])
        assert found.files[0].state == (5, 1_234_567_891_000_000_000)
        assert found.shards[0].state == (0, (root / "b.tar").stat().st_mtime_ns)

    def test_hidden_names_count_when_asked_for_or_named(self, make):
        root = make("a.jpg", ".b.jpg", ".c/d.jpg", ".c/e.tar")
        assert names(root) == ["a.jpg"]
        assert find([root]).shards == []
        assert names(root, hidden=True) == [".b.jpg", ".c/d.jpg", "a.jpg"]
        assert names(root, ".c") == [".c/d.jpg"]
        assert names(root, ".b.jpg") == [".b.jpg"]

    @pytest.mark.parametrize(
        ("pattern", "left"),
        [
            ("*.png", ["a.jpg", "raw/c.jpg", "x/raw/d.jpg"]),
            ("raw", ["a.jpg", "b.png"]),
            ("raw/", ["a.jpg", "b.png"]),
            ("x/raw", ["a.jpg", "b.png", "raw/c.jpg"]),
            ("raw/*", ["a.jpg", "b.png", "x/raw/d.jpg"]),
            ("[ab].*", ["raw/c.jpg", "x/raw/d.jpg"]),
            ("A.jpg", ["a.jpg", "b.png", "raw/c.jpg", "x/raw/d.jpg"]),
        ],
    )
    def test_patterns(self, make, pattern, left):
        root = make("a.jpg", "b.png", "raw/c.jpg", "x/raw/d.jpg")
        assert names(root, exclude=(pattern,)) == left

    def test_the_gallerys_own_files_do_not_count(self, make):
        root = make(
            "g.jpg", "g.jpg.thumbnails/a.jpg", "g.jpg-rebuild.jpg", "gg.jpg", "g.lance/x.tar"
        )
        assert names(root, without=root / "g.jpg") == ["gg.jpg"]
        assert find([root], without=root / "g.lance").shards == []

    def test_a_pipe_is_not_a_photo_and_is_told(self, make):
        root = make("a.jpg")
        for name in ("b.jpg", "notes", "s.tar"):
            os.mkfifo(root / name)
        (root / "c.jpg").symlink_to("/dev/zero")
        found = find([root])
        assert below(found.files, root) == ["a.jpg"]
        assert found.shards == []
        assert sorted(found.odd) == [str(root / name) for name in ("b.jpg", "c.jpg", "s.tar")]
        assert set(found.odd.values()) == {"it is not a regular file"}
        assert found.unread == {}
        assert found.covers(str(root / "b.jpg"))  # a photo that was there has gone

    def test_names_that_are_not_utf_8(self, make):
        odd = [os.fsdecode(b"\xff\n.jpg"), os.fsdecode(b"\xfe\n.tar")]
        found = find([make(*odd)])
        assert [Path(item.path).name for item in (*found.files, *found.shards)] == odd


class TestOrder:
    @settings(max_examples=20, deadline=None)
    @given(st.sets(st.sampled_from(["a", "b", "a/c", "a b", "a-", "z/a/a", "Z"]), min_size=1))
    def test_files_come_by_path(self, tmp_path_factory, folders):
        root = tmp_path_factory.mktemp("photos")
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "1.jpg").touch()
        found = [file.path for file in find([root]).files]
        assert found == sorted(found, key=os.fsencode)
        assert set(found) == {str(path) for path in root.rglob("*.jpg")}

    def test_what_is_given_twice_or_within_another_is_found_once(self, make):
        root = make("a/b/c.jpg", "a/b/s.tar")
        given = [root / each for each in ("a/b", "a", "a", "a/b/../b", "a/b/s.tar", "a/b/c.jpg")]
        found = find([*given, f"file://{root}/a"])
        assert below([*found.files, *found.shards], root) == ["a/b/c.jpg", "a/b/s.tar"]
        assert len(found.roots) == 4


class TestLinks:
    def test_loops_end(self, make):
        root = make("a/b.jpg")
        (root / "a" / "up").symlink_to(root)
        (root / "self").symlink_to(root / "self")
        assert names(root) == ["a/b.jpg"]

    def test_a_photo_is_found_where_it_lies(self, make):
        root = make("z/b.jpg", "z/s.tar")
        (root / "a").symlink_to(root / "z")
        found = find([root])
        assert below([*found.files, *found.shards], root) == ["z/b.jpg", "z/s.tar"]

    def test_a_link_to_elsewhere_is_followed(self, make):
        root = make("in/a.jpg", "out/b.jpg", "out/c.jpg", "out/s.tar")
        (root / "in" / "more").symlink_to(root / "out")
        (root / "in" / "d.jpg").symlink_to(root / "out" / "c.jpg")
        (root / "in" / "e.tar").symlink_to(root / "out" / "s.tar")
        for name in ("other", "same"):  # of several ways the first by name
            (root / "in" / name).symlink_to(root / "out")
        found = find([root / "in"])
        assert below(found.files, root / "in") == ["a.jpg", "d.jpg", "more/b.jpg", "more/c.jpg"]
        assert below(found.shards, root / "in") == ["e.tar", "more/s.tar"]

    def test_what_lies_behind_a_broken_link_is_not_said_to_be_gone(self, make):
        root = make("a.jpg")
        (root / "disk").symlink_to(root / "missing")
        found = find([root])
        assert not found.covers(str(root / "disk" / "b.jpg"))
        assert found.covers(str(root / "gone.jpg"))


class TestWhatCannotBeRead:
    @pytest.mark.parametrize("name", ["none", "none.tar", "none.jpg"])
    def test_what_is_missing_is_refused(self, make, name):
        root = make("a.jpg")
        for ask in (find, check_sources):
            with pytest.raises(
                DataError, match=rf"{name} \(no such file or directory\).*nothing was changed"
            ):
                ask([root, root / name])

    def test_a_file_of_another_kind(self, make):
        root = make("a.txt")
        os.mkfifo(root / "b.jpg")
        for name in ("a.txt", "b.jpg"):
            with pytest.raises(DataError, match="not a folder, nor a file of photos by its name"):
                check_sources([root / name])

    def test_nothing_named(self):
        with pytest.raises(ConfigError, match="name at least one"):
            find([])

    def test_a_folder_below_is_told_and_not_covered(self, make, monkeypatch):
        root = make("a.jpg", "locked/b.jpg")
        ask = os.scandir

        def scandir(path):
            if str(path).endswith("locked"):
                raise PermissionError(13, "Permission denied")
            return ask(path)

        monkeypatch.setattr(os, "scandir", scandir)
        found = find([root])
        assert found.unread == {str(root / "locked"): "permission denied"}
        assert not found.covers(str(root / "locked" / "b.jpg"))
        with pytest.raises(DataError, match="permission denied"):
            find([root / "locked"])


def test_what_is_covered_and_what_is_empty():
    found = Found(("/a", "/e"), files=[Item("/a/b.jpg", 1, 1)])
    assert found.covers("/a/x/y.jpg")
    assert not found.covers("/ab.jpg")
    assert found.empty_roots() == ["/e"]
    photo = Found(("/a/b.jpg",), files=[Item("/a/b.jpg", 1, 1)])
    assert (photo.covers("/a/b.jpg"), photo.empty_roots()) == (True, [])


class TestObjects:
    def test_what_lies_below_as_in_a_folder(self, memory):
        for name in ("a.png", "below/b.jpg", "below/c.tar", ".d.png", "e.txt", "no/f.png"):
            memory.pipe(f"/photos/{name}", b"12345")
        found = find(["memory://photos/"], Choice(("no",)), without=Path("memory:/photos/below"))
        assert found.roots == ("memory:/photos",)
        assert below(found.files, "memory:/photos") == ["a.png"]
        found = find(["memory://photos"], Choice(("no",), hidden=True))
        assert below(found.files, "memory:/photos") == [".d.png", "a.png", "below/b.jpg"]
        assert below(found.shards, "memory:/photos") == ["below/c.tar"]
        assert all(item.size == 5 and item.mtime_ns > 0 for item in found.files)

    def test_a_folder_may_be_called_like_a_shard(self, memory):
        memory.pipe("/photos.tar/a.png", b"1")
        memory.pipe("/photos.tar/b.tar/c.png", b"1")
        found = find(["memory://photos.tar"])
        assert below(found.files, "memory:/photos.tar") == ["a.png", "b.tar/c.png"]
        assert found.shards == []

    def test_names_that_a_path_cannot_hold_are_told(self, memory):
        for name in ("/photos/a.png", "/photos//b.png", "/photos/./d.tar", "/photos//c.txt"):
            memory.store[name] = fsspec.implementations.memory.MemoryFile(memory, name, b"1")
        found = find(["memory://photos"])
        assert below(found.files, "memory:/photos") == ["a.png"]
        assert sorted(found.unread) == ["memory://photos/./d.tar", "memory://photos//b.png"]

    def test_http(self, tmp_path):
        write_photo(tmp_path / "b.jpg", 1)
        write_photo(tmp_path / "a" / "c.png", 2)
        tar = write_tar(tmp_path / "a" / "shard.tar", {"x.png": photo_bytes(4)})
        with served(tmp_path) as url:
            found, base = find([f"{url}/"]), url.replace("://", ":/")
            (photo,) = find([f"{url}/b.jpg"]).files
            (shard,) = find([f"{url}/a/shard.tar"]).shards
            with pytest.raises(DataError, match="nothing was changed"):
                find([f"{url}/none/x.png"])
        assert found.unread == {}
        assert below(found.files, base) == ["a/c.png", "b.jpg"]
        assert below(found.shards, base) == ["a/shard.tar"]
        assert found.files[1].size == photo.size == (tmp_path / "b.jpg").stat().st_size
        assert photo.mtime_ns // 1_000_000_000 == 1_000  # as `Last-Modified` says
        assert shard.size == tar.stat().st_size

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (403, r"the server answers 403 \(.+\)"), (503, r"the server answers 503 \(.+\)"),
            (404, "no such file or directory"), (410, "no such file or directory"),
            (None, "the server refuses the connection"),
        ],
    )  # fmt: skip
    def test_a_server_that_refuses_is_no_missing_file(self, tmp_path, status, reason):
        with served(tmp_path) as url:
            tmp_path = tmp_path / "gone"
            with answering(status) as bad:
                with pytest.raises(DataError, match=rf"{reason}.*nothing was changed"):
                    find([f"{bad}/a.jpg"])
                with pytest.raises(DataError, match=rf"cannot read {bad}/a.jpg: {reason}"):
                    open_location(Path(local_or_remote(f"{bad}/a.jpg")))
                table = write_parquet(tmp_path / "p.parquet", {"url": [f"{bad}/a.jpg", f"{url}/x"]})
                shard = list_shard(found_at(str(table)))
                first, second = (content for _, content in contents(shard.photos))
        assert re.fullmatch(reason, first.reason)
        assert not first.is_damaged
        assert second.reason == "no such file or directory"

    @pytest.mark.usefixtures("memory")
    def test_what_is_missing_or_unknown_is_refused(self, monkeypatch):
        with pytest.raises(DataError, match=r"memory://none \(no such file.*nothing was changed"):
            find(["memory://none"])
        with pytest.raises(ConfigError, match="install the package of fsspec"):
            find(["nonesuch://bucket/photos"])
        monkeypatch.setitem(sys.modules, "fsspec", None)
        with pytest.raises(ConfigError, match="install the package of fsspec"):
            find(["memory://none"])
