from __future__ import annotations

import base64
import io
import os
import re

import pytest
from PIL import Image

from encoders import ColourEncoder
from galleries import make_gallery, photo
from msedge.cli.search_sheet import write_sheet
from msedge.errors import DataError
from msedge.search.gallery import Gallery

STROKES = b"[[[0, 10], [0, 10]], [[0, 10], [10, 0]]]"
ODD = os.fsdecode(b"caf\xe9\n<b>.png")


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = {"red.png": photo("red", (800, 600)), ODD: photo("blue"),
                "again.png": photo("red", (400, 300))}  # fmt: skip
    with Gallery.open(make_gallery(tmp_path, pictures), model=ColourEncoder()) as opened:
        yield opened


def sheet(path, gallery, *, sketches=(), photos=()) -> str:
    write_sheet(path, gallery.similar(1), gallery, sketches=sketches, photos=photos)
    return path.read_text(encoding="utf-8")


def pictures(page: str) -> list[Image.Image]:
    contents = re.findall(r'src="data:image/\w+;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in contents]


def test_what_was_asked_and_what_was_found(gallery, tmp_path):
    (tmp_path / "cross.json").write_bytes(STROKES)
    page = sheet(
        tmp_path / "sheet.html",
        gallery,
        sketches=[("sketch", tmp_path / "cross.json"), ("not like", STROKES)],
        photos=[("like", tmp_path / "photos/red.png")],
    )
    for label in ("sketch: cross.json", "not like: standard input", "like: red.png"):
        assert f"<figcaption>{label}</figcaption>" in page
    assert "<h1>cross.json, red.png</h1>" in page
    assert "2 of 3 photos of photos.msedge, found by colours" in page
    cross, again, like, first, second = pictures(page)
    assert cross.tobytes() == again.tobytes()
    assert cross.getextrema() == (0, 255)
    assert (like.size, first.size, second.size) == ((400, 300), (400, 300), (60, 40))
    middle = first.convert("RGB").getpixel((200, 150))
    assert middle[0] > 180 > 60 > max(middle[1:])  # red
    assert "1 near-duplicate<" in page
    assert (tmp_path / "photos/again.png").as_uri() in page


def test_names_that_are_no_text(gallery, tmp_path):
    page = sheet(tmp_path / "sheet.html", gallery)
    assert r"caf\udce9\n&lt;b&gt;.png" in page
    assert "caf%E9%0A%3Cb%3E.png" in page
    assert "<b>" not in page


def test_a_photo_that_is_gone(gallery, tmp_path):
    (tmp_path / "photos/red.png").unlink()
    page = sheet(tmp_path / "sheet.html", gallery)
    assert "red.png cannot be read" in page
    assert len(pictures(page)) == 1


def test_a_sheet_that_cannot_be_written(gallery, tmp_path):
    (tmp_path / "sheet.html").mkdir()
    with pytest.raises(DataError, match=r"cannot write sheet\.html|cannot write .*sheet\.html"):
        write_sheet(tmp_path / "sheet.html", [], gallery, sketches=[], photos=[])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".sheet")] == []
