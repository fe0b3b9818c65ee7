"""What reading a picture is said to take of memory, against what the system counts."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from msedge.data.drawings import drawing_bytes, drawing_pixels, open_drawing
from msedge.data.images import reading_bytes
from msedge.errors import DataError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is counted by /proc")

MEASURE = """
import re, sys
from pathlib import Path
from msedge.data.drawings import open_drawing
from msedge.data.images import open_image_bytes
from msedge.server.memory import prepare_to_give_back
prepare_to_give_back()
def held(field):
    return int(re.findall(rf"{field}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0])
open_drawing([([0, 1, 2], [0, 1, 0])])
content, side = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
Path("/proc/self/clear_refs").write_text("5")
before = held("VmRSS")
image = open_image_bytes(content, "a photo", size=side) if side else open_drawing(content)
print(1024 * (held("VmHWM") - before))
"""


def sheet(size, ink=0, ground=255, width=40):
    page, rng = Image.new("L", size, ground), np.random.default_rng(1)
    pen = ImageDraw.Draw(page)
    for _ in range(30):
        corners = rng.uniform(0.0, 1.0, (4, 2)) * size
        pen.line([(float(x), float(y)) for x, y in corners], fill=ink, width=width)
    return page


def layered(page):
    return Image.merge("RGBA", (page, page, page, page.point(lambda level: 255 - level)))


LARGE, STRIP = (5600, 4200), (5470, 1820)  # as many pixels as a server takes; widest frame
KINDS = {
    "jpeg": lambda path: sheet(LARGE).convert("RGB").save(path, "JPEG"),
    "progressive": lambda path: sheet(LARGE).convert("RGB").save(path, "JPEG", progressive=True),
    "png": lambda path: sheet(LARGE).convert("RGB").save(path, "PNG", compress_level=1),
    "transparent": lambda path: layered(sheet(LARGE)).save(path, "PNG", compress_level=1),
    "dark strip": lambda path: sheet(STRIP, 255, 0).convert("RGB").save(path, "PNG"),
    "hairlines": lambda path: sheet(STRIP, width=1).convert("RGB").save(path, "PNG"),
    "strip of tiff": lambda path: sheet(LARGE).convert("RGB").save(
        path, "TIFF", compression="tiff_deflate", tiffinfo={278: LARGE[1]}
    ),
    "webp": lambda path: sheet((3000, 2000)).convert("RGB").save(path, "WEBP"),
    "bmp": lambda path: sheet((4000, 3000)).convert("RGB").save(path, "BMP"),
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file of a kind, made once."""
    folder = tmp_path_factory.mktemp("large")

    def write(kind):
        path = folder / kind
        if not path.exists():
            KINDS[kind](path)
        return path

    return write


def measured(path, side):
    command = [sys.executable, "-c", MEASURE, str(path), str(side)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_no_less_than_a_drawing_takes(written, kind):
    path = written(kind)
    told = drawing_bytes(path.read_bytes())
    assert measured(path, 0) <= told
    assert told <= 300_000_000  # what `--memory` has by default


@pytest.mark.parametrize("kind", ["progressive", "png", "transparent"])
def test_it_is_no_less_than_a_thumbnail_takes(written, kind):
    path = written(kind)
    assert measured(path, 320) <= reading_bytes(path.read_bytes(), "a photo", size=320)


def test_what_is_smaller_takes_less(written):
    path = written("jpeg")
    content = path.read_bytes()
    assert reading_bytes(content, "a photo", size=320) < 40_000_000  # decoded at an eighth
    assert reading_bytes(content, "a photo") > 4 * LARGE[0] * LARGE[1]
    assert drawing_bytes(b'[[[0, 1], [0, 1]]]') < 50_000_000  # fmt: skip


def test_no_picture_has_none():
    with pytest.raises(DataError, match="the drawing"):
        drawing_bytes(b"nothing")


@pytest.mark.parametrize("kind", ["jpeg", "transparent", "hairlines"])
def test_a_large_drawing_looks_as_it_would_unreduced(kind, monkeypatch):
    page = sheet((4500, 3000), width=1 if kind == "hairlines" else 40)
    page = layered(page) if kind == "transparent" else page.convert("RGB")
    content = BytesIO()
    page.save(content, "JPEG" if kind == "jpeg" else "PNG")
    own = open_drawing(content.getvalue())
    monkeypatch.setattr("msedge.data.drawings.MAX_SHEET", page.width * page.height)
    whole = open_drawing(content.getvalue())
    few, all_of_them = (drawing_pixels(framed, 224).astype(int) for framed in (own, whole))
    if kind == "hairlines":  # made thicker either way, by a whole number of pixels
        assert 0.5 < (few < 128).mean() / (all_of_them < 128).mean() < 2
    else:
        assert own.width < whole.width
        assert np.abs(few - all_of_them).mean() < 4
