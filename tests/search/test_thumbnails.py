"""Thumbnails of real files, upright and undistorted, and a cache that never stands in the way."""

from __future__ import annotations

import io
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageDraw

from msedge.errors import ConfigError, DataError
from msedge.search import thumbnails
from msedge.search.photo import Photo
from msedge.search.thumbnails import THUMBNAIL_SIDE, ThumbnailCache, thumbnail
from shard_files import write_tar


def photo(path, size):
    status = path.stat()
    return Photo(path, status.st_size, status.st_mtime_ns, "0" * 64, *size, 0.0, id=1)


def saved(path, image, **options):
    image.save(path, **options)
    return photo(path, image.size)


def shown(photo, *side):
    with Image.open(io.BytesIO(thumbnail(photo, *side))) as image:
        image.load()
    assert image.format == "JPEG"
    assert image.mode == "RGB"
    assert not image.getexif()
    return image


class TestSize:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((1200, 800), (320, 213)),
            ((800, 1200), (213, 320)),
            ((700, 700), (320, 320)),
            ((320, 100), (320, 100)),
            ((40, 30), (40, 30)),
            ((1, 1), (1, 1)),
            ((3000, 2), (320, 1)),
        ],
    )
    def test_it_fits_a_square_and_is_never_larger(self, tmp_path, size, expected):
        small = shown(saved(tmp_path / "a.png", Image.new("RGB", size, "teal")))
        assert small.size == expected
        assert small.getpixel((0, 0))[2] > small.getpixel((0, 0))[0]

    def test_another_side(self, tmp_path):
        given = saved(tmp_path / "a.jpg", Image.new("RGB", (400, 200)))
        assert shown(given, 100).size == (100, 50)
        assert THUMBNAIL_SIDE == 320

    def test_no_side(self, tmp_path):
        given = saved(tmp_path / "a.jpg", Image.new("RGB", (4, 4)))
        with pytest.raises(ConfigError, match="at least 1 pixel"):
            thumbnail(given, 0)


class TestPixels:
    @pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff", "bmp", "gif"])
    def test_it_looks_like_pillow_s_own(self, tmp_path, kind):
        scene = Image.new("RGB", (1600, 1000), "white")
        pen = ImageDraw.Draw(scene)
        for number, colour in enumerate(("red", "green", "blue", "orange")):
            pen.ellipse((100 + 350 * number, 200, 400 + 350 * number, 800), colour, "black", 12)
        path = tmp_path / f"a.{kind}"
        scene.save(path)
        with Image.open(path) as image:
            reference = image.convert("RGB").resize((320, 200), Image.Resampling.BICUBIC)
        ours = np.asarray(shown(photo(path, scene.size)), float)
        assert np.abs(ours - np.asarray(reference, float)).mean() < 3

    def test_upright(self, tmp_path):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        lying = Image.new("RGB", (800, 400), "blue")
        lying.paste("red", (0, 0, 400, 400))
        lying.save(tmp_path / "a.jpg", exif=exif)
        small = shown(photo(tmp_path / "a.jpg", (400, 800)))
        assert small.size == (160, 320)
        assert small.getpixel((80, 40))[0] > 200
        assert small.getpixel((80, 280))[2] > 200

    def test_transparency_is_on_white(self, tmp_path):
        given = saved(tmp_path / "a.png", Image.new("RGBA", (50, 50), (0, 0, 0, 0)))
        assert min(shown(given).getpixel((25, 25))) > 250

    def test_large_jpegs_are_decoded_small(self, tmp_path, monkeypatch):
        given = saved(tmp_path / "a.jpg", Image.new("RGB", (4000, 3000), "olive"))
        from PIL import JpegImagePlugin

        asked, draft = [], JpegImagePlugin.JpegImageFile.draft

        def noted(image, mode, size):
            asked.append(size)
            return draft(image, mode, size)

        monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "draft", noted)
        assert shown(given).size == (320, 240)
        assert asked == [(320, 320)]

    def test_within_a_tar(self, tmp_path):
        given = saved(tmp_path / "a.png", Image.new("RGB", (400, 200), "teal"))
        tar = write_tar(tmp_path / "s.tar", {"b.png": given.path.read_bytes()})
        within = replace(given, path=tar / "b.png")
        assert thumbnail(within) == thumbnail(given)


class TestErrors:
    def test_gone(self, tmp_path):
        given = saved(tmp_path / "a.jpg", Image.new("RGB", (4, 4)))
        given.path.unlink()
        with pytest.raises(DataError, match="no such file"):
            thumbnail(given)

    def test_no_image(self, tmp_path):
        path = tmp_path / os.fsdecode(b"\xff\n.jpg")
        path.write_bytes(b"no image")
        with pytest.raises(DataError) as told:
            thumbnail(photo(path, (10, 10)))
        assert str(told.value).isprintable()


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
        monkeypatch.setattr(thumbnails.time, "time", lambda: now)
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
        program = "from msedge.search.thumbnails import ThumbnailCache\n" + program
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
        monkeypatch.setattr(thumbnails, "_PATIENCE", 0.05)
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
