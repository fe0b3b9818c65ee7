"""Which ground a transparent drawing is laid on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from msedge.data.grounds import on_visible_ground
from msedge.data.images import on_white


def drawn_in(colour, mode="RGBA", fill=None):
    image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((10, 5, 50, 35), outline=colour, width=3, fill=fill)
    return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize("colour", ["black", "red", "yellow", "#bbbbbb"])
def test_what_shows_on_white_is_laid_on_white(colour):
    drawing = drawn_in(colour)
    assert on_visible_ground(drawing).tobytes() == on_white(drawing).tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
@pytest.mark.parametrize("colour", ["white", "#f5f5f5"])
def test_a_white_drawing_is_laid_on_black(colour, mode):
    image = on_visible_ground(drawn_in(colour, mode))
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert min(image.getpixel((30, 6))) > 230


def test_a_white_ghost_keeps_its_outline():
    ghost = drawn_in("black", fill="white")
    assert on_visible_ground(ghost).tobytes() == on_white(ghost).tobytes()


def test_soft_lines_alone_still_show():
    faint = drawn_in("white")
    faint.putalpha(faint.getchannel("A").point(lambda level: level // 3))
    assert np.asarray(on_visible_ground(faint)).max() == 85


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGBA", (9, 9), (255, 255, 255, 255)),
        Image.new("RGBA", (9, 9), (255, 255, 255, 0)),
        Image.new("1", (9, 9), 1),
        Image.new("RGB", (9, 9), "navy"),
    ],
)
def test_what_has_no_drawing_on_nothing_is_left_to_on_white(image):
    assert on_visible_ground(image).tobytes() == on_white(image).tobytes()


def _in_one_piece(image):
    """What a picture is on white, by whole arrays."""
    if image.mode in ("I", "I;16", "I;16B"):
        levels = np.asarray(image).astype(np.float32) / 257.0
    elif image.mode == "F":
        levels = np.nan_to_num(np.asarray(image))
        levels = levels * 255.0 if levels.max(initial=0.0) <= 1.0 else levels
    elif image.has_transparency_data:
        drawn = image.convert("RGBA")
        white = Image.new("RGBA", drawn.size, "white")
        return Image.alpha_composite(white, drawn).convert("RGB")
    else:
        return image.convert("RGB")
    grey = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _noise(mode, seed=0):
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65_536, (37, 23)).astype(np.uint16))
    if mode == "I":
        return Image.fromarray(rng.integers(-(2**31), 2**31, (37, 23)).astype(np.int32))
    if mode in ("F", "F of 1"):
        levels = rng.random((37, 23), dtype=np.float32) * (1 if mode == "F of 1" else 300)
        levels[3, 4] = np.nan
        return Image.fromarray(levels)
    image = Image.fromarray(rng.integers(0, 256, (37, 23, 4), dtype=np.uint8))
    if mode == "P see-through":
        image = image.convert("RGB").quantize(16)
        image.info["transparency"] = bytes(range(0, 256, 16))
        return image
    if mode == "RGB see-through":
        image = image.convert("RGB")
        image.info["transparency"] = image.getpixel((5, 5))
        return image
    return image.convert(mode)


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "CMYK",
        "I;16",
        "I",
        "F",
        "F of 1",
        "P see-through",
        "RGB see-through",
    ],
)
@pytest.mark.parametrize("band", [1, 60, 100_000])
def test_bands_give_the_pixels_of_the_whole(mode, band, monkeypatch):
    monkeypatch.setattr("msedge.data.grounds._BAND", band)
    image = _noise(mode)
    assert on_white(image).tobytes() == _in_one_piece(image).tobytes()


@pytest.mark.parametrize("band", [1, 300, 100_000])
@pytest.mark.parametrize("colour", ["white", "#f5f5f5", "black", "#bbbbbb"])
def test_the_ground_does_not_depend_on_bands(colour, band, monkeypatch):
    drawing = drawn_in(colour)
    whole = on_visible_ground(drawing).tobytes()
    monkeypatch.setattr("msedge.data.grounds._BAND", band)
    assert on_visible_ground(drawing).tobytes() == whole


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("level", [np.inf, -np.inf, 3e38, -3e38, np.nan])
def test_levels_beyond_all_bounds_are_clipped_without_a_word(level):
    image = Image.fromarray(np.array([[level, 0.0, 1.0]], np.float32))
    expected = 255 if level > 0 else 0
    assert on_white(image).getpixel((0, 0)) == (expected,) * 3
