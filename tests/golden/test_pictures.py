"""Photos and drawings of every sort that can be given, and the page that shows what was found.

What an index reads of a file, its size held upright, its date and its vector, is told by what a
search says of it afterwards.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msedge.data.sample import draw_photo, draw_sketch

TABLE = "pictures.json"
DAY = 1_577_880_000
PICTURE = re.compile(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)")
ORIENTATION, OF_THE_CAMERA, TAKEN = 274, 0x8769, 36867  # tags of EXIF
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><path fill="none" '
    'stroke="black" stroke-width="3" d="M20 30 L30 80 L60 80 L70 30 Z M70 40 Q95 50 66 65"/></svg>'
)
STROKES = [[[20, 30, 60, 70, 20], [30, 80, 80, 30, 30]], [[70, 90, 66], [40, 50, 65]]]


def write_photos(folder: Path) -> None:
    """One cup in every format, and turned, dated, and coloured in every way that is common."""
    folder.mkdir()
    cup = draw_photo("cup", np.random.default_rng(3)).crop((0, 10, 160, 130))
    exif = Image.Exif()
    exif.get_ifd(OF_THE_CAMERA)[TAKEN] = "2015:06:07 08:09:10"
    exif[ORIENTATION] = 6  # held upright by a quarter turn
    undated = Image.Exif()
    undated.get_ifd(OF_THE_CAMERA)[TAKEN] = "0000:00:00 00:00:00"
    clear = cup.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(cup.size))
    cup.save(folder / "a.jpg", quality=90)
    cup.transpose(Image.Transpose.ROTATE_90).save(folder / "b turned.jpg", quality=90, exif=exif)
    cup.save(folder / "c undated.JPEG", quality=80, exif=undated)
    cup.convert("CMYK").save(folder / "d cmyk.jpg", quality=90)
    cup.convert("L").save(folder / "e grey.jpg", quality=90)
    cup.save(folder / "f.png")
    clear.save(folder / "g clear.png")
    cup.quantize(16).save(folder / "h palette.png")
    grey = np.asarray(cup.convert("L"), np.uint16)
    Image.fromarray(grey * 257).save(folder / "i deep.png")
    cup.save(folder / "j.webp", lossless=True)
    cup.quantize(64).save(folder / "k.gif")
    cup.save(folder / "l.bmp")
    cup.save(folder / "m.tiff")
    cup.save(folder / "n.png.jpg", "PNG", compress_level=1)  # the content decides, not the name
    cup.resize((1600, 1200)).save(folder / "o large.jpg", quality=85)
    cup.crop((0, 0, 160, 5)).save(folder / "p flat.png")
    Image.new("RGB", (1, 1), "red").save(folder / "q dot.png")
    for number, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (DAY + 86_400 * number,) * 2)


def write_drawings(folder: Path) -> None:
    """One cup drawn in every way that a search takes."""
    folder.mkdir()
    cup = draw_sketch("cup", np.random.default_rng(7))
    cup.save(folder / "drawing.png")
    cup.convert("RGB").save(folder / "drawing.jpg", quality=90)
    cup.save(folder / "drawing.webp", lossless=True)
    Image.eval(cup, lambda value: 255 - value).save(folder / "chalk.png")
    ink = Image.new("RGBA", cup.size, (20, 30, 90, 0))
    ink.putalpha(Image.eval(cup, lambda value: 255 - value))
    ink.save(folder / "clear.png")
    page = Image.new("L", (400, 300), 235)
    page.paste(Image.eval(cup, lambda value: value * 235 // 255), (200, 100))
    page.save(folder / "page.png")
    (folder / "drawing.svg").write_text(SVG)
    (folder / "drawing.json").write_text(json.dumps(STROKES))
    (folder / "quickdraw.ndjson").write_text(json.dumps({"word": "cup", "drawing": STROKES}) + "\n")


@pytest.fixture(scope="module")
def here(tmp_path_factory, type_in):
    """The photos, a gallery of them, and the drawings."""
    folder = tmp_path_factory.mktemp("pictures")
    write_photos(folder / "photos")
    write_drawings(folder / "drawings")
    index = ("index", folder / "photos", "--gallery", folder / "photos.msedge", "--json")
    answer = type_in(*index, "--threads", 1).document()
    assert (answer["new"], answer["skipped"]) == (17, [])
    return folder


def test_photos(golden, steady, here, type_in):
    like = ("--like", here / "photos" / "a.jpg", "--all", "-k", 17)
    answer = type_in("search", *like, "--gallery", here / "photos.msedge", "--json").document()
    assert len(answer["hits"]) == 17
    taken = {Path(hit["path"]).name: hit["taken"] for hit in answer["hits"]}
    assert taken["b turned.jpg"] == 1_433_664_550  # 2015-06-07 08:09:10, as if in Greenwich
    golden.entry(TABLE, "photos", steady(answer, here), within=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "drawing.png", "drawing.jpg", "drawing.webp", "chalk.png", "clear.png", "page.png",
        "drawing.svg", "drawing.json", "quickdraw.ndjson",
    ],
)  # fmt: skip
def test_drawings(golden, here, type_in, name):
    """Which photos are found, of whatever a drawing is."""
    drawn = (here / "drawings" / name, "--gallery", here / "photos.msedge", "--all", "--json")
    answer = type_in("search", *drawn).document()
    found = [{key: hit[key] for key in ("rank", "id", "similarity")} for hit in answer["hits"]]
    golden.entry(TABLE, f"search for {name}", found, within=1e-5)


def test_page(golden, here, type_in, monkeypatch):
    """All of it but the pixels; of those, how many, and what they look like from afar."""
    monkeypatch.chdir(here)
    asked = ("--like", "photos/b turned.jpg", "--unlike", "photos/q dot.png")
    drawn = ("drawings/drawing.png", "--not-sketch", "drawings/page.png")
    page = ("--html", "page.html", "-k", "6")
    answer = type_in("search", *drawn, *asked, "--gallery", "photos.msedge", *page)
    assert answer.status == 0
    assert answer.err.startswith("msedge: drawn: cup ")
    pictures = []

    def seen(match: re.Match[str]) -> str:
        with Image.open(io.BytesIO(base64.b64decode(match[2]))) as picture:
            assert picture.format == match[1].upper()
            colour = np.asarray(picture.convert("RGB")).mean(axis=(0, 1))
            pictures.append([picture.format, *picture.size, *colour.round().astype(int).tolist()])
        return f"<picture {len(pictures)}>"

    text = PICTURE.sub(seen, (here / "page.html").read_text(encoding="utf-8"))
    golden.text(
        "page.html", text.replace(here.as_uri(), "file://<here>").replace(str(here), "<here>")
    )
    golden.entry(TABLE, "pictures of the page", pictures)
