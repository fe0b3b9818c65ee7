"""Image files whose trouble is not in their pixels: metadata, structure, animation.

Each is a kind, a name, a function that makes its bytes, and its fate, as of ``hostile_images``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from PIL import ImageCms

from hostile_formats import (
    ASCII,
    EXIF_POINTER,
    LONG,
    SHORT,
    UNDEFINED,
    chunk,
    encoded,
    exif,
    gif_blocks,
    jpeg_of_scans,
    overlapping,
    png,
    scene,
    segment,
    tiff,
    webp,
    webp_canvas,
    with_gif_extension,
    with_segments,
)

Made = tuple[str, str, Callable[[], bytes], Literal["read", "refused", "either"]]

_ZEROS = 20_000_000  # that a bomb unpacks to


def metadata() -> Iterator[Made]:
    """All of them."""
    yield from _slow()
    yield from _texts()
    yield from _exif()
    yield from _profiles()
    yield from _directories()
    yield from _animations()


def _slow() -> Iterator[Made]:
    """Structures that take a decoder minutes."""
    jpeg, gif = encoded(scene(), "JPEG"), encoded(scene(), "GIF")
    many = "takes minutes"
    yield many, "scans.jpg", lambda: jpeg_of_scans(4_000, 4_000, 5_000), "refused"
    yield many, "hidden-scans.jpg", _hidden_scans, "refused"
    yield many, "scans-within-bounds.jpg", lambda: jpeg_of_scans(1_000, 1_000, 100), "read"
    yield many, "comments.jpg", lambda: with_segments(jpeg, [segment(0xFE)] * 500_000), "refused"
    yield many, "padding.jpg", lambda: with_segments(jpeg, [b"\xff" * 20_000_000]), "refused"
    yield (
        many,
        "junk.jpg",
        lambda: with_segments(jpeg, [b"\xff\xd0" + b"a" * 20_000_000]),
        "refused",
    )
    yield many, "chunks.png", lambda: png(8, 8, before=[chunk(b"prVt")] * 500_000), "refused"
    yield many, "chunks-behind.png", lambda: png(8, 8, after=[chunk(b"prVt")] * 500_000), "refused"
    yield many, "blocks.gif", lambda: _with_blocks(gif, [b"a"] * 5_000_000), "refused"
    yield many, "comments.gif", lambda: _with_comments(gif, 2_000_000), "refused"
    yield many, "entries.tif", _claims_entries, "refused"
    yield many, "tiles.tif", lambda: _tiled(60_000), "refused"
    yield many, "tiles-within-bounds.tif", lambda: _tiled(64), "either"
    yield (
        many,
        "strips.tif",
        lambda: tiff(8, 8, bytes(64), more=[(273, LONG, 9_000_000, 8)]),
        "refused",
    )


def _hidden_scans() -> bytes:
    """As many scans, behind a comment that holds the mark of the end."""
    content = jpeg_of_scans(4_000, 4_000, 5_000)
    second = content.index(b"\xff\xda", content.index(b"\xff\xda") + 1)
    return content[:second] + segment(0xFE, b"\xff\xd9") + content[second:]


def _with_blocks(gif: bytes, pieces: list[bytes]) -> bytes:
    return with_gif_extension(gif, gif_blocks(0xFF, pieces))


def _with_comments(gif: bytes, count: int) -> bytes:
    return with_gif_extension(gif, gif_blocks(0xFE, [b"a"]) * count)


def _claims_entries() -> bytes:
    """A "Big" TIFF whose directory has as many entries as the file has room for."""
    entry = struct.pack("<HHQQ", 700, UNDEFINED, 1, 0)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**40) + entry * 500_000


def _tiled(side: int) -> bytes:
    packed = zlib.compress(bytes(20_000_000), 9)
    tiles = [(322, LONG, 1, side), (323, LONG, 1, side)]
    places = [(324, LONG, 1, 8), (325, LONG, 1, len(packed))]
    return tiff(8, 8, packed, compression=8, more=[*tiles, *places], without=(273, 278, 279))


def _texts() -> Iterator[Made]:
    bomb, large = zlib.compress(bytes(_ZEROS), 9), zlib.compress(bytes(900_000), 1)
    texts: dict[str, tuple[list[bytes], Literal["read", "refused", "either"]]] = {
        "zTXt": ([chunk(b"zTXt", b"a\0\0" + bomb)], "refused"),
        "iTXt": ([chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)], "refused"),
        "iCCP": ([chunk(b"iCCP", b"a\0\0" + bomb)], "refused"),
        "many-zTXt": (
            [chunk(b"zTXt", b"%d\0\0" % at + large) for at in range(100)],
            "refused",
        ),
        "many-tEXt": ([chunk(b"tEXt", b"%d\0a" % at) for at in range(20_000)], "read"),
        "long-tEXt": ([chunk(b"tEXt", b"a\0" + b"a" * 3_000_000)], "read"),
        "cut-zTXt": ([chunk(b"zTXt", b"a\0\0" + bomb[:40])], "either"),
        "no-key": (
            [chunk(b"tEXt", b"\0\xff\xfe"), chunk(b"iTXt", b"\xff"), chunk(b"zTXt")],
            "either",
        ),
        "wrong-method": ([chunk(b"zTXt", b"a\0\7abc")], "refused"),
        "two-heads": ([chunk(b"IHDR", bytes(13))], "refused"),
        "short-head": ([chunk(b"IHDR", b"\0")], "refused"),
        "wrong-sum": ([chunk(b"gAMA", b"\0\0\xb1\x8f")[:-1] + b"\0"], "either"),
        "odd-name": ([chunk(b"\xff\0\n\x1b", b"")], "either"),
    }
    for name, (chunks, fate) in texts.items():
        yield "text of PNG", f"{name}.png", lambda c=chunks: png(8, 8, before=c), fate  # type: ignore[misc]


def _exif() -> Iterator[Made]:
    jpeg = encoded(scene(), "JPEG")
    itself: list[tuple[int, int, int, bytes | int]] = [(EXIF_POINTER, LONG, 1, 8)]
    blocks = {
        "points-at-itself": exif(itself),
        "points-far-away": exif([(EXIF_POINTER, LONG, 1, 2**32 - 1)]),
        "claims-4-GB": exif([(270, ASCII, 2**32 - 1, 8)]),
        "overlapping": exif(overlapping(5_000, 5_000))[:65_000],
        "orientation-is-text": exif([(0x0112, ASCII, 4, b"abc\0")]),
        "orientation-is-99": exif([(0x0112, SHORT, 1, 99)]),
        "orientation-is-many": exif([(0x0112, SHORT, 9, bytes(18))]),
        "divided-by-zero": exif([(0x011A, 5, 1, bytes(8)), (0x0128, SHORT, 1, 3)]),
        "unknown-types": exif([(tag, 99, 7, 8) for tag in range(300, 400)]),
        "cut": exif([(0x0112, SHORT, 1, 6)])[:17],
        "only-a-head": b"Exif\0\0",
        "no-order": b"Exif\0\0XX*\0\x08\0\0\0" + bytes(40),
        "date-is-numbers": exif([(EXIF_POINTER, LONG, 1, 26)]),
        "date-with-lines": _dated(b"2020:01:01\n00:00:00\x1b[2J\0"),
        "date-beyond-time": _dated(b"9999:99:99 99:99:99\0"),
    }
    for name, block in blocks.items():
        yield (
            "odd EXIF",
            f"{name}.jpg",
            lambda b=block: with_segments(jpeg, [segment(0xE1, b)]),
            "read",
        )  # type: ignore[misc]
        webp_of = webp([webp_canvas(96, 72, 8), *_lossy(), (b"EXIF", block[6:])])
        yield "odd EXIF", f"{name}.webp", lambda c=webp_of: c, "read"  # type: ignore[misc]
        png_of = png(96, 72, before=[chunk(b"eXIf", block[6:])])
        yield "odd EXIF", f"{name}.png", lambda c=png_of: c, "read"  # type: ignore[misc]
    large = exif(overlapping(9_000, 2_000_000), 2_000_000)
    pieces = [large[at : at + 65_000] for at in range(6, len(large), 65_000)]
    parts = [segment(0xE1, b"Exif\0\0" + piece) for piece in pieces]
    yield "huge EXIF", "overlapping.jpg", lambda: with_segments(jpeg, parts), "read"
    filled = segment(0xE1, b"Exif\0\0" + bytes(65_000))
    yield "huge EXIF", "8-MB.jpg", lambda: with_segments(jpeg, [filled] * 100), "read"
    yield "huge EXIF", "65-MB.jpg", lambda: with_segments(jpeg, [filled] * 1_000), "refused"
    huge = webp([webp_canvas(96, 72, 8), *_lossy(), (b"EXIF", large[6:])])
    yield "huge EXIF", "overlapping.webp", lambda: huge, "read"
    yield (
        "huge EXIF",
        "overlapping.png",
        lambda: png(9, 9, before=[chunk(b"eXIf", large[6:])]),
        "read",
    )
    raw = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 99\n" + b"zz" * 400_000)
    yield "huge EXIF", "as-text.png", lambda: png(9, 9, before=[chunk(b"zTXt", raw)]), "read"


def _dated(text: bytes) -> bytes:
    inner = struct.pack("<HHHII", 1, 0x9003, ASCII, len(text), 44) + bytes(4) + text
    return exif([(EXIF_POINTER, LONG, 1, 26)]) + inner


def _lossy() -> list[tuple[bytes, bytes]]:
    content = encoded(scene(), "WEBP")
    return [(content[12:16], content[20:])]


def _profiles() -> Iterator[Made]:
    sound = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    claims = struct.pack(">I", 2**32 - 1) + sound[4:]
    profiles = {
        "broken": b"no profile at all",
        "cut": sound[:100],
        "claims-4-GB": claims,
        "many-tags": sound[:128] + struct.pack(">I", 2**31) + bytes(900),
        "empty": b"",
    }
    for name, profile in profiles.items():
        for kind, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")):
            content = encoded(scene(), kind, icc_profile=profile or None)
            yield "broken ICC", f"{name}.{suffix}", lambda c=content: c, "read"  # type: ignore[misc]
    jpeg = encoded(scene(), "JPEG")
    parts = [segment(0xE2, b"ICC_PROFILE\0\xff\x01" + bytes(60_000))] * 50
    yield "broken ICC", "255-parts.jpg", lambda: with_segments(jpeg, parts), "read"


def _directories() -> Iterator[Made]:
    plain = bytes(range(64))
    files: dict[str, tuple[bytes, Literal["read", "refused", "either"]]] = {
        "follows-itself": (tiff(8, 8, plain, following=72), "read"),
        "overlapping": (
            tiff(8, 8, plain, more=overlapping(9_000, 900_000)) + bytes(900_000),
            "either",
        ),
        "no-size": (tiff(8, 8, plain, without=(256,)), "refused"),
        "no-strips": (tiff(8, 8, plain, without=(273,)), "either"),
        "strip-far-away": (tiff(8, 8, plain, more=[(273, LONG, 1, 2**32 - 1)]), "refused"),
        "strip-of-4-GB": (tiff(8, 8, plain, more=[(279, LONG, 1, 2**32 - 1)]), "either"),
        "no-rows": (tiff(8, 8, plain, more=[(278, LONG, 1, 0)]), "either"),
        "65535-samples": (tiff(8, 8, plain, more=[(277, SHORT, 1, 65_535)]), "refused"),
        "unknown-compression": (tiff(8, 8, plain, compression=9_999), "refused"),
        "jpeg-inside": (tiff(8, 8, encoded(scene(), "JPEG"), compression=7), "either"),
        "old-jpeg-inside": (tiff(8, 8, encoded(scene(), "JPEG"), compression=6), "either"),
        "fax-of-noise": (
            tiff(800, 800, np.random.default_rng(1).bytes(9_000), compression=4, bits=(1,)),
            "either",
        ),
        "deflated-noise": (
            tiff(99, 99, np.random.default_rng(2).bytes(999), compression=8),
            "refused",
        ),
        "lzw-of-noise": (
            tiff(99, 99, np.random.default_rng(3).bytes(999), compression=5),
            "either",
        ),
    }
    for name, (content, fate) in files.items():
        yield "odd directory", f"{name}.tif", lambda c=content: c, fate  # type: ignore[misc]


def _animations() -> Iterator[Made]:
    frames = [scene(32, 24, seed) for seed in range(100)]
    rest = frames[1:]
    for kind, suffix in (("GIF", "gif"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")):
        make = lambda k=kind: encoded(frames[0], k, save_all=True, append_images=rest)  # noqa: E731
        yield "animated", f"100-frames.{suffix}", make, "read"  # type: ignore[misc]
    few = {"save_all": True, "append_images": rest[:2]}
    png_of = encoded(frames[0], "PNG", **few)
    for name, count in (("no", 0), ("too-many", 2**32 - 1)):
        place = png_of.index(b"acTL") + 4
        body = struct.pack(">II", count, 0)
        changed = png_of[: place - 8] + chunk(b"acTL", body) + png_of[place + 12 :]
        yield "animated", f"{name}-frames.png", lambda c=changed: c, "read"  # type: ignore[misc]
    gif = encoded(frames[0], "GIF", **few)
    yield "animated", "frame-beyond-screen.gif", lambda: _beyond(gif), "either"
    yield "animated", "cut-behind-first-frame.gif", lambda: gif[: len(gif) // 2], "either"
    moving = encoded(frames[0], "WEBP", **few)
    yield "animated", "cut-behind-first-frame.webp", lambda: moving[: len(moving) // 2], "either"


def _beyond(gif: bytes) -> bytes:
    changed = bytearray(gif)
    place = gif.index(b",\0\0\0\0") + 1
    changed[place : place + 8] = struct.pack("<HHHH", 60_000, 60_000, 5_000, 5_000)
    return bytes(changed)
