"""The cache keeps, forgets, and never stands in the way."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msedge.search import thumbnail_cache
from msedge.search.thumbnail_cache import ThumbnailCache


@pytest.fixture
def path(tmp_path):
    return tmp_path / "photos.msedge.thumbnails"


def kept_bytes(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT sum(length(jpeg)) FROM thumbnails").fetchone()[0]


class TestKeeping:
    def test_by_content_and_side(self, path):
        with closing(ThumbnailCache(path)) as cache:
            assert cache.get("a", 320) is None
            cache.put("a", 320, b"small")
            cache.put("a", 640, b"larger")
            cache.put("b", 320, b"other")
            assert [cache.get("a", 320), cache.get("a", 640)] == [b"small", b"larger"]
            assert (cache.get("b", 320), cache.get("b", 640)) == (b"other", None)
            cache.put("a", 320, b"again")
            assert cache.get("a", 320) == b"again"

    def test_it_lasts(self, path):
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"small")
        with closing(ThumbnailCache(path)) as cache:
            assert cache.get("a", 320) == b"small"
        assert [each.name for each in path.parent.iterdir()] == [path.name]  # and leaves no other

    def test_beside_a_gallery(self, tmp_path):
        with closing(ThumbnailCache.beside(tmp_path / "my ?#%.msedge")) as cache:
            cache.put("a", 320, b"small")
            assert (tmp_path / "my ?#%.msedge.thumbnails").is_file()

    def test_two_servers_share_it(self, path):
        with closing(ThumbnailCache(path)) as one, closing(ThumbnailCache(path)) as other:
            one.put("a", 320, b"small")
            assert other.get("a", 320) == b"small"
            other.put("b", 320, b"other")
            assert one.get("b", 320) == b"other"

    def test_threads_share_one(self, path):
        wrong = []
        with closing(ThumbnailCache(path, most_bytes=5_000)) as cache:

            def work(thread):
                for number in range(60):
                    cache.put(f"{thread}-{number}", 320, b"%d" % thread * 50)
                    if cache.get(f"{thread}-{number}", 320) not in (None, b"%d" % thread * 50):
                        wrong.append(thread)

            threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert wrong == []
        assert 0 < kept_bytes(path) <= 5_000


class TestBound:
    def test_what_was_not_used_for_longest_goes(self, path, monkeypatch):
        now = 1_000_000
        monkeypatch.setattr(thumbnail_cache.time, "time", lambda: now)
        with closing(ThumbnailCache(path, most_bytes=1000)) as cache:
            for name in "abcde":
                now += 100_000
                cache.put(name, 320, name.encode() * 200)
            now += 100_000
            assert cache.get("a", 320) == b"a" * 200
            cache.put("f", 320, b"f" * 200)
            kept = [name for name in "abcdef" if cache.get(name, 320)]
        assert kept == ["a", "d", "e", "f"]  # 900 bytes, the share that stays, hold four

    def test_what_is_larger_than_the_cache_is_not_kept(self, path):
        with closing(ThumbnailCache(path, most_bytes=100)) as cache:
            cache.put("a", 320, b"x" * 90)
            cache.put("b", 320, b"x" * 101)
            assert cache.get("a", 320) == b"x" * 90
            assert cache.get("b", 320) is None

    def test_it_counts_what_was_there_before(self, path):
        with closing(ThumbnailCache(path)) as cache:
            for number in range(20):
                cache.put(str(number), 320, b"x" * 100)
        with closing(ThumbnailCache(path, most_bytes=1000)) as cache:
            cache.put("new", 320, b"x" * 100)
            assert cache.get("new", 320) is not None
        assert kept_bytes(path) <= 1000

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60)), max_size=30))
    def test_never_more_than_allowed(self, tmp_path_factory, puts):
        path = tmp_path_factory.mktemp("cache") / "thumbnails"
        with closing(ThumbnailCache(path, most_bytes=100)) as cache:
            for name, size in puts:
                cache.put(name, 320, b"x" * size)
                assert cache.get(name, 320) == b"x" * size
                assert (kept_bytes(path) or 0) <= 100


class TestTrouble:
    def test_deleted_while_it_is_used(self, path):
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"small")
            path.unlink()
            cache.get("a", 320)
            cache.put("b", 320, b"other")
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"new")
            assert cache.get("a", 320) == b"new"

    def test_damaged_before(self, path):
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"x" * 50_000)
        content = bytearray(path.read_bytes())
        content[100:] = b"\xaa" * (len(content) - 100)
        path.write_bytes(content)
        with closing(ThumbnailCache(path)) as cache:
            assert cache.get("a", 320) is None
            cache.put("a", 320, b"new")
            assert cache.get("a", 320) == b"new"

    def test_damaged_while_it_is_used(self, path):
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"x" * 50_000)
            with path.open("r+b") as stream:
                stream.seek(24)
                stream.write(b"\x55\x55\x55\x55")  # the change counter, so that it is read again
                stream.seek(100)
                stream.write(b"\xaa" * 40_000)
            cache.get("a", 320)
            cache.put("b", 320, b"new")
            cache.put("b", 320, b"new")
            assert cache.get("b", 320) == b"new"

    @pytest.mark.parametrize("content", [b"somebody's notes", b"x" * 5000])
    def test_another_s_file_is_left_alone(self, path, content):
        path.write_bytes(content)
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"small")
            assert cache.get("a", 320) is None
        assert path.read_bytes() == content

    def test_another_s_database_is_left_alone(self, path):
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE notes (text)")
        before = path.read_bytes()
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"small")
            assert cache.get("a", 320) is None
        assert path.read_bytes() == before

    def test_no_place_for_it(self, tmp_path):
        (tmp_path / "folder").mkdir()
        for path in (tmp_path / "folder", tmp_path / "none" / "x", tmp_path / ("x" * 300)):
            with closing(ThumbnailCache(path)) as cache:
                cache.put("a", 320, b"small")
                assert cache.get("a", 320) is None

    def test_what_cannot_be_written_is_read(self, path):
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"small")
        path.chmod(0o444)
        path.parent.chmod(0o555)
        program = (
            "import os, sys\n"
            "if os.getuid() == 0: os.setgid(65534), os.setuid(65534)\n"
            "from pathlib import Path\n"
            "cache = ThumbnailCache(Path(sys.argv[1]))\n"
            "cache.put('b', 320, b'other')\n"
            "print(cache.get('a', 320), cache.get('b', 320))\n"
        )
        program = "from msedge.search.thumbnail_cache import ThumbnailCache\n" + program
        open_to_all = [*path.parents][:-2]
        modes = {folder: folder.stat().st_mode for folder in open_to_all}
        try:
            for folder in open_to_all[1:]:
                folder.chmod(0o755)
            done = subprocess.run(
                [sys.executable, "-c", program, str(path)],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
        finally:
            for folder, mode in modes.items():
                folder.chmod(mode)
            path.parent.chmod(0o755)
        assert done.stdout == "b'small' None\n"

    def test_locked_by_another(self, path, monkeypatch):
        monkeypatch.setattr(thumbnail_cache, "_PATIENCE", 0.05)
        with closing(ThumbnailCache(path)) as cache:
            cache.put("a", 320, b"small")
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN EXCLUSIVE")
                begun = time.monotonic()
                cache.put("b", 320, b"other")
                assert cache.get("b", 320) is None
                assert time.monotonic() - begun < 5
                other.execute("ROLLBACK")
            assert cache.get("a", 320) == b"small"
            cache.put("b", 320, b"other")
            assert cache.get("b", 320) == b"other"

    def test_closed(self, path):
        cache = ThumbnailCache(path)
        cache.close()
        cache.close()
        cache.put("a", 320, b"small")
        assert cache.get("a", 320) is None
        assert path.stat().st_size > 0
