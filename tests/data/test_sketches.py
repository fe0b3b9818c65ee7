"""Framed drawings and drawn strokes, against where their ink lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from msedge.data.image_content import decode, read_content
from msedge.data.layouts import Record
from msedge.data.sketches import FILL, draw_strokes, frame_sketch
from msedge.errors import ConfigError, DataError


def sheet_with(box: tuple[int, int, int, int], size=(256, 256), paper="white", ink="black"):
    sheet = Image.new("RGB", size, paper)
    ImageDraw.Draw(sheet).rectangle(box, outline=ink, width=2)
    return sheet


def ink_box(image: Image.Image) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(np.asarray(image.convert("L")) < 128)
    return (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


class TestFrame:
    @settings(max_examples=60, deadline=None)
    @given(
        left=st.integers(0, 150),
        top=st.integers(0, 150),
        width=st.integers(60, 100),
        height=st.integers(60, 100),
    )
    def test_ink_is_centred_and_fills_its_share_wherever_it_was(self, left, top, width, height):
        framed = frame_sketch(sheet_with((left, top, left + width - 1, top + height - 1)))
        assert framed.size[0] == framed.size[1]
        x0, y0, x1, y1 = ink_box(framed)
        assert (x1 - x0, y1 - y0) == (width, height)
        assert max(width, height) / framed.size[0] == pytest.approx(FILL, abs=0.01)
        assert abs(x0 + x1 - framed.size[0]) <= 2
        assert abs(y0 + y1 - framed.size[1]) <= 2

    def test_a_dot_is_not_blown_up_without_end(self):
        assert frame_sketch(sheet_with((100, 100, 104, 104))).size == (64, 64)

    @pytest.mark.parametrize("size", [(300, 100), (100, 300), (50, 50)])
    def test_an_empty_sheet_is_padded_to_a_square(self, size):
        framed = frame_sketch(Image.new("RGB", size, (250, 250, 240)))
        assert framed.size == (max(size), max(size))
        assert np.unique(np.asarray(framed).reshape(-1, 3), axis=0).tolist() == [[250, 250, 240]]

    def test_a_dark_sheet_is_turned_round(self):
        light = sheet_with((20, 30, 120, 90))
        assert frame_sketch(ImageOps.invert(light)).tobytes() == frame_sketch(light).tobytes()

    def test_coloured_ink_counts(self):
        yellow = sheet_with((20, 30, 119, 90), ink=(255, 255, 0))
        assert frame_sketch(yellow).size == (round(100 / FILL),) * 2

    def test_paper_that_is_not_white_stays(self):
        framed = frame_sketch(sheet_with((200, 200, 255, 255), paper=(230, 220, 200)))
        assert framed.getpixel((0, 0)) == (230, 220, 200)


def read(path: Path, size: int) -> np.ndarray:
    record = Record(path, "sketch", "cat")
    return decode(read_content(path), record, size=size, frame_sketches=True)


class TestLargeSheets:
    @pytest.mark.parametrize("band", [1, 700, 10**9])
    @pytest.mark.parametrize("box", [(0, 0, 5, 5), (20, 30, 120, 90), (250, 1, 255, 255)])
    def test_bands_find_the_same_ink(self, box, band, monkeypatch):
        sheet = sheet_with(box)
        whole = frame_sketch(sheet).tobytes()
        monkeypatch.setattr("msedge.data.sketches._BAND", band)
        assert frame_sketch(sheet).tobytes() == whole

    @pytest.mark.parametrize("size", [(60_000, 1), (1, 60_000), (30_000, 20)])
    @pytest.mark.parametrize("paper", ["white", "black"])
    def test_a_long_strip_gets_a_frame_of_bounded_size(self, size, paper):
        sheet = Image.new("RGB", size, paper)
        width, height = size
        ink = (width // 4, height // 4, width // 2 + 1, height // 2 + 1)
        sheet.paste("red", ink)
        framed = frame_sketch(sheet)
        assert framed.size[0] == framed.size[1] <= 4_000
        assert np.asarray(framed.convert("L")).min() < 200

    def test_a_large_sheet_that_is_no_strip_keeps_every_pixel(self):
        sheet = sheet_with((100, 100, 4_900, 1_500), size=(5_000, 1_600))
        x0, y0, x1, y1 = ink_box(frame_sketch(sheet))
        assert (x1 - x0, y1 - y0) == (4_801, 1_401)

    def test_the_limit_of_a_large_sheet_is_ten_thousand(self, monkeypatch):
        monkeypatch.setattr("msedge.data.sketches._LARGEST_SIDE", 100)
        assert 80 < frame_sketch(sheet_with((10, 10, 250, 250))).size[0] <= 100


class TestRead:
    def test_pixels_are_framed(self, tmp_path):
        path = tmp_path / "drawing.png"
        sheet_with((10, 10, 60, 60)).save(path)
        pixels = read(path, 64)
        assert pixels.shape == (64, 64, 3)
        assert pixels.dtype == np.uint8
        image = Image.fromarray(pixels)
        x0, y0, x1, y1 = ink_box(image)
        assert (x1 - x0) / 64 == pytest.approx(FILL, abs=0.08)  # thinned lines fade
        assert (y1 - y0) / 64 == pytest.approx(FILL, abs=0.08)

    def test_what_is_no_image_is_refused(self, tmp_path):
        (tmp_path / "notes.png").write_text("not a picture")
        with pytest.raises(DataError, match=r"notes\.png"):
            read(tmp_path / "notes.png", 64)

    def test_no_size_is_refused(self, tmp_path):
        sheet_with((10, 10, 60, 60)).save(tmp_path / "drawing.png")
        with pytest.raises(ConfigError, match="at least 1 pixel"):
            read(tmp_path / "drawing.png", 0)


class TestStrokes:
    @settings(max_examples=40, deadline=None)
    @given(scale=st.floats(0.01, 1e4), shift=st.floats(-1e4, 1e4))
    def test_unit_and_place_do_not_matter(self, scale, shift):
        zigzag = ([0.0, 10.0, 0.0, 10.0], [0.0, 0.0, 20.0, 20.0])
        moved = tuple([scale * value + shift for value in axis] for axis in zigzag)
        first, second = (np.asarray(draw_strokes([s], size=64), int) for s in (zigzag, moved))
        assert np.abs(first - second).max() <= 64  # a subpixel of the oversampled sheet

    def test_extent_and_line(self):
        image = draw_strokes([([0, 100], [50, 50])], size=200, line=4)
        x0, y0, x1, y1 = ink_box(image)
        assert x1 - x0 == pytest.approx(200 * FILL + 4, abs=2)
        assert y1 - y0 == pytest.approx(4, abs=1)

    def test_a_point_is_a_dot(self):
        x0, y0, x1, y1 = ink_box(draw_strokes([([5], [5])], size=64, line=6))
        assert 4 <= x1 - x0 <= 7
        assert abs(x0 + x1 - 64) <= 2
        assert abs(y0 + y1 - 64) <= 2

    @pytest.mark.parametrize(
        ("strokes", "message"),
        [
            ([], "without a point"),
            ([([], [])], "without a point"),
            ([([1, 2], [1])], "2 x and 1 y"),
            ([([1, float("nan")], [1, 2])], "finite"),
            ([([1, 1e300], [1, 2])], r"beyond 1e\+12"),
            ([(["a"], ["b"])], "two lists of numbers"),
            ([([1, 2],)], "two lists of numbers"),
        ],
    )
    def test_strokes_that_cannot_be_drawn(self, strokes, message):
        with pytest.raises(DataError, match=message):
            draw_strokes(strokes)

    @pytest.mark.parametrize("options", [{"size": 4}, {"line": 0}, {"line": float("nan")}])
    def test_sheets_that_cannot_be(self, options):
        with pytest.raises(ConfigError, match="8 pixels or more"):
            draw_strokes([([0, 1], [0, 1])], **options)
