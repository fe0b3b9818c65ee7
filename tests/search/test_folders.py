from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.errors import DataError
from msedge.search.folders import walk_folders

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


def names(root, *folders, **options):
    walk = walk_folders([root / folder for folder in folders] or [root], **options)
    return [os.path.relpath(file.path, root) for file in walk.files]


class TestWhatCounts:
    def test_photos_by_their_names_and_nothing_else(self, make):
        root = make("a.jpg", "b.HEIC", "c/d.tiff", "c/e.txt", "f", "g.jpg.part", "c/h.gif")
        assert names(root) == ["a.jpg", "b.HEIC", "c/d.tiff", "c/h.gif"]

    def test_size_and_time_are_those_of_the_file(self, make):
        root = make("a.jpg")
        (root / "a.jpg").write_bytes(b"12345")
        os.utime(root / "a.jpg", ns=(1, 1_234_567_891_000_000_000))
        (file,) = walk_folders([root]).files
        assert (file.size, file.mtime_ns) == (5, 1_234_567_891_000_000_000)

    def test_hidden_names_count_when_asked_for(self, make):
        root = make("a.jpg", ".b.jpg", ".c/d.jpg")
        assert names(root) == ["a.jpg"]
        assert names(root, hidden=True) == [".b.jpg", ".c/d.jpg", "a.jpg"]

    def test_a_hidden_folder_that_is_named_counts(self, make):
        assert names(make(".c/d.jpg"), ".c") == [".c/d.jpg"]

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
        assert names(root, exclude=[pattern]) == left

    def test_the_gallerys_own_files_do_not_count(self, make):
        root = make("g.jpg", "g.jpg.thumbnails/a.jpg", "g.jpg-rebuild.jpg", "gg.jpg")
        assert names(root, without=root / "g.jpg") == ["gg.jpg"]

    def test_a_pipe_is_not_a_photo_and_is_told(self, make):
        root = make("a.jpg")
        os.mkfifo(root / "b.jpg")
        os.mkfifo(root / "notes")
        (root / "c.jpg").symlink_to("/dev/zero")
        assert names(root) == ["a.jpg"]
        walk = walk_folders([root])
        assert sorted(walk.odd) == [str(root / "b.jpg"), str(root / "c.jpg")]
        assert set(walk.odd.values()) == {"it is not a regular file"}
        assert walk.unread == {}
        assert walk.covers(str(root / "b.jpg"))  # a photo that was there has gone

    def test_names_that_are_not_utf_8(self, make):
        root = make(os.fsdecode(b"\xff\n.jpg"))
        assert [os.fsencode(name) for name in names(root)] == [b"\xff\n.jpg"]


class TestOrder:
    @settings(max_examples=20, deadline=None)
    @given(st.sets(st.sampled_from(["a", "b", "a/c", "a b", "a-", "z/a/a", "Z"]), min_size=1))
    def test_files_come_by_path(self, tmp_path_factory, folders):
        root = tmp_path_factory.mktemp("photos")
        for folder in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "1.jpg").touch()
        found = [file.path for file in walk_folders([root]).files]
        assert found == sorted(found, key=os.fsencode)
        assert set(found) == {str(path) for path in root.rglob("*.jpg")}

    def test_a_folder_given_twice_or_within_another_is_walked_once(self, make):
        root = make("a/b/c.jpg")
        assert names(root, "a/b", "a", "a", "a/b/../b") == ["a/b/c.jpg"]


class TestLinks:
    def test_loops_end(self, make):
        root = make("a/b.jpg")
        (root / "a" / "up").symlink_to(root)
        (root / "self").symlink_to(root / "self")
        assert names(root) == ["a/b.jpg"]

    def test_a_photo_is_found_where_it_lies(self, make):
        root = make("z/b.jpg")
        (root / "a").symlink_to(root / "z")
        assert names(root) == ["z/b.jpg"]

    def test_a_link_to_elsewhere_is_followed(self, make):
        root = make("in/a.jpg", "out/b.jpg", "out/c.jpg")
        (root / "in" / "more").symlink_to(root / "out")
        (root / "in" / "d.jpg").symlink_to(root / "out" / "c.jpg")
        assert names(root, "in") == ["in/a.jpg", "in/d.jpg", "in/more/b.jpg", "in/more/c.jpg"]

    def test_what_lies_behind_a_broken_link_is_not_said_to_be_gone(self, make):
        root = make("a.jpg")
        (root / "disk").symlink_to(root / "missing")
        walk = walk_folders([root])
        assert not walk.covers(str(root / "disk" / "b.jpg"))
        assert walk.covers(str(root / "gone.jpg"))


class TestWhatCannotBeRead:
    def test_a_missing_folder(self, make):
        with pytest.raises(DataError, match=r"none \(no such file or directory\).*nothing was"):
            walk_folders([make("a.jpg"), Path("none")])

    def test_a_file_that_is_no_photo(self, make):
        with pytest.raises(DataError, match="not a folder, nor a photo by its name"):
            walk_folders([make("a.txt") / "a.txt"])

    def test_a_photo_may_be_named(self, make):
        root = make("a.jpg", "b.jpg")
        assert names(root, "a.jpg") == ["a.jpg"]

    def test_a_folder_below_is_told_and_not_covered(self, make, monkeypatch):
        root = make("a.jpg", "locked/b.jpg")
        ask = os.scandir

        def scandir(path):
            if str(path).endswith("locked"):
                raise PermissionError(13, "Permission denied")
            return ask(path)

        monkeypatch.setattr(os, "scandir", scandir)
        walk = walk_folders([root])
        assert walk.unread == {str(root / "locked"): "permission denied"}
        assert not walk.covers(str(root / "locked" / "b.jpg"))
        with pytest.raises(DataError, match="permission denied"):
            walk_folders([root / "locked"])


def test_what_a_walk_covers(make):
    root = make("a/b.jpg")
    walk = walk_folders([root / "a"])
    assert walk.covers(str(root / "a" / "x" / "y.jpg"))
    assert not walk.covers(str(root / "ab.jpg"))
    assert walk.empty_roots() == []
    (root / "a" / "b.jpg").unlink()
    assert walk_folders([root / "a"]).empty_roots() == [str(root / "a")]
