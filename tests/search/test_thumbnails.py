"""Thumbnails of real files: size, uprightness, and what a distorted way to them could spoil."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw

from msedge.errors import ConfigError, DataError
from msedge.search.gallery_file import Photo
from msedge.search.thumbnails import THUMBNAIL_SIDE, thumbnail


def photo(path, size):
    status = path.stat()
    return Photo(1, path, status.st_size, status.st_mtime_ns, "0" * 64, *size, 0.0)


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
