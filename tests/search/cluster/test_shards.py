from __future__ import annotations

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_runs import photo_bytes, write_tar
from msedge.search.cluster.objects import found_at, read_range
from msedge.search.cluster.parquet_shards import cells
from msedge.search.cluster.shards import list_shard


def listed(path, column=None):
    return list_shard(found_at(str(path)), column)


class TestTar:
    def test_members_that_are_named_like_photos_lie_where_the_listing_says(self, tmp_path):
        long = "d/" * 80 + "long.png"
        members = {
            "a.jpg": photo_bytes(1, "JPEG"), "a.json": b"{}", "a.cls": b"3",
            "below/b.PNG": photo_bytes(2), long: photo_bytes(3), "\udcff\n.png": photo_bytes(4),
        }  # fmt: skip
        listing = listed(write_tar(tmp_path / "s.tar", members))
        assert listing.unread is None
        assert listing.names == ("a.jpg", "below/b.PNG", long, "\udcff\n.png")
        for name, (start, length) in zip(listing.names, listing.spots, strict=True):
            assert read_range(str(tmp_path / "s.tar"), start, length) == members[name]

    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_every_form_of_header(self, tmp_path, form):
        name = "é" * 40 + ".png"
        with tarfile.open(tmp_path / "s.tar", "w", format=form) as tar:
            header = tarfile.TarInfo(name)
            header.size = 3
            tar.addfile(header, io.BytesIO(b"abc"))
        listing = listed(tmp_path / "s.tar")
        assert listing.names == (name,)
        assert read_range(str(tmp_path / "s.tar"), *listing.spots[0]) == b"abc"

    def test_names_as_tar_writes_them_of_the_folder_itself(self, tmp_path):
        pairs = [("./a.png", b"1"), ("/b.png", b"2"), ("../c.png", b"3"), ("x/../d.png", b"4")]
        listing = listed(write_tar(tmp_path / "s.tar", pairs))
        assert listing.names == ("a.png", "b.png", "d.png")

    def test_of_two_members_of_a_name_the_last_counts(self, tmp_path):
        tar = write_tar(tmp_path / "s.tar", [("a.png", b"first"), ("a.png", b"second")])
        listing = listed(tar)
        assert listing.names == ("a.png",)
        assert read_range(str(tar), *listing.spots[0]) == b"second"

    def test_links_and_folders_are_no_photos(self, tmp_path):
        with tarfile.open(tmp_path / "s.tar", "w") as tar:
            for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE):
                header = tarfile.TarInfo("a.png")
                header.type, header.linkname = kind, "/etc/hostname"
                tar.addfile(header)
        assert listed(tmp_path / "s.tar").names == ()

    def test_what_is_damaged_or_compressed_is_told(self, tmp_path):
        whole = write_tar(tmp_path / "s.tar", {f"{n}.png": photo_bytes(n) for n in range(9)})
        (tmp_path / "cut.tar").write_bytes(whole.read_bytes()[:2000])
        (tmp_path / "empty.tar").write_bytes(b"")
        with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("a.png"))
        for name in ("cut.tar", "empty.tar", "packed.tar"):
            assert "no plain tar, or damaged" in (listed(tmp_path / name).unread or "")

    def test_what_is_gone_is_told(self, tmp_path):
        tar = write_tar(tmp_path / "s.tar", {"a.png": b"1"})
        found = found_at(str(tar))
        tar.unlink()
        assert list_shard(found).unread == "no such file or directory"


def write_parquet(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


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
        listing = listed(write_parquet(tmp_path / "p.parquet", columns))
        assert (listing.column, listing.names, listing.unread) == (expected, ("0", "1"), None)
        assert listing.spots == ((0, 0), (1, 0))

    def test_a_column_may_be_named(self, tmp_path):
        path = write_parquet(tmp_path / "p.parquet", {"image": [b"a"], "other": ["b"], "n": [1]})
        assert listed(path, "other").column == "other"
        assert "it has image, other, n" in (listed(path, "none").unread or "")
        assert "no column 'n' of images" in (listed(path, "n").unread or "")

    def test_where_nothing_looks_like_photos_it_says_so(self, tmp_path):
        path = write_parquet(tmp_path / "p.parquet", {"n": [1], "title": ["x"]})
        assert "--image-column: n, title" in (listed(path).unread or "")
        two = write_parquet(tmp_path / "q.parquet", {"front": [b"a"], "back": [b"b"]})
        assert "--image-column: front, back" in (listed(two).unread or "")

    def test_what_is_damaged_is_told(self, tmp_path):
        (tmp_path / "p.parquet").write_bytes(b"PAR1 and then nothing")
        assert listed(tmp_path / "p.parquet").unread == "no Parquet file, or damaged"

    @given(count=st.integers(0, 90), group=st.integers(1, 40), data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_any_rows_of_any_row_groups(self, tmp_path_factory, count, group, data):
        path = tmp_path_factory.getbasetemp() / "property.parquet"
        contents = [None if row % 7 == 3 else str(row).encode() for row in range(count)]
        write_parquet(path, {"image": pa.array(contents, pa.binary())}, row_group_size=group)
        rows = sorted(data.draw(st.sets(st.integers(0, count - 1))) if count else ())
        assert list(cells(str(path), "image", rows)) == [(row, contents[row]) for row in rows]
