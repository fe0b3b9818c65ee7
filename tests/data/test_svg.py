"""SVG against the pixels that it asks for, and against what it must never get."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from PIL import Image

from msedge.data import svg
from msedge.data.svg import MAX_BYTES, draw_svg, harmless_svg, looks_like_svg
from msedge.errors import DataError

pytest.importorskip("resvg_py")

OPEN = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="0 0 100 100">'
)
STROKE = '<path d="M10 50H90" stroke="black" stroke-width="10"/>'


def drawn(body: str, head: str = OPEN) -> np.ndarray:
    return np.asarray(draw_svg(f"{head}{body}</svg>".encode(), "it"))


def inked(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """Box of what is drawn, in percent of the sheet."""
    rows, columns = np.nonzero(pixels[..., 3])
    edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return tuple(round(100 * int(edge) / len(pixels)) for edge in edges)


def test_a_line_lies_where_it_should():
    sheet = draw_svg(f"{OPEN}{STROKE}</svg>".encode(), "it")
    assert sheet.mode == "RGBA"
    assert sheet.size[0] == sheet.size[1] >= 512
    assert inked(np.asarray(sheet)) == (10, 45, 90, 55)


def test_a_hairline_has_no_gaps():
    pixels = drawn('<path d="M10 50L90 52" stroke="black" stroke-width="0.02"/>')
    columns = (pixels[..., 3] > 20).any(axis=0)
    assert columns.mean() == pytest.approx(0.8, abs=0.01)


def test_white_stays_white_on_nothing():
    pixels = drawn('<circle cx="50" cy="50" r="40" fill="none" stroke="white"/>')
    assert pixels[0, 0, 3] == 0
    assert (pixels[pixels[..., 3] > 128][:, :3] == 255).all()


@pytest.mark.parametrize(
    "head",
    [
        '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="100">',
        '<svg xmlns="http://www.w3.org/2000/svg" width="75pt" height="75pt">',
        '<svg xmlns="http://www.w3.org/2000/svg" width="9e9mm" height="2in" viewBox="0 0 100 100">',
        '<?xml version="1.0" encoding="ISO-8859-1"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" '
        '"http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd"><!-- \xe4 -->' + OPEN,
    ],
)
def test_the_page_fits_whatever_its_unit(head):
    content = f"{head}{STROKE}</svg>".encode("latin-1")
    assert inked(np.asarray(draw_svg(content, "it"))) == (10, 45, 90, 55)


def test_references_inside_are_followed():
    body = f'<defs><g id="a">{STROKE}</g></defs><use xlink:href="#a" y="-20"/>'
    assert inked(drawn(body)) == (10, 25, 90, 35)


@pytest.mark.parametrize("form", ["{0}", "file://{0}"])
@pytest.mark.parametrize(
    "body",
    [
        '<image href="{}" width="100" height="100"/>',
        '<image xlink:href="{}" width="100" height="100"/>',
        '<filter id="f"><feImage href="{}"/></filter><rect width="9" height="9" filter="url(#f)"/>',
        '<pattern id="p" width="1" height="1"><image href="{}" width="100" height="100"/></pattern>'
        '<rect width="100" height="100" fill="url(#p)"/>',
        '<use href="{}"/>',
    ],
)
def test_no_file_is_ever_read(tmp_path, body, form):
    secret = tmp_path / "secret.png"
    Image.new("RGB", (100, 100), "red").save(secret)
    pixels = drawn(body.format(form.format(secret)))
    assert not (pixels[..., 0] > 100).any()


def test_no_file_is_read_from_where_it_runs(tmp_path, monkeypatch):
    Image.new("RGB", (100, 100), "red").save(tmp_path / "secret.png")
    (tmp_path / "resvg_py.py").write_text("raise SystemExit('a stranger's module')")
    monkeypatch.chdir(tmp_path)
    pixels = drawn(STROKE + '<image href="secret.png" width="100" height="100"/>')
    assert inked(pixels) == (10, 45, 90, 55)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{OPEN}<path", "no well-formed SVG"),
        ("", "no well-formed SVG"),
        ("<html><svg/></html>", "outermost element is not <svg>"),
        ("<svg>" * 2000, "nested deeper than 64"),
        (OPEN + "<g>" * 5000 + "</g>" * 5000 + "</svg>", "nested deeper than 64"),
        (OPEN + "<g/>" * 60_000 + "</svg>", "more than 50,000 elements"),
        (OPEN + " " * MAX_BYTES + "</svg>", "more than 5 MB"),
        ('<!DOCTYPE svg [<!ENTITY a "b">]>' + OPEN + "</svg>", "defines entities"),
        ("<svg xmlns='http://www.w3.org/2000/svg' viewBox='a b'><g", "no well-formed SVG"),
        ("\ufeff".encode("utf-16").decode("latin-1"), "expected an SVG in UTF-8"),
        ("<?xml version='1.0' encoding='nothing-known'?>" + OPEN + "</svg>", "cannot read drawing"),
    ],
)
def test_what_is_refused(content, message):
    with pytest.raises(DataError, match=message) as caught:
        draw_svg(content.encode("latin-1") if content[:1] == "\xff" else content.encode(), "it")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "encoding",
    [
        "idna",
        "punycode",
        "rot13",
        "unicode_escape",
        "undefined",
        "utf-7",
        "hex",
        "cp037",
        "a" * 150,
    ],
)
def test_encodings_that_are_not_of_text_are_refused(encoding):
    content = f"<?xml version='1.0' encoding='{encoding}'?>{OPEN}{STROKE}</svg>".encode()
    with pytest.raises(DataError, match="expected an SVG in UTF-8, not ") as caught:
        harmless_svg(content, "it")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("encoding", ["UTF-8", "utf8", "us-ascii", "ISO-8859-15", "windows-1252"])
def test_encodings_of_text_are_read(encoding):
    content = f"<?xml version='1.0' encoding=\"{encoding}\" ?>{OPEN}{STROKE}</svg>".encode()
    assert b"M10 50H90" in harmless_svg(content, "it")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "head", ["", '<?xml version="1.0"?>', '<?xml version="1.0" encoding="x"?>']
)
def test_entities_do_not_hide_in_another_encoding(encoding, head):
    text = f'{head}<!DOCTYPE svg [<!ENTITY a "{"b" * 99}">]>{OPEN}<desc>{"&a;" * 99}</desc></svg>'
    with pytest.raises(DataError, match="expected an SVG in UTF-8; save it as plain SVG"):
        harmless_svg(text.encode(encoding), "it")


class TestHarmless:
    def test_links_to_itself_stay_and_all_others_go(self):
        body = (
            '<use href="#a"/><use href="file:///etc/passwd"/><use xlink:href=" http://a.b/c"/>'
            '<image href="#a"/><feImage/><script/><foreignObject/><g href="//a.b">'
            '<use href=""/></g>'
        )
        page = harmless_svg(f"{OPEN}{body}</svg>".encode(), "it").decode()
        assert page.count("href=") == 1
        assert 'href="#a"' in page
        assert not any(word in page for word in ("image", "Image", "script", "foreign", "passwd"))

    def test_what_is_harmless_stays_as_it_is(self):
        once = harmless_svg(f"{OPEN}{STROKE}</svg>".encode(), "it")
        assert harmless_svg(once, "it") == once

    def test_an_error_names_the_document_on_one_line(self):
        with pytest.raises(DataError, match=r"cannot read drawing a\\nb: it is no well-formed SVG"):
            harmless_svg(b"<svg", "a\nb")


def test_references_that_multiply_or_never_end_are_refused():
    many = ""
    for n in range(9):
        many += f'<g id="a{n + 1}">' + f'<use href="#a{n}"/>' * 10 + "</g>"
    with pytest.raises(DataError, match="cannot read drawing it"):
        drawn(f'<defs><g id="a0">{STROKE}</g>{many}</defs><use href="#a9"/>')
    with pytest.raises(DataError, match="cannot read drawing it"):
        drawn('<g id="a"><use href="#b"/></g><g id="b"><use href="#a"/></g><use href="#a"/>')


def test_what_takes_too_long_is_stopped(monkeypatch):
    monkeypatch.setattr(svg, "MAX_SECONDS", 1.0)
    circles = '<circle cx="50" cy="50" r="50" fill="#123" fill-opacity="0.1"/>' * 40_000
    started = time.monotonic()
    with pytest.raises(DataError, match="takes longer than 1 s to draw; save it simpler"):
        drawn(circles)
    assert time.monotonic() - started < 20


def test_without_its_renderer_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(svg.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"drawing it: SVG needs .*pip install 'msedge\[svg\]'"):
        drawn(STROKE)


def test_without_a_python_it_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DataError, match="cannot read drawing it"):
        drawn(STROKE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<svg/>", True),
        (b"\xef\xbb\xbf\n <?xml version='1.0'?>\n<!-- made -->\n<svg>", True),
        (b"<html></html>", False),
        (b"{}", False),
        (b"", False),
        (b"\x89PNG<svg>", False),
    ],
)
def test_what_looks_like_svg(content, expected):
    assert looks_like_svg(content) is expected
