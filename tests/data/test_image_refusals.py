"""Images that cannot be read: what is said of each, and that nothing else ever happens."""

from __future__ import annotations

import os
import struct
import sys
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from msedge.data.images import (
    open_image,
    open_image_bytes,
)
from msedge.errors import ConfigError, DataError
from pictures import BLUE, RED, as_heic, halves


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def truncated(kind: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, format=kind)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def nothing(path: Path) -> None:
    assert not path.exists()


def claiming(kind: str, width: int, height: int) -> Callable[[Path], None]:
    """A small file whose header claims the size."""

    def write(path: Path) -> None:
        Image.new("L", (8, 8)).save(path, format=kind)
        content = bytearray(path.read_bytes())
        if kind == "GIF":
            content[6:10] = struct.pack("<HH", width, height)
        elif kind == "BMP":
            content[18:26] = struct.pack("<ii", width, height)
        else:  # TIFF: tags 256 and 257 of the first directory
            directory = struct.unpack_from("<I", content, 4)[0]
            for place in range(directory + 2, len(content) - 11, 12):
                tag = struct.unpack_from("<H", content, place)[0]
                if tag in (256, 257):
                    claimed = width if tag == 256 else height
                    content[place + 2 : place + 12] = struct.pack("<HII", 4, 1, claimed)
                if tag > 257:
                    break
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("write", "cause"),
    [
        pytest.param(truncated("JPEG"), "truncated", id="truncated jpeg"),
        pytest.param(truncated("PNG"), "truncated", id="truncated png"),
        pytest.param(truncated("WEBP"), "", id="truncated webp"),
        pytest.param(
            lambda path: path.write_text("hello"), "not a JPEG, PNG, WebP, GIF", id="text"
        ),
        pytest.param(lambda path: path.write_bytes(b""), "not a JPEG, PNG, WebP, GIF", id="empty"),
        pytest.param(truncated("TIFF"), "", id="truncated tiff"),
        pytest.param(truncated("BMP"), "truncated", id="truncated bmp"),
        pytest.param(truncated("GIF"), "", id="truncated gif"),
        pytest.param(claiming("GIF", 9000, 8000), "more than 64 Mpx", id="large gif"),
        pytest.param(claiming("BMP", 9000, 8000), "more than 64 Mpx", id="large bmp"),
        pytest.param(claiming("TIFF", 9000, 8000), "more than 64 Mpx", id="large tiff"),
        pytest.param(lambda path: path.write_bytes(b"%!PS-Adobe"), "not a JPEG", id="postscript"),
        pytest.param(nothing, "no such file", id="missing"),
        pytest.param(lambda path: path.mkdir(), "not a regular file", id="folder"),
        pytest.param(os.mkfifo, "not a regular file", id="pipe"),
        pytest.param(
            lambda path: path.write_bytes(png_header(9000, 8000)), "more than 64 Mpx", id="large"
        ),
        pytest.param(lambda path: path.write_bytes(png_header(90000, 80000)), "bomb", id="bomb"),
        pytest.param(lambda path: path.write_bytes(png_header(0, 5)), "", id="no width"),
    ],
)
@pytest.mark.parametrize("size", [None, 16])
def test_failures_name_the_file_in_one_line(
    tmp_path: Path, write: Callable[[Path], None], cause: str, size: int | None
) -> None:
    path = tmp_path / "picture.jpg"
    write(path)
    with pytest.raises(DataError) as caught:
        open_image(path, size=size)
    message = str(caught.value)
    assert str(path) in message
    assert cause in message
    assert "\n" not in message
    assert "0x" not in message  # no addresses of Python objects


def test_a_large_heic_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(as_heic(halves(RED, BLUE)))
    monkeypatch.setattr("msedge.data.images.MAX_PIXELS", 40 * 20 - 1)
    monkeypatch.setattr(Image.Image, "load", nothing)
    with pytest.raises(DataError, match="40 x 20 pixels are more than"):
        open_image(path)


def test_a_damaged_heic(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(as_heic(halves(RED, BLUE))[:200])
    with pytest.raises(DataError, match=r"cannot read image .*a\.heic"):
        open_image(path)


def test_heic_without_its_plug_in_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"a\.heic: HEIC needs .*pip install 'msedge\[heic\]'"):
        open_image(path)


def test_what_is_in_memory_is_called_by_its_name() -> None:
    with pytest.raises(DataError, match="cannot read image the upload: its content is not"):
        open_image_bytes(b"hello", "the upload")
    with pytest.raises(ConfigError, match="at least 1 pixel"):
        open_image_bytes(b"hello", "the upload", size=0)


@settings(max_examples=60, deadline=None)
@given(
    content=st.binary(max_size=60),
    place=st.integers(0, 400),
    kind=st.sampled_from(["GIF", "BMP", "TIFF", "PNG", "WEBP"]),
)
def test_damaged_bytes_end_as_an_image_or_a_data_error(
    content: bytes, place: int, kind: str
) -> None:
    stream = BytesIO()
    halves(RED, BLUE).save(stream, format=kind)
    damaged = bytearray(stream.getvalue())
    damaged[place : place + len(content)] = content
    with suppress(DataError):
        assert open_image_bytes(bytes(damaged), "it", size=8).size == (8, 8)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    halves(RED, BLUE).save(path)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("msedge.data.image_file.os.open", refuse)
    with pytest.raises(DataError, match=r"a\.png: permission denied"):
        open_image(path)


def test_bomb_warning_turned_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    halves(RED, BLUE).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.warns(Image.DecompressionBombWarning):
        open_image(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"a\.png.*bomb"):
            open_image(path)


def test_odd_file_name_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_image(tmp_path / "two\nlines\udcff.png")
    assert r"two\nlines" in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("size", [0, -3])
def test_size_must_be_positive(tmp_path: Path, size: int) -> None:
    with pytest.raises(ConfigError, match="at least 1 pixel"):
        open_image(tmp_path / "a.png", size=size)
