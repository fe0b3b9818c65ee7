"""What identifies files and objects, how they are named, and their bytes."""

from __future__ import annotations

import datetime
import os

import pytest

from msedge.search.sources.objects import (
    Item,
    found_at,
    found_of,
    local_or_remote,
    read_at_most,
    read_range,
    shard_of,
    why,
)
from shard_files import write_tar

NOON = datetime.datetime(2020, 2, 3, 12, 0, tzinfo=datetime.UTC)
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        ("/photos/a", "/photos/a"),
        ("photos", "photos"),
        ("file:///photos/a", "/photos/a"),
        ("local:///photos/a", "/photos/a"),
        ("s3://bucket/a/", "s3:/bucket/a"),
        ("https://host:8000/a/b.tar", "https:/host:8000/a/b.tar"),
    ],
)
def test_how_a_gallery_writes_sources(named, kept):
    assert local_or_remote(named) == kept


def test_which_shard_a_photo_lies_in(tmp_path):
    tar = write_tar(tmp_path / "x.tar" / "s.tar", {})
    assert shard_of(tar / "d" / "a.png") == (str(tar), "d/a.png")  # `x.tar` is a folder
    assert shard_of(tmp_path / "x.tar" / "a.png") is None
    assert shard_of(tar) is None
    assert shard_of(tmp_path.__class__("s3:/b/p.parquet/7")) == ("s3:/b/p.parquet", "7")


class TestIdentity:
    @pytest.mark.parametrize(
        "info",
        [
            {"LastModified": NOON},
            {"mtime": NOON.timestamp()},
            {"updated": "2020-02-03T12:00:00Z"},
            {"Last-Modified": "Mon, 03 Feb 2020 12:00:00 GMT"},
            {"mtime": "never", "created": NOON},
        ],
    )
    def test_times_of_all_kinds(self, info):
        assert found_of("s3:/b/k", {"size": 7, **info}).state == (7, int(NOON.timestamp()) * SECOND)

    def test_the_tag_tells_two_writes_within_a_second_apart(self):
        first, second, again = (
            found_of("s3:/b/k", {"size": 7, "LastModified": NOON, "ETag": tag}) for tag in "aba"
        )
        assert first.mtime_ns != second.mtime_ns
        assert first.mtime_ns // SECOND == second.mtime_ns // SECOND == int(NOON.timestamp())
        assert first == again
        exact = NOON.replace(microsecond=5)
        assert found_of("s3:/b/k", {"mtime": exact, "ETag": "a"}).mtime_ns % SECOND == 5_000

    def test_a_tag_without_a_time(self):
        assert 0 < found_of("s3:/b/k", {"size": 7, "ETag": "a"}).mtime_ns < SECOND
        assert found_of("s3:/b/k", {"size": 7, "Last-Modified": "never"}).mtime_ns == 0

    def test_a_file_has_what_the_system_says_as_far_as_galleries_hold_it(self, tmp_path):
        (tmp_path / "a").write_bytes(b"123")
        os.utime(tmp_path / "a", ns=(5, 5))
        assert found_at(str(tmp_path / "a")).state == (3, 5)
        assert Item("/a", 1, 2**70).mtime_ns == 2**63 - 1
        assert Item("/a", 1, -(2**70)).mtime_ns == -(2**63 - 1)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError("s3://b/k"), "no such file or directory"),
        (PermissionError(13, "Permission denied"), "permission denied"),
        (OSError("403: Forbidden"), "403: Forbidden"),
        (ValueError("two\nlines"), "two\\nlines"),
        (TimeoutError(), "the server does not answer in time"),
        (RuntimeError("x" * 999), "x" * 200),
    ],
)
def test_why_a_reading_failed(error, reason):
    assert why(error) == reason


class TestReading:
    @pytest.fixture(params=["file", "memory"])
    def path(self, request, tmp_path, memory):
        (tmp_path / "a").write_bytes(b"0123456789")
        memory.pipe("/reading/a", b"0123456789")
        return str(tmp_path / "a") if request.param == "file" else "memory:/reading/a"

    def test_a_range(self, path):
        assert read_range(path, 3, 4) == b"3456"
        assert read_range(path, 8, 4) == b"89"

    def test_no_more_than_one_byte_beyond_the_limit(self, path):
        assert read_at_most(path, 10) == b"0123456789"
        assert read_at_most(path, 4) == b"01234"
