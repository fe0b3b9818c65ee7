"""What a tar or a Parquet file holds, and where within it."""

from __future__ import annotations

import io
import os
import sys
import tarfile

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.search.sources.objects import found_at, read_range
from msedge.search.sources.shards import cells, list_shard
from shard_files import photo_bytes, write_parquet, write_tar


def listed(path, column=None):
    return list_shard(found_at(str(path)), column)


def members_of(path):
    """Names within, and the bytes that the listing points at, in their order."""
    listing = listed(path)
    assert listing.unread is None
    assert {(item.shard, item.state) for item in listing.photos} <= {
        (str(path), listing.shard.state)
    }
    within = len(str(path)) + 1
    return [(each.path[within:], read_range(str(path), *each.spot)) for each in listing.photos]


class TestTar:
    def test_members_that_are_named_like_photos_lie_where_the_listing_says(self, tmp_path):
        photos = {
            "z.jpg": photo_bytes(1, "JPEG"), "below/b.PNG": photo_bytes(2),
            "d/" * 80 + "long.png": photo_bytes(3), "\udcff\n.png": photo_bytes(4),
        }  # fmt: skip
        other = {"a.json": b"{}", "a.cls": b"3"}
        path = write_tar(tmp_path / "s.tar", {**other, **photos})
        assert members_of(path) == list(photos.items())

    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_every_form_of_header(self, tmp_path, form):
        name = "é" * 40 + ".png"
        with tarfile.open(tmp_path / "s.tar", "w", format=form) as tar:
            header = tarfile.TarInfo(name)
            header.size = 3
            tar.addfile(header, io.BytesIO(b"abc"))
        assert members_of(tmp_path / "s.tar") == [(name, b"abc")]

    def test_names_as_tar_writes_them_of_the_folder_itself(self, tmp_path):
        pairs = [("./a.png", b"1"), ("/b.png", b"2"), ("../c.png", b"3"), ("x/../d.png", b"4")]
        path = write_tar(tmp_path / "s.tar", pairs)
        assert members_of(path) == [("a.png", b"1"), ("b.png", b"2"), ("d.png", b"4")]
        assert listed(path).outside == ("../c.png",)

    def test_of_two_members_of_a_name_the_last_counts(self, tmp_path):
        pairs = [("a.png", b"first"), ("b.png", b"other"), ("a.png", b"second")]
        path = write_tar(tmp_path / "s.tar", pairs)
        assert members_of(path) == [("b.png", b"other"), ("a.png", b"second")]

    def test_links_and_folders_are_no_photos(self, tmp_path):
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE):
                header = tarfile.TarInfo("a.png")
                header.type, header.linkname = kind, "/etc/hostname"
                tar.addfile(header)
        assert members_of(tmp_path / "s.tar") == []

    def test_what_is_damaged_compressed_or_gone_is_told(self, tmp_path):
        whole = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(9)})
        (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:2000])
        (tmp_path / "empty.tar").write_bytes(b"")
        with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("a.png"))
        for name in ("cut.tar", "empty.tar", "packed.tar"):
            assert "no plain tar, or damaged" in (listed(tmp_path / name).unread or "")
        found = found_at(str(whole))
        whole.unlink()
        assert list_shard(found).unread == "no such file or directory"


class TestParquet:
    STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

    @pytest.mark.parametrize(
        ("columns", "expected"),
        [
            ({"n": [1, 2], "image": [b"a", b"b"]}, "image"),
            ({"anything": [b"a", b"b"], "url": ["x", "y"]}, "anything"),
            ({"thumb": [b"a", b"b"], "image": [b"a", b"b"]}, "image"),
            ({"n": [1, 2], "image_url": ["x", "y"], "caption": ["p", "q"]}, "image_url"),
            ({"photo": pa.array([{"bytes": b"a"}, None], STRUCT)}, "photo"),
        ],
    )
    def test_the_column_of_photos_is_found(self, tmp_path, columns, expected):
        path = write_parquet(tmp_path / "p.parquet", columns)
        first, second = listed(path).photos
        assert (first.column, first.path, first.spot) == (expected, f"{path}/0", (0, 0))
        assert (second.path, second.spot, second.shard) == (f"{path}/1", (1, 0), str(path))
        assert second.state == found_at(str(path)).state

    def test_a_column_may_be_named(self, tmp_path):
        path = write_parquet(tmp_path / "p.parquet", {"image": [b"a"], "other": ["b"], "n": [1]})
        assert listed(path, "other").photos[0].column == "other"
        assert "it has image, other, n" in (listed(path, "none").unread or "")
        assert "no column 'n' of images" in (listed(path, "n").unread or "")

    def test_where_nothing_or_several_look_like_photos_it_says_so(self, tmp_path):
        path = write_parquet(tmp_path / "p.parquet", {"n": [1], "title": ["x"]})
        assert "--image-column: n, title" in (listed(path).unread or "")
        two = write_parquet(tmp_path / "q.parquet", {"front": [b"a"], "back": [b"b"], "url": ["x"]})
        assert "--image-column: front, back, url" in (listed(two).unread or "")

    def test_what_is_damaged_is_told(self, tmp_path):
        (tmp_path / "p.parquet").write_bytes(b"PAR1 and then nothing")
        assert listed(tmp_path / "p.parquet").unread == "no Parquet file, or damaged"

    def test_without_its_package(self, tmp_path, monkeypatch):
        path = write_parquet(tmp_path / "p.parquet", {"image": [b"a"]})
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        assert "pip install pyarrow" in (listed(path).unread or "")

    @given(count=st.integers(0, 90), group=st.integers(1, 40), data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_any_rows_of_any_row_groups(self, tmp_path_factory, count, group, data):
        path = tmp_path_factory.getbasetemp() / "property.parquet"
        contents = [None if row % 7 == 3 else str(row).encode() for row in range(count)]
        write_parquet(path, {"image": pa.array(contents, pa.binary())}, row_group_size=group)
        rows = sorted(data.draw(st.sets(st.integers(0, count - 1))) if count else ())
        assert list(cells(str(path), "image", rows)) == [(row, contents[row]) for row in rows]


class TestDamagedHeaders:
    """A tar whose later header is damaged or cut, as half a download is, is not whole."""

    @pytest.fixture
    def tar(self, tmp_path):
        return write_tar(tmp_path / "a.tar", {f"{n}.jpg": photo_bytes(n) for n in range(4)})

    def second_header(self, tar):
        start, length = listed(tar).photos[0].spot
        return start + -(-length // 512) * 512

    def test_a_bit_of_a_header(self, tar):
        content = bytearray(tar.read_bytes())
        content[self.second_header(tar) + 150] ^= 1
        tar.write_bytes(content)
        assert listed(tar).unread.startswith("no plain tar, or damaged")

    def test_cut_within_a_header(self, tar):
        os.truncate(tar, self.second_header(tar) + 100)
        assert listed(tar).unread.startswith("no plain tar, or damaged")

    def test_without_an_end_mark_it_is_whole(self, tar):
        os.truncate(tar, self.second_header(tar))
        assert [item.path for item in listed(tar).photos] == [f"{tar}/0.jpg"]
