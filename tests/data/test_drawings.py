"""Drawings from everywhere, against what training would have made of them."""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from msedge.data import drawings
from msedge.data.drawings import drawing_pixels, open_drawing
from msedge.data.images import open_image
from msedge.data.sketches import draw_strokes, frame_sketch, read_sketch
from msedge.errors import ConfigError, DataError
from phone_photos import line_drawing, photographed

HOUSE = line_drawing((256, 256), line=3).convert("RGB")
FRAMED = frame_sketch(HOUSE)
STROKES = [([0, 255, 255, 0, 0], [0, 0, 255, 255, 0]), ([0, 255], [255, 0])]


def encoded(image: Image.Image, kind: str = "PNG", **settings) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


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


def on_nothing(colour: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGBA", HOUSE.size, (*colour, 0))
    image.putalpha(ImageOps.invert(HOUSE.convert("L")))
    return image


class TestClean:
    @pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP"])
    def test_pixel_for_pixel_as_training_saw_it(self, tmp_path, kind):
        path = tmp_path / "it"
        path.write_bytes(encoded(HOUSE, kind, lossless=True))
        expected = frame_sketch(open_image(path)).tobytes()
        assert open_drawing(path).tobytes() == expected
        assert open_drawing(path.read_bytes()).tobytes() == expected
        with Image.open(path) as image:
            assert open_drawing(image).tobytes() == expected
        np.testing.assert_array_equal(
            drawing_pixels(open_drawing(path), 96), read_sketch(path, 96), strict=True
        )

    @pytest.mark.parametrize(
        "drawing",
        [
            pytest.param(ImageOps.invert(HOUSE), id="white on black"),
            pytest.param(on_nothing((0, 0, 0)), id="black on nothing"),
            pytest.param(on_nothing((255, 255, 255)), id="white on nothing"),
            pytest.param(HOUSE.convert("1"), id="one bit"),
            pytest.param(HOUSE.convert("L"), id="grey"),
            pytest.param(HOUSE.quantize(4), id="palette"),
        ],
    )
    def test_ground_and_mode_do_not_matter(self, drawing):
        assert open_drawing(drawing).tobytes() == FRAMED.tobytes()
        assert open_drawing(encoded(drawing)).tobytes() == FRAMED.tobytes()

    def test_jpeg_is_not_taken_for_a_photo(self):
        content = encoded(HOUSE, "JPEG", quality=60)
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


class TestVectors:
    @pytest.mark.parametrize("form", ["strokes", "quickdraw", "points"])
    def test_strokes_however_they_come(self, tmp_path, form):
        path = tmp_path / "drawing.png"  # content decides, not the suffix
        if form == "quickdraw":
            path.write_text(json.dumps({"drawing": STROKES}))
        else:
            points = [list(zip(*stroke, strict=True)) for stroke in STROKES]
            path.write_text("\n " + json.dumps({"strokes": points}))
        expected = draw_strokes(STROKES).tobytes()
        assert open_drawing(STROKES).tobytes() == expected
        assert open_drawing(path).tobytes() == expected
        assert open_drawing(path.read_bytes()).tobytes() == expected

    @pytest.mark.parametrize(("stroke", "width"), [("black", 2), ("white", 2), ("black", 0.02)])
    def test_svg(self, tmp_path, stroke, width):
        pytest.importorskip("resvg_py")
        path = tmp_path / "drawing"
        path.write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -20 500 300">'
            f'<g fill="none" stroke="{stroke}" stroke-width="{width}">'
            '<path d="M0 0H255V255H0Z"/><path d="M0 255L255 0"/></g></svg>'
        )
        framed = open_drawing(path)
        assert alike(framed, draw_strokes(STROKES)) > 0.75
        assert framed.getpixel((0, 0)) == (255, 255, 255)
        assert drawing_pixels(framed, 192).min() < 60


class TestRefused:
    @pytest.mark.parametrize(
        "source",
        [
            Image.new("RGB", (90, 60), "white"),
            Image.new("RGB", (90, 60), "black"),
            Image.new("RGBA", (90, 60), (0, 0, 0, 0)),
            encoded(Image.new("L", (90, 60), 200)),
            encoded(photographed(Image.new("L", (400, 300), 255)), "JPEG"),
            b"[]",
            b'{"drawing": []}',
            b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        ],
        ids=["white", "black", "transparent", "grey", "paper", "no strokes", "none", "svg"],
    )
    def test_nothing_drawn(self, source):
        if source == b'<svg xmlns="http://www.w3.org/2000/svg"/>':
            pytest.importorskip("resvg_py")
        with pytest.raises(DataError, match="nothing is drawn in my sheet"):
            open_drawing(source, name="my sheet")

    def test_no_strokes(self):
        with pytest.raises(DataError, match="without a point"):
            open_drawing([])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"hello", "my sheet: its content is not a JPEG"),
            (b"", "my sheet: its content is not a JPEG"),
            (b"{", "strokes of my sheet: it is no JSON"),
            (b"<svg", "my sheet: it is no well-formed SVG"),
            (b"<!DOCTYPE html><html></html>", "its content is not a JPEG"),
        ],
    )
    def test_content(self, tmp_path, content, message):
        if content.startswith(b"<svg"):
            pytest.importorskip("resvg_py")
        with pytest.raises(DataError, match=message):
            open_drawing(content, name="my sheet")
        (tmp_path / "my sheet").write_bytes(content)
        with pytest.raises(DataError, match=r"/my sheet: |its content is not") as caught:
            open_drawing(tmp_path / "my sheet")
        assert "\n" not in str(caught.value)

    def test_files(self, tmp_path, monkeypatch):
        with pytest.raises(DataError, match=r"gone\.png: no such file"):
            open_drawing(tmp_path / "gone.png")
        with pytest.raises(DataError, match="it is not a regular file"):
            open_drawing(tmp_path)
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="it is not a regular file"):
            open_drawing(tmp_path / "pipe")
        (tmp_path / "large").write_bytes(b"0" * 100)
        monkeypatch.setattr(drawings, "MAX_BYTES", 99)
        with pytest.raises(DataError, match="it is larger than"):
            open_drawing(tmp_path / "large")

    def test_too_many_pixels(self, monkeypatch):
        monkeypatch.setattr(drawings, "MAX_PIXELS", 256 * 256 - 1)
        with pytest.raises(DataError, match="it is 256 x 256 pixels"):
            open_drawing(HOUSE)

    def test_size(self):
        with pytest.raises(ConfigError, match="at least 1 pixel"):
            drawing_pixels(FRAMED, 0)
