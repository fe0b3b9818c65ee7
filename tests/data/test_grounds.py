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
