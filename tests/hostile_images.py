"""Some three hundred bad or odd image files, made by code, each with what is to become of it.

Nothing in here is random but by a seed. Files that cost seconds and hundreds of megabytes to read
at the limits of what is read at all are marked ``large``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image

from hostile_formats import bmp, encoded, png, scene, webp, webp_canvas
from hostile_metadata import metadata
from hostile_modes import modes

COSTLY = frozenset({"huge EXIF", "takes minutes"})
"""Kinds whose files are megabytes, and take a second to make and to look through."""

Fate = Literal["read", "refused", "either"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A file.

    Attributes:
        kind: the class of fault.
        name: of the file, with a suffix that indexing and datasets look at.
        make: its bytes.
        fate: whether it can be read; ``either`` where that depends on the decoder's version, and
            all that is promised is a picture or one line.
        large: whether reading it takes much.
    """

    kind: str
    name: str
    make: Callable[[], bytes]
    fate: Fate
    large: bool = False


@cache
def good() -> dict[str, bytes]:
    """A sound file of each format, by the suffix that goes with it."""
    image = scene()
    return {
        "baseline.jpg": encoded(image, "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "plain.png": encoded(image, "PNG"),
        "palette.gif": encoded(image, "GIF"),
        "lossy.webp": encoded(image, "WEBP"),
        "lossless.webp": encoded(image, "WEBP", lossless=True),
        "plain.bmp": encoded(image, "BMP"),
        "raw.tif": encoded(image, "TIFF"),
        "deflate.tiff": encoded(image, "TIFF", compression="tiff_adobe_deflate"),
        "lzw.tif": encoded(image, "TIFF", compression="tiff_lzw"),
    }


def _of(content: bytes) -> Callable[[], bytes]:
    return lambda: content


def _truncated() -> Iterator[Hostile]:
    for name, content in good().items():
        length = len(content)
        offsets = {1, 2, 4, 9, 12, 20, 31, 60, *(length * share // 10 for share in (1, 3, 5, 7, 9))}
        for offset in sorted(offsets):
            fate: Fate = "refused" if offset <= length // 2 else "either"
            yield Hostile("truncated", f"{offset:06}-{name}", _of(content[:offset]), fate)


def _flipped() -> Iterator[Hostile]:
    for name, content in good().items():
        for seed in range(6):
            rng = np.random.default_rng([seed, len(content)])
            damaged = np.frombuffer(content, np.uint8).copy()
            places = rng.integers(0, min(len(content), 80 if seed % 2 else len(content)), 1 + seed)
            damaged[places] ^= 1 << rng.integers(0, 8, len(places), dtype=np.uint8)
            yield Hostile("bits flipped", f"{seed}-{name}", _of(damaged.tobytes()), "either")


def _misnamed() -> Iterator[Hostile]:
    suffixes = (".png", ".jpg", ".webp", ".jpeg", ".png", ".jpg", ".png", ".jpg", ".webp", ".png")
    for suffix, (name, content) in zip(suffixes, good().items(), strict=True):
        yield Hostile("wrong suffix", f"{name.replace('.', '-')}{suffix}", _of(content), "read")
    others = {
        "text": b"these are my holidays\n",
        "page": b"<!doctype html><title>404 Not Found</title>",
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\nshowpage\n",
        "zip": b"PK\x03\x04" + bytes(60),
        "program": b"\x7fELF\x02\x01\x01" + bytes(60),
        "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07nothing\x94.",
        "film": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(60),
        "drawing": b'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0L9 9"/></svg>',
        "strokes": b'{"strokes": [[[0, 1], [0, 1]]]}',
        "photoshop": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(99),
        "icon": b"\0\0\1\0\1\0\x10\x10" + bytes(60),
        "netpbm": b"P6 4 4 255\n" + bytes(48),
        "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(60),
        "apple-double": b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(60),
    }
    for what, content in others.items():
        yield Hostile("no image", f"{what}.jpg", _of(content), "refused")


def _short() -> Iterator[Hostile]:
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tif"):
        yield Hostile("empty", f"nothing.{suffix}", _of(b""), "refused")
    for value in (0x00, 0x0A, 0xFF):
        yield Hostile("empty", f"one-{value:02x}.png", _of(bytes([value])), "refused")
    magics = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF")
    for at, magic in enumerate(magics):
        yield Hostile("empty", f"head-{at}.jpg", _of(magic), "refused")
        yield Hostile("empty", f"zeros-{at}.png", _of(magic + bytes(5_000)), "refused")


def _claiming(kind: str, width: int, height: int) -> bytes:
    """A few bytes whose header claims a size."""
    if kind == "png":
        return png(width, height, pixels=zlib.compress(bytes(999)))
    if kind == "bmp":
        return bmp(width, height, bytes(999))
    if kind == "webp":
        lossy = good()["lossy.webp"][12:]
        return webp([webp_canvas(width, height), (lossy[:4], lossy[8:])])
    content = bytearray(
        good()[{"gif": "palette.gif", "jpg": "baseline.jpg", "tif": "raw.tif"}[kind]]
    )
    if kind == "gif":
        content[6:10] = struct.pack("<HH", width, height)
    elif kind == "jpg":
        place = content.index(b"\xff\xc0") + 5
        content[place : place + 4] = struct.pack(">HH", height, width)
    else:
        (place,) = struct.unpack_from("<I", content, 4)
        for entry in range(place + 2, place + 2 + 12 * 4, 12):
            tag = struct.unpack_from("<H", content, entry)[0]
            if tag in (256, 257):
                claimed = width if tag == 256 else height
                struct.pack_into("<HII", content, entry + 2, 4, 1, claimed)
    return bytes(content)


def _claims() -> Iterator[Hostile]:
    for kind in ("png", "jpg", "gif", "tif", "bmp", "webp"):
        far = {"png": 2**31 - 1, "bmp": 2**31 - 1, "tif": 2**31 - 1, "webp": 16_384}.get(
            kind, 65_535
        )
        for width, height in ((8_001, 8_000), (16_000, 16_000), (far, far), (40_000, 40_000)):
            if kind != "webp" or max(width, height) <= 16_384:
                make = _of(_claiming(kind, width, height))
                yield Hostile("claims too much", f"{width}x{height}.{kind}", make, "refused")
    for kind in ("png", "bmp", "tif"):
        for width, height in ((0, 9), (9, 0), (2**31 - 1, 1), (1, 2**31 - 1)):
            make = _of(_claiming(kind, width, height))
            yield Hostile("claims too much", f"{width}x{height}.{kind}", make, "refused")


def _unpacking() -> Iterator[Hostile]:
    """Small files of nearly as many pixels as are read."""
    wide, high = 8_000, 7_990
    solid: dict[str, Callable[[], bytes]] = {
        "grey.png": lambda: png(wide, high),
        "colour.png": lambda: png(wide, high, colour=2),
        "alpha.png": lambda: png(wide, high, colour=6),
        "deep.png": lambda: png(wide, high, depth=16),
        "deep-alpha.png": lambda: png(wide, high, depth=16, colour=6),
        "grey-alpha.png": lambda: png(wide, high, colour=4),
        "baseline.jpg": lambda: encoded(Image.new("RGB", (wide, high)), "JPEG"),
        "progressive.jpg": lambda: encoded(
            Image.new("RGB", (wide, high)), "JPEG", progressive=True, subsampling=0
        ),
        "inks.jpg": lambda: encoded(Image.new("CMYK", (wide, high)), "JPEG"),
        "palette.gif": lambda: encoded(Image.new("P", (wide, high)), "GIF"),
        "lossless.webp": lambda: encoded(Image.new("RGB", (16_000, 3_990)), "WEBP", lossless=True),
        "deflate.tif": lambda: encoded(
            Image.new("F", (wide, high)), "TIFF", compression="tiff_adobe_deflate"
        ),
        "inks.tif": lambda: encoded(
            Image.new("CMYK", (wide, high)), "TIFF", compression="tiff_adobe_deflate"
        ),
        "runs.bmp": lambda: bmp(wide, high, (b"\xff\0" * 31 + b"\x5f\0\0\0") * high, compression=1),
    }
    for name, make in solid.items():
        yield Hostile("unpacks to 64 Mpx", name, make, "read", large=True)


def _shapes() -> Iterator[Hostile]:
    for width, height in ((1, 1), (1, 65_500), (65_500, 1), (2, 3), (99_999, 1), (1, 99_999)):
        yield Hostile("odd shape", f"{width}x{height}.png", _of(png(width, height)), "read")
        if max(width, height) <= 65_500:
            image = Image.new("RGB", (width, height), "red")
            for kind, suffix in (("JPEG", "jpg"), ("TIFF", "tif"), ("BMP", "bmp"), ("GIF", "gif")):
                make = _of(encoded(image, kind))
                yield Hostile("odd shape", f"{width}x{height}.{suffix}", make, "read")
        if max(width, height) < 16_384:
            make = _of(encoded(Image.new("RGB", (width, height)), "WEBP"))
            yield Hostile("odd shape", f"{width}x{height}.webp", make, "read")
    for width, height in ((64_000_000, 1), (1, 200_000)):
        make = _of(png(width, height, pixels=zlib.compress(b"\0")))
        yield Hostile("odd shape", f"{width}x{height}.png", make, "refused")


@cache
def corpus() -> tuple[Hostile, ...]:
    """All files, by kind and name."""
    files = [
        *_truncated(),
        *_flipped(),
        *_misnamed(),
        *_short(),
        *_claims(),
        *_unpacking(),
        *_shapes(),
        *(Hostile(*each) for each in metadata()),
        *(Hostile(*each) for each in modes()),
    ]
    return tuple(sorted(files, key=lambda file: (file.kind, file.name)))


def some(most: int) -> tuple[Hostile, ...]:
    """Files of each kind, at most so many, evenly over their names; none that cost seconds."""
    by_kind: dict[str, list[Hostile]] = {}
    for file in corpus():
        if not file.large and file.kind not in COSTLY:
            by_kind.setdefault(file.kind, []).append(file)
    return tuple(
        file for files in by_kind.values() for file in files[:: max(1, len(files) // most)][:most]
    )
