"""Lines of known width, measured and evened."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from msedge.data.components import find_components
from msedge.data.line_width import TOO_THICK, TOO_THIN, UNIT, even_lines, line_width


def drawing(line: float, side: int = 512) -> Image.Image:
    """A ring, a slanted stroke and a dot; `line` in pixels of 256."""
    scale = 4 if side < 2000 else 1
    large = side * scale
    image = Image.new("L", (large, large), 255)
    pen, width = ImageDraw.Draw(image), max(1, round(line * large / UNIT))
    pen.ellipse([0.1 * large, 0.1 * large, 0.6 * large, 0.6 * large], outline=0, width=width)
    pen.line([0.55 * large, 0.9 * large, 0.9 * large, 0.3 * large], fill=0, width=width)
    dot = 0.35 * large, 0.8 * large
    pen.ellipse([*(v - width for v in dot), *(v + width for v in dot)], fill=0)
    return image.resize((side, side), Image.Resampling.BOX).convert("RGB")


def darkest(image: Image.Image, side: int = 192) -> float:
    """How dark the lines are once the network's input is made: their mean level there."""
    levels = np.asarray(image.convert("L").resize((side, side), Image.Resampling.BICUBIC))
    return float(np.sort(levels.reshape(-1))[:150].mean())


@pytest.mark.parametrize("side", [200, 512, 1000])
@pytest.mark.parametrize("line", [3, 5, 9, 14])
def test_width_is_measured(line, side):
    assert line_width(drawing(line, side)) == pytest.approx(line, rel=0.2, abs=0.3)


def test_nothing_has_no_width():
    assert line_width(Image.new("RGB", (50, 50), "white")) == 0
    blank = Image.new("RGB", (50, 50), "white")
    assert even_lines(blank, 50) is blank


@pytest.mark.parametrize("line", [2.8, 4, 5])
def test_lines_as_of_training_are_left_alone(line):
    image = drawing(line)
    assert even_lines(image, 512) is image


def test_thick_lines_of_a_small_drawing_are_left_alone():
    image = drawing(12, 256)  # 3 pixels on a sheet of 1024
    assert even_lines(image, 1024) is image


def test_a_silhouette_is_left_alone():
    image = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(image).ellipse((30, 30, 270, 270), fill="black")
    assert even_lines(image, 300) is image


@pytest.mark.parametrize("side", [300, 700, 1500, 3000])
def test_hairlines_are_seen_after_reduction(side):
    thin = drawing(0.01, side)  # the thinnest that can be: a pixel of `side`, or a shade of one
    assert 0 < line_width(thin) < TOO_THIN
    even = even_lines(thin, side)
    assert even.mode == "RGB"
    assert even.size[0] == even.size[1] >= min(side, 384)
    assert 3 <= line_width(even) <= 5.5
    assert darkest(even) < 60
    assert darkest(thin) > darkest(even) + 60 or side < 400


@pytest.mark.parametrize("line", [12, 15, 20])
def test_a_markers_lines_are_thinned_and_none_is_lost(line):
    thick = drawing(line)
    assert line_width(thick) > TOO_THICK
    even = even_lines(thick, 512)
    assert 2.5 <= line_width(even) <= 6
    marks = len(find_components(np.asarray(thick.convert("L")) < 128).areas)
    assert len(find_components(np.asarray(even.convert("L")) < 128).areas) == marks == 3
    ring = np.asarray(even.convert("L").resize((256, 256)))
    assert ring[90, 90] > 200  # still hollow
    assert (ring[90, 18:40] < 100).any()  # still there


def test_a_dot_without_a_middle_is_not_lost():
    image = drawing(12)
    ImageDraw.Draw(image).rectangle((400, 440, 423, 463), fill="black")
    even = np.asarray(even_lines(image, 512).convert("L").resize((512, 512)))
    assert (even[440:464, 400:424] < 128).any()
