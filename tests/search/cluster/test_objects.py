from __future__ import annotations

import datetime

import fsspec
import pytest

from msedge.search.cluster.objects import (
    found_at,
    found_of,
    local_or_remote,
    objects_below,
    read_at_most,
    read_range,
)

NOON = datetime.datetime(2020, 2, 3, 12, 0, tzinfo=datetime.UTC)
SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("named", "kept"),
    [
        ("/photos/a", "/photos/a"),
        ("photos", "photos"),
        ("file:///photos/a", "/photos/a"),
        ("s3://bucket/a/", "s3:/bucket/a"),
        ("https://host:8000/a/b.tar", "https:/host:8000/a/b.tar"),
    ],
)
def test_how_a_gallery_writes_sources(named, kept):
    assert local_or_remote(named) == kept


class TestIdentity:
    @pytest.mark.parametrize(
        "info",
        [
            {"LastModified": NOON},
            {"mtime": NOON.timestamp()},
            {"updated": "2020-02-03T12:00:00Z"},
            {"Last-Modified": "Mon, 03 Feb 2020 12:00:00 GMT"},
        ],
    )
    def test_times_of_all_kinds(self, info):
        found = found_of("s3:/b/k", {"size": 7, **info})
        assert (found.size, found.mtime_ns) == (7, int(NOON.timestamp()) * SECOND)

    def test_the_tag_tells_two_writes_within_a_second_apart(self):
        first = found_of("s3:/b/k", {"size": 7, "LastModified": NOON, "ETag": '"a"'})
        second = found_of("s3:/b/k", {"size": 7, "LastModified": NOON, "ETag": '"b"'})
        assert first.mtime_ns != second.mtime_ns
        assert first.mtime_ns // SECOND == second.mtime_ns // SECOND == int(NOON.timestamp())
        assert first == found_of("s3:/b/k", {"size": 7, "LastModified": NOON, "ETag": '"a"'})

    def test_a_tag_without_a_time(self):
        assert 0 < found_of("s3:/b/k", {"size": 7, "ETag": "a"}).mtime_ns < SECOND
        assert found_of("s3:/b/k", {"size": 7, "Last-Modified": "never"}).mtime_ns == 0

    def test_a_file_has_what_the_system_says(self, tmp_path):
        (tmp_path / "a").write_bytes(b"123")
        status = (tmp_path / "a").stat()
        found = found_at(str(tmp_path / "a"))
        assert (found.size, found.mtime_ns) == (3, status.st_mtime_ns)


class TestReading:
    @pytest.fixture(params=["file", "memory"])
    def path(self, request, tmp_path):
        if request.param == "file":
            (tmp_path / "a").write_bytes(b"0123456789")
            yield str(tmp_path / "a")
            return
        system = fsspec.filesystem("memory")
        system.pipe("/reading/a", b"0123456789")
        yield "memory:/reading/a"
        system.store.clear()

    def test_a_range(self, path):
        assert read_range(path, 3, 4) == b"3456"
        assert read_range(path, 8, 4) == b"89"

    def test_no_more_than_one_byte_beyond_the_limit(self, path):
        assert read_at_most(path, 10) == b"0123456789"
        assert read_at_most(path, 4) == b"01234"


def test_names_that_a_path_cannot_hold_are_told_apart():
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name in ("/odd/a.png", "/odd//b.png", "/odd/./c.png"):
        system.store[name] = fsspec.implementations.memory.MemoryFile(system, name, b"1")
    below, odd = objects_below("memory:/odd")
    assert list(below) == ["memory:/odd/a.png"]
    assert sorted(odd) == ["memory://odd/./c.png", "memory://odd//b.png"]
    system.store.clear()
