from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster_runs import index_here, photo_bytes, rows_of, write_tar
from msedge.errors import DataError
from msedge.search import photo_bytes as module
from msedge.search.photo_bytes import open_location, shard_of
from photo_files import touch, write_photo

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


class TestFiles:
    def test_a_file(self, tmp_path):
        photo = write_photo(tmp_path / os.fsdecode(b"\xff\n.png"))
        assert open_location(photo) == photo.read_bytes()

    def test_a_folder_may_be_called_like_a_shard(self, tmp_path):
        photo = write_photo(tmp_path / "x.tar" / "y.parquet" / "a.png")
        assert shard_of(photo) is None
        assert open_location(photo) == photo.read_bytes()

    def test_what_is_no_file_is_one_line(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        for name in ("none.png", "pipe.png", "."):
            with pytest.raises(DataError, match=r"cannot read .*: no such file"):
                open_location(tmp_path / name)

    def test_what_is_too_large(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "MAX_BYTES", 10)
        photo = write_photo(tmp_path / "a.png")
        tar = write_tar(tmp_path / "s.tar", {"a.png": b"0123456789ab", "b.png": b"0123456789"})
        for path in (photo, tar / "a.png"):
            with pytest.raises(DataError, match="more than"):
                open_location(path)
        assert open_location(tar / "b.png") == b"0123456789"


class TestObjects:
    def test_an_object(self, memory):
        memory.pipe("/photos/a.png", b"123")
        assert open_location(Path("memory://photos/a.png")) == b"123"
        with pytest.raises(DataError, match=r"cannot read memory://photos/b\.png: no such file"):
            open_location(Path("memory://photos/b.png"))

    def test_a_member_of_a_tar_and_a_row_of_a_parquet_file(self, memory, tmp_path):
        write_tar(tmp_path / "s.tar", {"x/a.png": b"one", "b.png": b"two"})
        pq.write_table(pa.table({"image": [b"three", b"four"]}), tmp_path / "p.parquet")
        for name in ("s.tar", "p.parquet"):
            memory.pipe(f"/photos/{name}", (tmp_path / name).read_bytes())
        assert open_location(Path("memory://photos/s.tar/x/a.png")) == b"one"
        assert open_location(Path("memory://photos/p.parquet/1")) == b"four"


class TestShards:
    def test_every_photo_of_a_gallery_can_be_read_back(self, tmp_path):
        root = tmp_path / "photos"
        write_photo(root / "a.png", 0)
        write_tar(root / "s.tar", {f"./x/{n}.png": photo_bytes(n) for n in range(1, 20)})
        images = [photo_bytes(n) for n in range(20, 50)]
        pq.write_table(pa.table({"image": images}), root / "p.parquet", row_group_size=7)
        index_here([root], tmp_path / "g.lance")
        rows = rows_of(tmp_path / "g.lance")
        assert len(rows) == 50
        contents = {open_location(photo.path) for photo in rows.values()}
        assert contents == {(root / "a.png").read_bytes(), *(photo_bytes(n) for n in range(1, 50))}

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
        pq.write_table(pa.table({"image": [b"1", b"2"]}), tmp_path / "p.parquet")
        with pytest.raises(DataError, match="has no row"):
            open_location(tmp_path / "p.parquet" / name)

    def test_a_damaged_shard_is_one_line(self, tmp_path):
        for name in ("s.tar/a.png", "p.parquet/0"):
            (tmp_path / name).parent.write_bytes(b"something else")
            with pytest.raises(DataError, match="or damaged"):
                open_location(tmp_path / name)
