"""Small questions that mean a lot of work: refused, or answered within bounds, others meanwhile.

Each is sent while somebody else asks; that one is answered all along.
"""

from __future__ import annotations

import base64
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from attacked_server import SECONDS, Answer, AttackedServer

MEGABYTES_FOR_ONE = 700.0
DEEP = 1_000_000


def fill(piece: bytes, size: int = 15 * 2**20) -> bytes:
    """As many of a piece as make so many bytes, with commas between."""
    return b",".join([piece] * (size // (len(piece) + 1)))


STROKE = b"[[%b],[]]" % fill(b'""', 270_000)  # 90,000 coordinates that are none
JSON_BOMBS = {
    "lists in lists": lambda: b"[" * DEEP,
    "lists in lists that end": lambda: b"[" * DEEP + b"]" * DEEP,
    "objects in objects": lambda: b'{"strokes":' * DEEP,
    "strokes in strokes": lambda: b'{"strokes":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "15 MB of one stroke": lambda: b'{"strokes":[[[%b],[1]]]}' % fill(b"1"),
    "15 MB of empty strokes": lambda: b'{"strokes":[%b]}' % fill(b"[]"),
    "15 MB of objects": lambda: b'{"strokes":[%b]}' % fill(b"{}"),
    "15 MB of coordinates that are none": lambda: b'{"strokes":[%b]}' % fill(STROKE),
    "15 MB of ids that are none": lambda: b'{"like":[%b]}' % fill(b'""'),
    "15 MB of ids": lambda: b'{"like":[%b]}' % fill(b"1"),
    "a million fields": lambda: (
        b'{%b,"like":[3]}' % b",".join(b'"k%d":1' % n for n in range(10**6))
    ),
    "a field a million times": lambda: b'{%b,"like":[3]}' % fill(b'"k":6'),
    "a number of 8 MB": lambda: b'{"k":%b}' % (b"9" * 2**23),
    "a number of 4,000 digits": lambda: b'{"like":[%b]}' % (b"9" * 4_000),
    "a fraction of 8 MB": lambda: b'{"strokes":[[[0.%b],[1]]]}' % (b"1" * 2**23),
    "an exponent": lambda: b'{"strokes":[[[1e999999999],[1]]]}',
    "numbers that are none": lambda: b'{"strokes":[[[NaN,Infinity],[-Infinity,1]]]}',
    "15 MB of spaces": lambda: b" " * (15 * 2**20) + b'{"like":[3]}',
    "a text of 15 MB": lambda: b'{"folder":"%b","like":[3]}' % (b"a" * (15 * 2**20)),
    "escapes of 15 MB": lambda: b'{"folder":"%b","like":[3]}' % (b"\\u0000" * (5 * 2**19)),
    "half a character": lambda: b'{"folder":"\\ud800","like":[3]}',
    "half a character for a name": lambda: b'{"\\udfff":1,"like":[3]}',
    "accents without end": lambda: json.dumps(
        {"folder": "a" + "\u0301" * 4_000, "like": [3]}
    ).encode(),
    "directions": lambda: json.dumps({"folder": "\u202e\u2066" * 2_000, "like": [3]}).encode(),
    "no UTF-8": lambda: b'{"folder":"\xff\xfe","like":[3]}',
    "another coding": lambda: '{"like":[3]}'.encode("utf-32"),
    "a mark before it": lambda: b'\xef\xbb\xbf{"like":[3]}',
    "nothing but a number": lambda: b"1" * 4_000,
    "names of Python": lambda: b'{"__class__":{"__init__":{"__globals__":{}}},"like":[3]}',
    "100,000 points": lambda: json.dumps(
        {"strokes": [[[*range(100)], [5] * 100]] * 1_000}
    ).encode(),
}


def png(width: int, height: int) -> bytes:
    """A white PNG of any size in few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    rows, packing = (b"\0" + b"\xff" * (3 * width)) * 8, zlib.compressobj(1)
    packed = b"".join(packing.compress(rows) for _ in range(height // 8)) + packing.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pieces = chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + pieces


def claims(content: bytes, at: int, size: str, width: int, height: int) -> bytes:
    """A picture whose header claims another size."""
    claimed = struct.pack(size, width, height)
    return content[:at] + claimed + content[at + len(claimed) :]


def saved(kind: str, **options: object) -> bytes:
    """A small drawing as a file."""
    image = Image.new("RGB", (64, 64), "white")
    image.paste((0, 0, 0), (10, 10, 20, 50))
    stream = BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def nested(kind: str) -> bytes:
    """An SVG in which little stands for ten to the eleventh."""
    if kind == "entities":
        lines = [f"<!ENTITY a{n} '" + f"&a{n - 1};" * 10 + "'>" for n in range(1, 12)]
        head = f"<!DOCTYPE svg [<!ENTITY a0 'aaaaaaaaaa'>{' '.join(lines)}]>"
        body = '<svg xmlns="http://www.w3.org/2000/svg"><text>&a11;</text></svg>'
        return f"{head}{body}".encode()
    uses = [f"<g id='a{n}'>" + f"<use href='#a{n - 1}'/>" * 10 + "</g>" for n in range(1, 12)]
    path = '<g id="a0"><path d="M0 0L9 9" stroke="black"/></g>'
    root = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">'
    return f"{root}<defs>{path}{' '.join(uses)}</defs><use href='#a11'/></svg>".encode()


def svg(body: str, size: str = 'viewBox="0 0 10 10"') -> bytes:
    """An SVG of these elements."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>'.encode()


LINE = '<path d="M0 0L9 9" stroke="#000"/>'
PICTURE = '<image href="{}" width="9" height="9"/>'
FRAMES = [Image.new("RGB", (64, 64), (n % 255, 0, n // 255)) for n in range(300)]
IMAGE_BOMBS = {
    "a PNG of 20 Mpx": lambda: png(5_000, 4_000),
    "a PNG of 64 Mpx": lambda: claims(png(8, 8), 16, ">II", 8_000, 8_000),
    "a PNG of 4 Gpx": lambda: claims(png(8, 8), 16, ">II", 65_535, 65_535),
    "a PNG of 4 Epx": lambda: claims(png(8, 8), 16, ">II", 2**31 - 1, 2**31 - 1),
    "a PNG of no pixel": lambda: claims(png(8, 8), 16, ">II", 0, 0),
    "a PNG of one column": lambda: png(1, 2_000_000),
    "a PNG of one row": lambda: png(250_000, 8),
    "a PNG that is cut": lambda: png(500, 400)[:-200],
    "a JPEG of 4 Gpx": lambda: saved("JPEG").replace(b"\x00\x40\x00\x40", b"\xff\xff\xff\xff", 1),
    "a GIF of 4 Gpx": lambda: claims(saved("GIF"), 6, "<HH", 65_535, 65_535),
    "a GIF of 300 pictures": lambda: saved("GIF", save_all=True, append_images=FRAMES),
    "SVG's entities": lambda: nested("entities"),
    "SVG's uses": lambda: nested("uses"),
    "an SVG of a kilometre": lambda: svg(LINE, 'width="1km" height="1e9px"'),
    "an SVG of 250,000 paths": lambda: svg(LINE * 250_000),
    "an SVG of one long path": lambda: svg(LINE.replace("L9 9", "L9 9L0 5" * 800_000)),
    "an SVG of groups in groups": lambda: svg("<g>" * 200_000),
    "an SVG of dashes": lambda: svg(LINE.replace("/", ' stroke-dasharray="1e-6"/')),
    "an SVG of filters": lambda: svg(
        '<filter id="f"><feGaussianBlur stdDeviation="1e6"/><feTurbulence numOctaves="99999"/>'
        '</filter><rect width="9" height="9" filter="url(#f)"/>'
    ),
    "an SVG of somebody's file": lambda: svg(PICTURE.format("file:///etc/passwd")),
    "an SVG of another machine": lambda: svg(PICTURE.format("http://127.0.0.1:9/x.png")),
    "strokes in a file": lambda: b"[" * 1_000_000,
    "nothing but zeros": lambda: bytes(10_000_000),
    "a link": lambda: b"/etc/passwd",
    "a compressed file": lambda: zlib.compress(bytes(10**7)),
}  # fmt: skip


class Bystander:
    """Somebody who asks for nothing hard all along."""

    def __init__(self, server: AttackedServer) -> None:
        self._server, self._ended = server, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.statuses: list[int] = []

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            self.statuses.append(self._server.ask("GET", "/healthz").status)

    def __enter__(self) -> Bystander:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def attack(server: AttackedServer) -> Iterator[Answer]:
    """Ask while another asks, and look at the memory."""

    def ask(body: bytes) -> Answer:
        before = server.figures()
        with Bystander(server) as bystander:
            answer = server.ask("POST", "/api/search", body)
        assert {*bystander.statuses} <= {200}
        peak = server.figures().megabytes
        assert peak < before.megabytes + MEGABYTES_FOR_ONE
        return answer

    return ask


class TestJson:
    @pytest.mark.parametrize("name", JSON_BOMBS)
    def test_it_is_refused_or_answered(self, attack, name: str):
        answer = attack(JSON_BOMBS[name]())
        assert answer.status in (200, 400, 413, 422), answer
        if answer.status != 200:
            assert list(json.loads(answer.body)) == ["detail"]
            assert len(answer.body) < 2_000


class TestImages:
    @pytest.mark.parametrize("name", IMAGE_BOMBS)
    def test_it_is_refused_or_answered(self, attack, name: str):
        content = base64.b64encode(IMAGE_BOMBS[name]())
        answer = attack(b'{"image":"%b"}' % content)
        assert answer.status in (200, 413, 422), answer
        assert b"root:" not in answer.body

    def test_many_large_ones_at_a_time(self, server):
        before = server.figures()
        body = b'{"image":"%b"}' % base64.b64encode(png(4_000, 2_500))
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(server.ask("POST", "/api/search", body).status)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert len(statuses) == 6
        assert {*statuses} <= {200, 413, 422, 429}
        assert server.figures().megabytes < before.megabytes + MEGABYTES_FOR_ONE
