"""Any drawing, by what comes out: the same picture, whichever way it came in."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from msedge.data import drawings
from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import open_image
from msedge.data.sketches import FILL, draw_strokes, frame_sketch
from msedge.errors import ConfigError, DataError
from phone_photos import line_drawing, photographed

STROKES = [
    ([0.0, 100.0, 100.0, 0.0, 0.0], [0.0, 0.0, 60.0, 60.0, 0.0]),
    ([0.0, 100.0], [0.0, 60.0]),
]


def house(mode: str = "RGB", ink: object = "black", paper: object = "white") -> Image.Image:
    """A clean drawing: lines of 4 pixels, off the middle of a sheet of 320 x 256."""
    sheet = Image.new(mode, (320, 256), paper)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((40, 90, 200, 230), outline=ink, width=4)
    pen.line((40, 90, 120, 20, 200, 90), fill=ink, width=4)
    return sheet


def stored(image: Image.Image, format_name: str = "PNG") -> bytes:
    stream = BytesIO()
    image.save(stream, format_name)
    return stream.getvalue()


HOUSE = line_drawing((256, 256), line=3).convert("RGB")
FRAMED = frame_sketch(HOUSE)
BOX = [([0, 255, 255, 0, 0], [0, 0, 255, 255, 0]), ([0, 255], [255, 0])]


def alike(one: Image.Image, other: Image.Image) -> float:
    """Correlation of two drawings as a network of 64 pixels sees them, edges blurred."""
    first, second = (
        np.asarray(
            ImageOps.invert(image.convert("L"))
            .resize((64, 64), Image.Resampling.BOX)
            .filter(ImageFilter.GaussianBlur(2)),
            np.float64,
        )
        for image in (one, other)
    )
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def check_framed(framed: Image.Image) -> None:
    """Square, RGB, dark on light, centred, filling its frame."""
    assert framed.mode == "RGB"
    assert framed.size[0] == framed.size[1]
    levels = np.asarray(framed.convert("L"))
    assert levels[0, 0] > 200
    rows, columns = np.nonzero(levels < 128)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    assert extent / len(levels) == pytest.approx(FILL, abs=0.02)
    assert abs(rows.min() + rows.max() + 1 - len(levels)) <= 0.02 * len(levels)
    assert abs(columns.min() + columns.max() + 1 - len(levels)) <= 0.02 * len(levels)


class TestWays:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".jpg", ".webp"])
    def test_a_clean_file_passes_to_the_pixel(self, suffix, tmp_path):
        path = tmp_path / f"house{suffix}"
        house().save(path)
        framed = open_drawing(path)
        check_framed(framed)
        expected = frame_sketch(open_image(path))
        assert framed.size == expected.size
        assert framed.tobytes() == expected.tobytes()

    def test_file_bytes_and_image_are_one(self, tmp_path):
        path = tmp_path / "house.png"
        house().save(path)
        expected = open_drawing(path).tobytes()
        assert open_drawing(path.read_bytes()).tobytes() == expected
        assert open_drawing(house()).tobytes() == expected

    def test_the_content_decides_and_not_the_suffix(self, tmp_path):
        path = tmp_path / "house.svg"
        path.write_bytes(stored(house()))
        assert open_drawing(path).tobytes() == frame_sketch(house()).tobytes()
        path.write_text(json.dumps(STROKES))
        assert open_drawing(path).tobytes() == draw_strokes(STROKES).tobytes()

    @pytest.mark.parametrize(
        ("mode", "ink", "paper"),
        [
            ("1", 0, 1),
            ("L", 0, 255),
            ("LA", (0, 255), (255, 255)),
            ("I;16", 0, 65_535),
            ("F", 0.0, 1.0),
            ("RGBA", (0, 0, 0, 255), (255, 255, 255, 255)),
            ("RGBA", (0, 0, 0, 255), (255, 255, 255, 0)),
            ("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
            ("LA", (0, 255), (0, 0)),
            ("CMYK", (0, 0, 0, 255), (0, 0, 0, 0)),
            ("HSV", (0, 0, 0), (0, 0, 255)),
        ],
    )
    def test_images_of_every_mode(self, mode, ink, paper):
        if mode == "F":  # drawn in grey: a pen writes no fractions
            image = Image.fromarray(np.asarray(house("L"), np.float32) / 255)
        elif mode == "I;16":
            image = Image.fromarray(np.asarray(house("L")).astype(np.uint16) * 257)
        else:
            image = house(mode, ink, paper)
        assert image.mode == mode
        assert open_drawing(image).tobytes() == frame_sketch(house()).tobytes()

    def test_a_palette_with_a_transparent_colour(self):
        image = house("P", 1, 0)
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.info["transparency"] = 0
        assert open_drawing(image).tobytes() == frame_sketch(house()).tobytes()

    @pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"drawing": s}])
    def test_strokes_as_values_and_as_json(self, wrap):
        expected = draw_strokes(STROKES)
        check_framed(expected)
        assert open_drawing(STROKES).tobytes() == expected.tobytes()
        content = b"\xef\xbb\xbf \n" + json.dumps(wrap(STROKES)).encode()
        assert open_drawing(content).tobytes() == expected.tobytes()

    def test_svg(self):
        pytest.importorskip("resvg_py")
        inner = '<path d="M5 5H65V40H5ZL65 40" fill="none" stroke="{}" stroke-width="1.5"/>'
        page = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{inner}</svg>'
        framed = open_drawing(page.format("#123").encode())
        check_framed(framed)
        white = np.asarray(open_drawing(page.format("white").encode()).convert("L"), int)
        assert white.shape == np.asarray(framed.convert("L")).shape
        assert np.abs(white - np.asarray(framed.convert("L"))).max() < 40  # of #123

    def test_jpeg_is_not_taken_for_a_photo(self):
        content = stored(HOUSE, "JPEG")
        with Image.open(BytesIO(content)) as image:
            expected = frame_sketch(image.convert("RGB"))
        assert open_drawing(content).tobytes() == expected.tobytes()

    @pytest.mark.skipif("MSEDGE_TEST_DATA" not in os.environ, reason="needs MSEDGE_TEST_DATA")
    def test_real_sketches_are_pixel_identical(self):
        folder = Path(os.environ["MSEDGE_TEST_DATA"]) / "sketchy-mini/256x256/sketch"
        paths = sorted(folder.rglob("*.png"))
        assert len(paths) == 3125
        for path in paths[::10]:
            framed = frame_sketch(open_image(path))
            assert open_drawing(path).tobytes() == framed.tobytes(), path

    @pytest.mark.parametrize(("stroke", "width"), [("black", 2), ("white", 2), ("black", 0.02)])
    def test_svg_lines_of_any_width_and_colour(self, tmp_path, stroke, width):
        pytest.importorskip("resvg_py")
        path = tmp_path / "drawing"
        path.write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -20 500 300">'
            f'<g fill="none" stroke="{stroke}" stroke-width="{width}">'
            '<path d="M0 0H255V255H0Z"/><path d="M0 255L255 0"/></g></svg>'
        )
        framed = open_drawing(path)
        assert alike(framed, draw_strokes(BOX)) > 0.75
        assert framed.getpixel((0, 0)) == (255, 255, 255)
        assert drawing_pixels(framed, 192).min() < 60


class TestGround:
    def test_white_on_black_is_its_inverse(self):
        dark = ImageOps.invert(house())
        assert open_drawing(dark).tobytes() == open_drawing(house()).tobytes()
        assert open_drawing(stored(dark)).tobytes() == open_drawing(house()).tobytes()

    @pytest.mark.parametrize("nothing", [(255, 255, 255, 0), (0, 0, 0, 0)])
    def test_white_on_nothing_is_seen(self, nothing):
        ghost = house("RGBA", (255, 255, 255, 255), nothing)
        expected = open_drawing(house()).tobytes()
        assert open_drawing(ghost).tobytes() == expected
        assert open_drawing(stored(ghost)).tobytes() == expected

    @settings(max_examples=20, deadline=None)
    @given(left=st.integers(0, 50), top=st.integers(0, 80))
    def test_the_place_on_the_sheet_does_not_matter(self, left, top):
        sheet = Image.new("RGB", (420, 420), "white")
        sheet.paste(house(), (2 * left, 2 * top))  # odd ones may differ in how a half is rounded
        assert open_drawing(sheet).tobytes() == open_drawing(house()).tobytes()


class TestNormalised:
    @pytest.mark.parametrize(
        "source",
        [
            pytest.param(photographed(line_drawing((800, 800), line=8)), id="photo"),
            pytest.param(
                photographed(line_drawing((800, 800), line=8), ruled=True, table=70),
                id="on a table",
            ),
            pytest.param(line_drawing((2400, 2400), line=1), id="hairlines"),
            pytest.param(line_drawing((800, 800), line=28), id="marker"),
            pytest.param(HOUSE.point(lambda level: 215 + level * 40 // 255), id="faint"),
        ],
    )
    def test_comes_out_like_the_clean_drawing(self, source):
        framed = open_drawing(source)
        assert framed.mode == "RGB"
        assert framed.size[0] == framed.size[1]
        assert framed.getpixel((0, 0)) == (255, 255, 255)
        assert alike(framed, FRAMED) > 0.78  # a marker moves the corners
        assert drawing_pixels(framed, 192).min() < 90

    def test_better_than_framing_alone(self):
        for source in (
            photographed(line_drawing((800, 800), line=8)),
            line_drawing((2400, 2400), line=1).convert("RGB"),
            line_drawing((800, 800), line=28).convert("RGB"),
        ):
            assert alike(open_drawing(source), FRAMED) > alike(frame_sketch(source), FRAMED) + 0.05


class TestRefusals:
    @pytest.mark.parametrize("paper", ["white", "black", (230, 220, 200)])
    def test_a_blank_sheet(self, paper, tmp_path):
        blank = Image.new("RGB", (100, 80), paper)
        path = tmp_path / "blank.png"
        blank.save(path)
        with pytest.raises(DataError, match=r"nothing is drawn in .*blank\.png: give a drawing"):
            open_drawing(path)
        with pytest.raises(DataError, match="nothing is drawn in the upload"):
            open_drawing(blank, name="the upload")
        with pytest.raises(DataError, match="nothing is drawn in the upload"):
            open_drawing(stored(blank), name="the upload")

    def test_a_blank_transparent_sheet(self):
        with pytest.raises(DataError, match="nothing is drawn"):
            open_drawing(Image.new("RGBA", (40, 40), (0, 0, 0, 0)))

    def test_grain_is_no_drawing(self):
        grain = np.random.default_rng(5).normal(200, 4, (200, 300, 3)).clip(0, 255)
        with pytest.raises(DataError, match="nothing is drawn"):
            open_drawing(Image.fromarray(grain.astype(np.uint8)))

    def test_a_photographed_sheet_with_nothing_on_it(self):
        with pytest.raises(DataError, match="nothing is drawn"):
            open_drawing(photographed(Image.new("L", (400, 300), 255), table=30))

    @pytest.mark.parametrize(
        "source",
        [b"", b"cats", b"{}", b"[]", b"\x89PNG\r\n\x1a\n", stored(house())[:300], [], [([], [])]],
    )
    def test_what_is_no_drawing(self, source):
        with pytest.raises(DataError) as caught:
            open_drawing(source, name="a\ncat")
        assert str(caught.value).isprintable()

    def test_an_image_without_a_pixel(self):
        with pytest.raises(DataError, match="0 x 5 pixels"):
            open_drawing(Image.new("RGB", (0, 5)))

    def test_an_image_too_large(self, monkeypatch):
        monkeypatch.setattr(drawings, "MAX_PIXELS", 320 * 256 - 1)
        with pytest.raises(DataError, match="320 x 256 pixels"):
            open_drawing(house())

    def test_files_that_cannot_be_read(self, tmp_path, monkeypatch):
        with pytest.raises(DataError, match=r"none\.png: no such file"):
            open_drawing(tmp_path / "none.png")
        with pytest.raises(DataError, match="not a regular file"):
            open_drawing(tmp_path)
        with pytest.raises(DataError) as caught:
            open_drawing(Path("a\x00b.png"))
        assert str(caught.value).isprintable()
        path = tmp_path / "house.png"
        house().save(path)
        monkeypatch.setattr(drawings, "MAX_BYTES", 50)
        with pytest.raises(DataError, match="larger than"):
            open_drawing(path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(DataError, match="not a regular file"):
            open_drawing(tmp_path / "pipe.png")

    @settings(max_examples=60, deadline=None)
    @given(content=st.binary(max_size=40))
    def test_bytes_are_no_drawing(self, content):
        with pytest.raises(DataError) as caught:
            open_drawing(content)
        assert str(caught.value).isprintable()


class TestPixels:
    @pytest.mark.parametrize("size", [1, 32, 192])
    def test_shape(self, size):
        pixels = drawing_pixels(open_drawing(house()), size)
        assert pixels.shape == (3, size, size)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous

    def test_channels_are_red_green_and_blue(self):
        red = drawing_pixels(open_drawing(house(ink=(200, 0, 0))), 64)
        assert red[0].min() > red[1].min() == red[2].min()

    def test_sizes_that_cannot_be(self):
        with pytest.raises(ConfigError, match="at least 1 pixel"):
            drawing_pixels(open_drawing(house()), 0)
