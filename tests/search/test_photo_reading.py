from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest
from PIL import ExifTags

from msedge.data.images import read_pixels
from msedge.search import photo_reading
from msedge.search.folders import walk_folders
from msedge.search.photo_reading import ReadPhoto, Unreadable, read_photo
from photo_files import write_photo


def read(path, *, known=False):
    (file,) = walk_folders([path]).files
    return read_photo(file, 16, lambda _: known)


class TestReading:
    def test_hash_pixels_and_size(self, tmp_path):
        path = write_photo(tmp_path / "a.png", 1, size=(40, 30))
        photo = read(path)
        assert isinstance(photo, ReadPhoto)
        assert photo.content_hash == hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest()
        assert (photo.look.width, photo.look.height, photo.look.taken) == (40, 30, None)
        np.testing.assert_array_equal(photo.look.pixels, read_pixels(path, 16))

    def test_the_size_is_the_files_though_less_of_it_is_decoded(self, tmp_path):
        photo = read(write_photo(tmp_path / "a.jpg", size=(801, 603)))
        assert (photo.look.width, photo.look.height) == (801, 603)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_the_size_is_that_of_the_picture_held_upright(self, tmp_path, orientation):
        photo = read(write_photo(tmp_path / "a.jpg", size=(40, 30), orientation=orientation))
        size = (40, 30) if orientation < 5 else (30, 40)
        assert (photo.look.width, photo.look.height) == size

    @pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".bmp", ".tif"])
    def test_other_formats(self, tmp_path, suffix):
        photo = read(write_photo(tmp_path / f"a{suffix}", size=(40, 30)))
        assert (photo.look.width, photo.look.height) == (40, 30)

    def test_heic(self, tmp_path):
        pytest.importorskip("pillow_heif").register_heif_opener()
        path = write_photo(tmp_path / "a.heic", size=(64, 48), date="2020:01:31 10:00:00")
        photo = read(path)
        assert (photo.look.width, photo.look.height) == (64, 48)
        assert photo.look.taken == 1_580_464_800.0

    def test_known_content_is_not_decoded(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_bytes(b"no photo")
        assert read(path, known=True).look is None


class TestDates:
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
    def test_the_cameras_clock_is_read_as_utc(self, tmp_path, suffix):
        path = write_photo(tmp_path / f"a{suffix}", date="2020:01:31 10:00:00")
        assert read(path).look.taken == 1_580_464_800.0  # date -u -d 2020-01-31T10:00:00 +%s

    def test_the_date_of_a_scan(self, tmp_path):
        tags = {ExifTags.IFD.Exif: {ExifTags.Base.DateTimeOriginal: "2020:01:31 10:00:00"}}
        path = write_photo(tmp_path / "a.tif", tiffinfo=tags)
        assert read(path).look.taken == 1_580_464_800.0

    @pytest.mark.parametrize(
        "date",
        ["0000:00:00 00:00:00", "    :  :     :  :  ", "2020:02:30 10:00:00", "", "yesterday"],
    )
    def test_a_clock_that_was_not_set_says_nothing(self, tmp_path, date):
        assert read(write_photo(tmp_path / "a.jpg", date=date)).look.taken is None

    def test_a_date_of_before_1970(self, tmp_path):
        photo = read(write_photo(tmp_path / "a.jpg", date="1969:12:31 23:59:59"))
        assert photo.look.taken == -1.0


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [(b"", "content is not a"), (b"hello", "content is not a"), (b"\xff\xd8\xff\xe0", "")],
    )
    def test_damage(self, tmp_path, content, reason):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        found = read(path)
        assert isinstance(found, Unreadable)
        assert found.is_damaged
        assert reason in found.reason
        assert "cannot read image" not in found.reason

    def test_a_file_that_has_gone_may_be_a_photo(self, tmp_path):
        (file,) = walk_folders([write_photo(tmp_path / "a.jpg")]).files
        os.unlink(file.path)  # noqa: PTH108
        found = read_photo(file, 16, lambda _: False)
        assert (found.reason, found.is_damaged) == ("no such file", False)

    def test_a_file_too_large_to_be_read_whole(self, tmp_path, monkeypatch):
        monkeypatch.setattr(photo_reading, "MAX_BYTES", 100)
        assert "scale it down" in read(write_photo(tmp_path / "a.jpg")).reason

    def test_too_little_memory(self, tmp_path, monkeypatch):
        def fail(*_, **__):
            raise MemoryError

        monkeypatch.setattr(photo_reading, "read_picture", fail)
        found = read(write_photo(tmp_path / "a.jpg"))
        assert ("memory" in found.reason, found.is_damaged) == (True, False)
