"""Photographed drawings against the drawings that were photographed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from msedge.data.paper import is_clean, lift_ink
from phone_photos import SIZE, line_drawing, photographed

BLANK = Image.new("L", SIZE, 255)


def agreement(lifted: Image.Image, drawing: Image.Image) -> tuple[float, float]:
    """Which share of the drawing's ink was found, and which share of the found was drawn."""
    found = np.asarray(lifted.convert("L").resize(drawing.size, Image.Resampling.BOX)) < 128
    drawn = np.asarray(drawing) < 128
    near = np.asarray(drawing.filter(ImageFilter.MinFilter(9))) < 128
    reached = Image.fromarray(found).filter(ImageFilter.MaxFilter(5))
    return float(np.asarray(reached)[drawn].mean()), float(near[found].mean())


PHOTOS = {
    "pencil": {},
    "faint pencil": {"ink": (0.65, 0.65, 0.66)},
    "ruled": {"ruled": True},
    "table": {"table": 60},
    "narrow table": {"table": 9},
    "wide table": {"table": 150},
    "table and rules": {"table": 60, "ruled": True},
    "no shadow": {"shadow": 0.0},
    "deep shadow": {"shadow": 0.55},
    "grey paper": {"paper": (0.55, 0.55, 0.58)},
    "red pen": {"ink": (0.85, 0.15, 0.15)},
    "blue pen": {"ink": (0.2, 0.3, 0.8)},
    "yellow pen": {"ink": (0.97, 0.85, 0.1)},
    "chalk": {"ink": (4.0, 4.0, 4.0), "paper": (0.15, 0.2, 0.17), "shadow": 0.15},
    "framed board": {"ink": (4.0, 4.0, 4.0), "paper": (0.15, 0.2, 0.17), "table": 30},
}


@pytest.mark.parametrize("how", PHOTOS)
@pytest.mark.parametrize("line", [3, 6])
def test_what_was_drawn_is_found_and_nothing_else(how, line):
    drawing = line_drawing(line=line)
    photo = photographed(drawing, **PHOTOS[how])
    assert not is_clean(photo)
    lifted = lift_ink(photo)
    assert (lifted.mode, lifted.size) == ("RGB", SIZE)
    found, drawn = agreement(lifted, drawing)
    assert found > (0.85 if how in ("chalk", "framed board") else 0.97)
    assert drawn > 0.99


def test_a_marker():
    drawing = line_drawing(line=24)
    found, drawn = agreement(lift_ink(photographed(drawing, ink=(0.1, 0.1, 0.1))), drawing)
    assert found > 0.97
    assert drawn > 0.99


def test_lines_come_out_black_on_white():
    levels = np.asarray(lift_ink(photographed(line_drawing(), ink=(0.6, 0.6, 0.6))).convert("L"))
    assert np.median(levels) == 255
    assert (levels < 40).mean() > 0.6 * (levels < 250).mean()


def test_dots_of_the_drawing_stay_and_specks_of_the_sheet_go():
    drawing, dirty = line_drawing(), line_drawing()
    specks = np.random.default_rng(0).integers(0, 40, (20, 2))
    for x, y in specks.tolist():
        ImageDraw.Draw(dirty).ellipse((x, y, x + 3, y + 3), fill=0)
    lifted = np.asarray(lift_ink(photographed(dirty)).convert("L"))
    assert (lifted[:60, :60] == 255).all()
    x, y = int(0.53 * SIZE[0]), int(0.63 * SIZE[1])
    assert lifted[y - 3 : y + 4, x - 3 : x + 4].min() < 60
    assert agreement(Image.fromarray(lifted), drawing)[1] > 0.99


@pytest.mark.parametrize("how", [{}, {"ruled": True}, {"table": 60}, {"shadow": 0.0}])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_empty_sheet_stays_empty(how, seed):
    assert np.asarray(lift_ink(photographed(BLANK, seed=seed, **how))).min() == 255


def test_a_drawing_that_runs_out_of_the_picture():
    drawing = Image.new("L", SIZE, 255)
    ImageDraw.Draw(drawing).line((0, 100, 600, 700), fill=0, width=6)
    ImageDraw.Draw(drawing).line((300, 0, 250, 799), fill=0, width=6)
    found, drawn = agreement(lift_ink(photographed(drawing)), drawing)
    assert found > 0.95
    assert drawn > 0.95


def test_a_yellow_drawing_that_touches_its_sheets_border():
    drawing = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(drawing).rectangle((60, 0, 160, 200), outline=(250, 220, 40), width=3)
    assert not is_clean(drawing)
    lifted = np.asarray(lift_ink(drawing).convert("L"))
    assert lifted[1, 60:160].max() < 128
    assert lifted[100, 100] == 255


def test_faint_but_even():
    drawing = Image.merge("RGB", [line_drawing().point(lambda level: 215 + level * 40 // 255)] * 3)
    assert not is_clean(drawing)
    found, drawn = agreement(lift_ink(drawing), line_drawing())
    assert min(found, drawn) > 0.97


def test_a_large_photo_is_worked_on_small():
    photo = photographed(line_drawing()).resize((2400, 3200))
    assert lift_ink(photo).size == (750, 1000)


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    low=st.integers(0, 255),
    high=st.integers(0, 255),
    seed=st.integers(0, 99),
)
def test_any_picture_ends_as_one_of_its_size(width, height, low, high, seed):
    random = np.random.default_rng(seed)
    noise = random.integers(min(low, high), max(low, high) + 1, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    assert is_clean(image) in (True, False)
    assert lift_ink(image).size == (width, height)


CLEAN = line_drawing((300, 300), line=3).convert("RGB")


@pytest.mark.parametrize(
    "drawing",
    [
        pytest.param(CLEAN, id="black on white"),
        pytest.param(ImageOps.invert(CLEAN), id="white on black"),
        pytest.param(CLEAN.convert("1").convert("RGB"), id="two levels"),
        pytest.param(CLEAN.resize((700, 700), Image.Resampling.BICUBIC), id="soft edges"),
        pytest.param(
            Image.merge("RGB", [CLEAN.getchannel(0)] * 2 + [Image.new("L", (300, 300))]),
            id="on yellow",
        ),
        pytest.param(line_drawing((2500, 2500), line=1).convert("RGB"), id="hairlines"),
        pytest.param(Image.new("RGB", (50, 50), "beige"), id="blank"),
        pytest.param(Image.new("RGB", (1, 1)), id="a pixel"),
    ],
)
def test_clean_drawings_are_told(drawing):
    assert is_clean(drawing)


@pytest.mark.filterwarnings("error")
def test_two_halves_have_no_ground():
    halves = Image.new("RGB", (40, 40), "white")
    halves.paste("black", (0, 0, 20, 40))
    assert not is_clean(halves)
