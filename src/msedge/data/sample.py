"""A small set of drawn objects and their sketches, made by code, for demos and tests."""

from __future__ import annotations

from msedge.data.sample_nature import NATURE
from msedge.data.sample_photo import render_photo
from msedge.data.sample_sketch import render_sketch
from msedge.data.sample_things import THINGS

_OBJECTS = {**NATURE, **THINGS}
SAMPLE_CLASSES = tuple(sorted(_OBJECTS))


def draw_photo(c, rng, size=160):
    return render_photo(_OBJECTS[c](rng), rng, size)


def draw_sketch(c, rng, size=160):
    return render_sketch(_OBJECTS[c](rng), rng, size)
