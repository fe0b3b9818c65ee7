"""Pixels are compared with what Pillow or arithmetic says of images that the tests write."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hostile_formats import png
from msedge.data.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    PHOTO_SUFFIXES,
    is_image_name,
    open_image,
    open_image_bytes,
    picture_size,
    read_picture,
    read_pixels,
    resized,
)
from msedge.errors import DataError
from pictures import BLUE, RED, WHITE, as_heic, halves

# smoke


@pytest.mark.parametrize("size", [None, 20])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO", "HEIC"])
def test_opens_each_format(tmp_path: Path, kind: str, size: int | None) -> None:
    path = tmp_path / "a.picture"
    if kind == "HEIC":
        path.write_bytes(as_heic(halves(RED, BLUE)))
    else:
        halves(RED, BLUE).save(path, format=kind, quality=95)
    for image in (
        open_image(path, size=size),
        open_image_bytes(path.read_bytes(), "it", size=size),
    ):
        assert (image.mode, image.size) == ("RGB", (size, size) if size else (40, 20))
        width = image.size[0]
        np.testing.assert_allclose(image.getpixel((width // 8, 10)), RED, atol=10)
        np.testing.assert_allclose(image.getpixel((width * 7 // 8, 10)), BLUE, atol=10)


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    halves(RED, BLUE).save(path, format="PNG")
    assert open_image(path).getpixel((0, 0)) == RED


def test_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    halves(RED, BLUE).save(path)
    before = len(list(Path("/dev/fd").iterdir()))
    kept = [open_image(path) for _ in range(5)]
    assert len(list(Path("/dev/fd").iterdir())) == before
    assert len(kept) == 5


# cardinality


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 150),
    height=st.integers(1, 150),
    size=st.integers(1, 64),
    kind=st.sampled_from(["JPEG", "PNG"]),
)
def test_pixels_have_the_asked_shape(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, size: int, kind: str
) -> None:
    path = tmp_path_factory.mktemp("shape") / "a.jpg"
    Image.new("RGB", (width, height), BLUE).save(path, format=kind)
    pixels = read_pixels(path, size)
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_allclose(pixels.mean(axis=(1, 2)), BLUE, atol=4)


@pytest.mark.parametrize(
    ("name", "counts"),
    [("a.jpg", True), ("a.JPEG", True), (".a.png", False), ("a.gif", False), ("jpg", False)],
)
def test_image_names(name: str, counts: bool) -> None:
    assert is_image_name(name) is counts
    assert {".jpg", ".jpeg", ".png", ".webp"} == IMAGE_SUFFIXES
    assert IMAGE_SUFFIXES < PHOTO_SUFFIXES
    assert {".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif"} < PHOTO_SUFFIXES


# numbers


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_becomes_white(tmp_path: Path, mode: str) -> None:
    clear_then_black = halves((0, 0, 0, 0), (0, 0, 0, 255), "RGBA")
    path = tmp_path / "a.png"
    (clear_then_black.quantize() if mode == "P" else clear_then_black.convert(mode)).save(path)
    with Image.open(path) as stored:
        assert stored.mode == mode
    image = open_image(path)
    assert (image.getpixel((5, 10)), image.getpixel((35, 10))) == (WHITE, (0, 0, 0))


def test_half_transparency_is_blended(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(path)
    np.testing.assert_allclose(open_image(path).getpixel((0, 0)), (255, 127, 127), atol=1)


def test_palette_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    halves(RED, BLUE).quantize(4).save(path)
    assert open_image(path).getpixel((35, 10)) == BLUE


def test_colour_key_of_a_grey_png(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    halves((7,), (90,), "L").save(path, transparency=7)
    assert open_image(path).getpixel((5, 10)) == WHITE
    assert open_image(path).getpixel((35, 10)) == (90, 90, 90)


def test_one_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    halves((0,), (255,), "L").convert("1").save(path)
    assert open_image(path).getpixel((35, 10)) == WHITE


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    steps = np.arange(256, dtype=np.uint16) * 257
    Image.fromarray(np.tile(steps, (2, 1))).save(path)
    np.testing.assert_array_equal(np.asarray(open_image(path))[0, :, 0], np.arange(256))


@pytest.mark.parametrize(("levels", "expected"), [((0, 1), 255), ((0, 90), 90)])
def test_floating_point_grey(tmp_path: Path, levels: tuple[int, int], expected: int) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.tile(np.array(levels, np.float32), (2, 1))).save(path)
    np.testing.assert_array_equal(np.asarray(open_image(path))[0, :, 0], [0, expected])


def test_cmyk(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    halves(RED, BLUE).convert("CMYK").save(path, quality=95)
    np.testing.assert_allclose(open_image(path).getpixel((5, 10)), RED, atol=10)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, 30])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_undone(
    tmp_path: Path, orientation: int, size: int | None, kind: str
) -> None:
    upright = Image.new("RGB", (48, 32), WHITE)
    upright.paste(RED, (0, 0, 24, 16))  # top left
    upright.paste(BLUE, (24, 16, 48, 32))  # bottom right
    stored_as = {  # what a camera stores that notes this orientation (the inverse of reading)
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(stored_as[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.jpg"
    stored.save(path, format=kind, exif=exif, quality=95)
    image = open_image(path, size=size)
    width, height = (48, 32) if size is None else (size, size)
    assert image.size == (width, height)
    np.testing.assert_allclose(image.getpixel((width // 4, height // 4)), RED, atol=12)
    np.testing.assert_allclose(image.getpixel((3 * width // 4, 3 * height // 4)), BLUE, atol=12)
    assert "exif" not in image.info
    assert dict(image.getexif()) == {}


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((400, 300), (224, 160)),
        ((300, 400), (160, 224)),
        ((900, 30), (384, 96)),
        ((9, 9), (192,) * 2),
    ],
)
def test_a_shape_is_kept(tmp_path: Path, orientation: int, size: Any, shape: Any) -> None:
    """Its halves stay where they are, nothing is cut off, and the sides are multiples of 32."""
    upright = Image.new("RGB", size, RED)
    upright.paste(BLUE, (size[0] // 3, 0, *size))
    stored = upright.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    pixels = read_pixels(tmp_path / "a.png", 192, keep_shape=True)
    assert pixels.shape == (3, *shape[::-1])
    assert (pixels[0, 0] > pixels[2, 0]).sum() == pytest.approx(shape[0] / 3, abs=2 + shape[0] / 9)
    smaller = resized(pixels, 96)
    assert smaller.shape[1] <= pixels.shape[1]
    assert smaller.shape[1] % 32 == 0
    assert (smaller[0, 0, 0], smaller[2, 0, -1]) == (RED[0], BLUE[2])


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_heic_is_upright(tmp_path: Path, orientation: int) -> None:
    upright = Image.new("RGB", (64, 48), WHITE)
    upright.paste(RED, (0, 0, 32, 24))
    turns = {1: 0, 3: 180, 6: 90, 8: 270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.heic"
    path.write_bytes(as_heic(upright.rotate(turns, expand=True), exif=exif.tobytes()))
    image = open_image(path)
    assert image.size == (64, 48)
    np.testing.assert_allclose(image.getpixel((12, 10)), RED, atol=12)
    np.testing.assert_allclose(image.getpixel((50, 40)), WHITE, atol=12)
    assert "exif" not in image.info


@pytest.mark.parametrize("settings", [{}, {"dpi": (72, 72)}])  # Pillow reads them apart
def test_a_damaged_exif_block_is_passed_over(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = tmp_path / "a.jpg"
    broken = b"Exif\0\0not a directory of tags"
    halves(RED, BLUE).save(path, format="JPEG", exif=broken, quality=95, **settings)
    image = open_image(path)
    assert image.size == halves(RED, BLUE).size
    np.testing.assert_allclose(image.getpixel((1, 1)), RED, atol=12)


@pytest.mark.parametrize(
    ("width", "height", "decoded"),
    [(800, 800, (100, 100)), (799, 800, (200, 200)), (1600, 210, (800, 105)), (99, 500, (99, 500))],
)
def test_a_jpeg_is_decoded_small_but_never_too_small(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    width: int,
    height: int,
    decoded: tuple[int, int],
) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (width, height), BLUE).save(path)
    loaded: list[tuple[int, int]] = []
    load = JpegImageFile.load

    def note_size(image: JpegImageFile) -> object:
        loaded.append(image.size)
        return load(image)

    monkeypatch.setattr(JpegImageFile, "load", note_size)
    assert open_image(path, size=100).size == (100, 100)
    assert loaded[0] == decoded


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_resize_agrees_with_resizing_the_whole(tmp_path: Path, kind: str) -> None:
    """The JPEG decoder's own scaling must not cost sharpness: within 2 grey levels of Pillow."""
    rows, columns = np.mgrid[0:900, 0:1300]
    waves = 127 + 60 * np.sin(rows / 40) + 60 * np.cos(columns / 55)
    original = Image.fromarray(waves.astype(np.uint8)).convert("RGB")
    path = tmp_path / "a.jpg"
    if kind == "MPO":  # what telephones write: a JPEG with a second picture behind it
        original.save(path, format="MPO", save_all=True, append_images=[original], quality=95)
    else:
        original.save(path, quality=95)
    expected = np.asarray(original.resize((224, 224), Image.Resampling.BICUBIC), dtype=float)
    difference = np.abs(np.asarray(open_image(path, size=224), dtype=float) - expected)
    assert difference.mean() < 2


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "PNG"])
def test_first_frame_of_an_animation(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.picture"
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    first.save(path, format=kind, save_all=True, append_images=[second], lossless=True)
    assert open_image(path).getpixel((4, 4)) == RED


def test_the_limit_itself_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_PIXELS == 64_000_000
    path = tmp_path / "a.png"
    halves(RED, BLUE).save(path)
    monkeypatch.setattr("msedge.data.images.MAX_PIXELS", 40 * 20)
    assert open_image(path).size == (40, 20)
    monkeypatch.setattr("msedge.data.images.MAX_PIXELS", 40 * 20 - 1)
    with pytest.raises(DataError, match="40 x 20 pixels are more than"):
        open_image(path)


# what else a picture says


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIC"])
def test_a_size_is_told_by_the_header_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = BytesIO()
    if kind == "HEIC":
        stream.write(as_heic(halves(RED, BLUE)))
    else:
        halves(RED, BLUE).save(stream, format=kind)
    monkeypatch.setattr(Image.Image, "load", None)
    assert picture_size(stream.getvalue(), "it") == (40, 20)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "its content is not a JPEG"),
        (b"\xff\xd8" + b"\xff" * 70_000, "more than 65,536 bytes between its segments"),
        (png(8_001, 8_000, pixels=b""), "8001 x 8000 pixels are more than 64 Mpx"),
        (png(100_001, 1, pixels=b""), "have a side of more than 100,000"),
    ],
)
def test_a_size_beyond_a_limit_is_refused_by_both_readers(content: bytes, reason: str) -> None:
    for read in (picture_size, read_picture):
        with pytest.raises(DataError, match=f"^cannot read image the upload: .*{reason}"):
            read(content, "the upload")


def test_a_picture_tells_its_upright_size_and_the_camera_s_date() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:02 03:04:05"
    stream = BytesIO()
    halves(RED, BLUE).save(stream, "JPEG", exif=exif)
    picture = read_picture(stream.getvalue(), "it", size=8)
    assert (picture.width, picture.height) == (20, 40)
    assert picture.taken == "2020:01:02 03:04:05"
    assert picture_size(stream.getvalue(), "it") == (40, 20)


def test_damaged_metadata_says_nothing_and_the_picture_shows() -> None:
    stream = BytesIO()
    halves(RED, BLUE).save(stream, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x69\x87\4\0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = read_picture(stream.getvalue(), "it")
    assert (picture.taken, picture.image.size) == (None, (40, 20))
