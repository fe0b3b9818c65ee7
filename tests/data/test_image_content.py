"""A record's bytes and pixels against what the one-step readers see."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from msedge.data.image_content import FileState, content_hash, decode, file_state, read_content
from msedge.data.images import read_pixels
from msedge.data.layouts import Record
from msedge.errors import DataError
from pictures import read_framed


@pytest.fixture(params=["JPEG", "PNG", "WEBP", "rotated"])
def photo(request, tmp_path):
    """A drawing on a sheet, larger than what it is read at."""
    image = Image.effect_noise((150, 110), 90).convert("RGB")
    ImageDraw.Draw(image).ellipse((30, 20, 80, 60), fill=(200, 10, 30))
    options = {}
    if request.param == "rotated":
        exif = image.getexif()
        exif[0x0112] = 6
        options["exif"] = exif
    path = tmp_path / "image"
    image.save(path, "JPEG" if request.param == "rotated" else request.param, **options)
    return path


class TestNumbers:
    @pytest.mark.parametrize("size", [1, 32, 97])
    @pytest.mark.parametrize("domain", ["sketch", "photo"])
    def test_pixels_are_bit_for_bit_those_of_the_one_step_readers(self, photo, size, domain):
        record = Record(photo, domain, "cat")
        content = read_content(photo)
        plain = decode(content, record, size=size, frame_sketches=False)
        assert plain.dtype == np.uint8
        assert plain.shape == (size, size, 3)
        assert np.array_equal(plain.transpose(2, 0, 1), read_pixels(photo, size))
        framed = decode(content, record, size=size, frame_sketches=True)
        one_step = read_framed if domain == "sketch" else read_pixels
        assert np.array_equal(framed.transpose(2, 0, 1), one_step(photo, size))

    def test_a_state_is_what_the_system_says(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"seven b")
        os.utime(path, ns=(1, 123_456_789))
        assert file_state(path) == FileState(7, 123_456_789)

    def test_a_hash_tells_contents_apart(self):
        assert len(content_hash(b"a")) == 16
        assert content_hash(b"a") != content_hash(b"b")


class TestExceptions:
    @pytest.mark.parametrize("look", [file_state, read_content])
    def test_what_is_not_a_file(self, tmp_path, look):
        with pytest.raises(DataError, match=r"^cannot read image .*none\.png: no such file$"):
            look(tmp_path / "none.png")
        with pytest.raises(DataError, match=r"^cannot read image .*: it is not a regular file$"):
            look(tmp_path)

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(DataError, match="not a regular file"):
            read_content(tmp_path / "pipe.png")

    @pytest.mark.parametrize("framed", [False, True])
    def test_content_that_is_no_image_is_named(self, tmp_path, framed):
        record = Record(tmp_path / "odd\nname.png", "sketch", "cat")
        with pytest.raises(DataError, match=r"odd\\nname\.png: its content is not a JPEG"):
            decode(b"notes", record, size=8, frame_sketches=framed)
