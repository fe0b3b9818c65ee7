"""The bytes of photos of every kind of place, in order, and those of a gallery one at a time."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pyarrow as pa
import pytest

from msedge.errors import DataError
from msedge.search.sources import contents as module
from msedge.search.sources.contents import (
    Unreadable,
    content_of_cell,
    contents,
    is_within,
    open_location,
)
from msedge.search.sources.objects import Item, found_at
from msedge.search.sources.shards import list_shard
from photo_files import touch, write_photo
from shard_files import photo_bytes, served, write_parquet, write_tar


def items_of(path, column=None):
    return list(list_shard(found_at(str(path)), column).photos)


def read(items):
    return [content for _, content in contents(items)]


class TestContents:
    def test_photos_of_all_places_in_their_order(self, tmp_path, memory):
        members = {f"{n:02}.png": photo_bytes(n) for n in range(40)}
        images = [photo_bytes(n) for n in range(40, 80)]
        memory.pipe("/photos/far.png", b"far")
        write_tar(tmp_path / "s.tar", members)
        write_parquet(tmp_path / "p.parquet", {"image": images}, row_group_size=7)
        for name in ("s.tar", "p.parquet"):
            memory.pipe(f"/photos/{name}", (tmp_path / name).read_bytes())
        here = found_at(str(write_photo(tmp_path / "a.png")))
        far = [found_at("memory:/photos/far.png"), Item("memory:/photos/none.png", 1, 1)]
        for base in (str(tmp_path), "memory:/photos"):
            tar, rows = items_of(f"{base}/s.tar"), items_of(f"{base}/p.parquet")
            items = [here, *tar, *far * 20, here, *rows[5:], here]
            pairs = list(contents(items))
            assert [item for item, _ in pairs] == items
            gone = Unreadable("no such file or directory", is_damaged=False)
            assert [content for _, content in pairs] == [
                None, *members.values(), *[b"far", gone] * 20, None, *images[5:], None,
            ]  # fmt: skip

    def test_the_struct_that_datasets_write(self, tmp_path):
        write_photo(tmp_path / "beside.png", 5)
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        rows = [{"bytes": b"one", "path": "1.png"}, {"bytes": None, "path": "beside.png"}, None]
        path = write_parquet(tmp_path / "p.parquet", {"image": pa.array(rows, struct)})
        assert read(items_of(path)) == [
            b"one",
            (tmp_path / "beside.png").read_bytes(),
            Unreadable("the row holds no image", is_damaged=True),
        ]

    def test_urls_and_paths(self, tmp_path):
        photo = write_photo(tmp_path / "served" / "a b.png", 5)
        with served(photo.parent) as url:
            urls = [f"{url}/a%20b.png", f"{url}/none.png", "served/a b.png", str(photo), ""]
            path = write_parquet(tmp_path / "p.parquet", {"url": urls})
            first, second, third, fourth, fifth = read(items_of(path))
        assert first == third == fourth == photo.read_bytes()
        assert second == Unreadable("no such file or directory", is_damaged=False)
        assert fifth == Unreadable("the row holds no image", is_damaged=True)

    @pytest.mark.parametrize("cell", [b"", "", None, 7, {"bytes": b"", "path": None}])
    def test_a_cell_that_holds_nothing(self, cell):
        with pytest.raises(DataError, match="the row holds no image"):
            content_of_cell(cell, "/p.parquet")

    def test_a_far_shard_names_no_files_of_this_machine(self, tmp_path, memory):
        memory.pipe("/far.png", b"far")
        assert content_of_cell("memory://far.png", "s3:/bucket/p.parquet") == b"far"
        photo = write_photo(tmp_path / "a.png")
        for cell in (str(photo), f"file://{photo}", {"bytes": None, "path": str(photo)}):
            with pytest.raises(DataError, match="one machine"):
                content_of_cell(cell, "s3:/bucket/p.parquet")
            assert content_of_cell(cell, "/p.parquet") == photo.read_bytes()

    def test_a_shard_that_was_changed_or_went_since(self, tmp_path):
        tar = write_tar(tmp_path / "s.tar", {"a.png": photo_bytes(1), "b.png": photo_bytes(2)})
        items = items_of(tar)
        write_tar(tar, {"a.png": photo_bytes(3) * 50})
        changed = Unreadable("its shard was changed while it was indexed", is_damaged=False)
        assert read(items) == [changed, changed]
        tar.unlink()
        assert read(items) == [Unreadable("no such file or directory", is_damaged=False)] * 2

    def test_a_shard_that_is_cut_short(self, tmp_path):
        tar = write_tar(tmp_path / "s.tar", {"a.png": b"x" * 512, "b.png": b"y" * 600})
        listing = items_of(tar)
        tar.write_bytes(tar.read_bytes()[: listing[1].spot[0] + 599])
        now = found_at(str(tar)).state
        items = [Item(i.path, *now, i.shard, i.spot) for i in listing]
        short = Unreadable("its shard is cut short", is_damaged=False)
        assert read(items) == [b"x" * 512, short]

    def test_a_shard_that_fails_halfway(self, tmp_path, monkeypatch):
        class Failing(io.BytesIO):
            def seek(self, place, *way):
                if place > 600:
                    raise OSError(5, "Input/output error")
                return super().seek(place, *way)

        tar = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(3)})
        items = items_of(tar)
        monkeypatch.setattr(module, "open_binary", lambda _: Failing(tar.read_bytes()))
        failed = Unreadable("input/output error", is_damaged=False)
        assert list(contents(items)) == [
            (items[0], photo_bytes(0)), (items[1], failed), (items[2], failed),
        ]  # fmt: skip

    def test_what_is_too_large_is_passed_over(self, tmp_path, memory, monkeypatch):
        monkeypatch.setattr(module, "MAX_BYTES", 10)
        memory.pipe("/far.png", b"x" * 11)
        tar = write_tar(tmp_path / "s.tar", {"a.png": b"x" * 11, "b.png": b"y" * 10})
        rows = write_parquet(tmp_path / "p.parquet", {"image": [b"x" * 11, b"y" * 10]})
        large = Unreadable("more than 0 MB: scale it down", is_damaged=True)
        assert read(items_of(tar)) == read(items_of(rows)) == [large, b"y" * 10]
        assert read([found_at("memory:/far.png")]) == [large]
        for path in (tar / "a.png", rows / "0", Path("memory:/far.png")):
            with pytest.raises(DataError, match="more than"):
                open_location(path)
        assert open_location(tar / "b.png") == b"y" * 10


class TestOpening:
    def test_a_file_whatever_its_folder_is_called(self, tmp_path):
        photo = write_photo(tmp_path / "x.tar" / "y.parquet" / os.fsdecode(b"\xff\n.png"))
        assert not is_within(photo)
        assert open_location(photo) == photo.read_bytes()

    def test_what_is_no_file_is_one_line(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        for name in ("none.png", "pipe.png", "."):
            with pytest.raises(DataError, match=r"cannot read .*: no such file"):
                open_location(tmp_path / name)

    def test_a_row_that_names_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.jpg")
        table = write_parquet(tmp_path / "p.parquet", {"path": ["pipe.jpg"]})
        with pytest.raises(DataError, match="not a regular file"):
            open_location(table / "0")

    def test_objects_and_what_lies_in_them(self, memory, tmp_path):
        write_tar(tmp_path / "s.tar", {"x/a.png": b"one", "b.png": b"two"})
        write_parquet(tmp_path / "p.parquet", {"image": [b"three", b"four"]})
        for name in ("s.tar", "p.parquet"):
            memory.pipe(f"/photos/{name}", (tmp_path / name).read_bytes())
        memory.pipe("/photos/a.png", b"123")
        for base in (tmp_path, Path("memory://photos")):
            assert open_location(base / "s.tar" / "x" / "a.png") == b"one"
            assert open_location(base / "p.parquet" / "1") == b"four"
            assert is_within(base / "s.tar" / "x" / "a.png")
        assert open_location(Path("memory://photos/a.png")) == b"123"
        assert is_within(Path("memory://photos/a.png"))
        with pytest.raises(DataError, match=r"cannot read memory://photos/b\.png: no such file"):
            open_location(Path("memory://photos/b.png"))

    def test_a_tar_is_listed_once_as_long_as_it_stays_the_same(self, tmp_path, monkeypatch):
        tar = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(9)})
        open_location(tar / "0.png")
        with monkeypatch.context() as patch:
            patch.setattr("tarfile.open", None)
            assert open_location(tar / "3.png") == photo_bytes(3)
        touch(write_tar(tar, {"3.png": photo_bytes(33)}), 5_000)
        assert open_location(tar / "3.png") == photo_bytes(33)
        with pytest.raises(DataError, match=r"no longer holds 0\.png"):
            open_location(tar / "0.png")

    @pytest.mark.parametrize("name", ["2", "-1", "a.png", "1/1", "²"])
    def test_a_row_that_is_not_there(self, tmp_path, name):
        path = write_parquet(tmp_path / "p.parquet", {"image": [b"1", b"2"]})
        with pytest.raises(DataError, match="has no row"):
            open_location(path / name)

    def test_a_damaged_shard_is_one_line(self, tmp_path):
        for name in ("s.tar/a.png", "p.parquet/0"):
            (tmp_path / name).parent.write_bytes(b"something else")
            with pytest.raises(DataError, match="or damaged"):
                open_location(tmp_path / name)
