"""Picture files put together byte by byte, as no program writes them.

What encoders make is too well-behaved to test readers with: here a file says what a test wants it
to say. Each function returns the bytes of one file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

LONG, SHORT, ASCII, UNDEFINED = 4, 3, 2, 7  # types of TIFF's values
_SIZES = {LONG: 4, SHORT: 2, ASCII: 1, UNDEFINED: 1, 12: 8}
EXIF_POINTER = 0x8769


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """What Pillow's own encoder makes of an image."""
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def scene(width: int = 96, height: int = 72, seed: int = 0) -> Image.Image:
    """A picture with something in it, always the same."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk of PNG, its checksum right."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    *,
    depth: int = 8,
    colour: int = 0,
    interlaced: bool = False,
    before: Iterable[bytes] = (),
    after: Iterable[bytes] = (),
    pixels: bytes | None = None,
) -> bytes:
    """A PNG of one colour; ``before`` and ``after`` are chunks around its pixels.

    Without ``pixels`` they are all there, which makes a large picture of few bytes.
    """
    if pixels is None:
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        row = b"\0" * (1 + (width * channels * depth + 7) // 8)
        packer = zlib.compressobj(1)
        pixels = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", head), *before, chunk(b"IDAT", pixels)]
    return b"".join([*parts, *after, chunk(b"IEND")])


def segment(marker: int, body: bytes = b"") -> bytes:
    """A segment of JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(content: bytes, segments: Iterable[bytes]) -> bytes:
    """A JPEG with more segments right behind its first marker."""
    return b"".join([content[:2], *segments, content[2:]])


def jpeg_of_scans(width: int, height: int, scans: int, *, progressive: bool = True) -> bytes:
    """A grey JPEG that says nothing, many times: each scan costs a pass over all its blocks."""
    blocks = -(-width // 8) * -(-height // 8)
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    parts = [
        b"\xff\xd8",
        segment(0xDB, b"\0" + b"\x10" * 64),
        segment(0xC2 if progressive else 0xC0, frame),
        segment(0xC4, b"\x00" + b"\x01" + bytes(15) + b"\x00"),  # of DC: one bit, no difference
    ]
    if not progressive:
        parts.append(segment(0xC4, b"\x10\x01" + bytes(15) + b"\x00"))  # of AC: the block ends
        scan = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + bytes(blocks * 2 // 8 + 1)
        return b"".join([*parts, *[scan] * scans, b"\xff\xd9"])
    parts.append(segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0"))  # of AC: 16,384 empty blocks
    parts.append(segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(blocks // 8 + 1))
    runs = -(-blocks // 16384)
    empty = segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + bytes(runs * 15 // 8 + 1)
    return b"".join([*parts, *[empty] * (scans - 1), b"\xff\xd9"])


def gif_blocks(kind: int, pieces: Iterable[bytes]) -> bytes:
    """An extension of GIF: 0xFE is a comment, 0xFF belongs to a program."""
    packed = (bytes([len(piece)]) + piece for piece in pieces)
    return b"!" + bytes([kind]) + b"".join(packed) + b"\0"


def with_gif_extension(content: bytes, extension: bytes) -> bytes:
    """A GIF with one more extension before its first frame."""
    flags = content[10]
    palette = 3 << ((flags & 7) + 1) if flags & 0x80 else 0
    start = 13 + palette
    return content[:start] + extension + content[start:]


Entry = tuple[int, int, int, bytes | int]
"""Tag, type, count; and the value's bytes, or the place where it is said to lie."""


def directory(entries: Iterable[Entry], start: int, following: int = 0) -> bytes:
    """A directory of TIFF at a place in its file, with the values behind it."""
    listed = sorted(entries, key=lambda entry: entry[0])
    behind = start + 2 + 12 * len(listed) + 4
    table, values, length = [], [], 0
    for tag, kind, count, value in listed:
        field = struct.pack("<I", value) if isinstance(value, int) else value
        if len(field) > 4:
            values.append(field)
            field = struct.pack("<I", behind + length)
            length += len(values[-1])
        table.append(struct.pack("<HHI", tag, kind, count) + field.ljust(4, b"\0"))
    head, end = struct.pack("<H", len(listed)), struct.pack("<I", following)
    return b"".join([head, *table, end, *values])


def tiff(
    width: int,
    height: int,
    strip: bytes,
    *,
    compression: int = 1,
    bits: tuple[int, ...] = (8,),
    photometric: int = 1,
    more: Iterable[Entry] = (),
    following: int = 0,
    without: Iterable[int] = (),
) -> bytes:
    """A TIFF of one strip, which stands right behind the header."""
    start = 8 + len(strip) + len(strip) % 2
    given = list(more)
    entries: list[Entry] = [
        (256, LONG, 1, width),
        (257, LONG, 1, height),
        (258, SHORT, len(bits), struct.pack(f"<{len(bits)}H", *bits)),
        (259, SHORT, 1, compression),
        (262, SHORT, 1, photometric),
        (273, LONG, 1, 8),
        (277, SHORT, 1, len(bits)),
        (278, LONG, 1, height),
        (279, LONG, 1, len(strip)),
    ]
    replaced = {*without, *(tag for tag, *_ in given)}
    entries = [entry for entry in entries if entry[0] not in replaced] + given
    body = b"II*\0" + struct.pack("<I", start) + strip + b"\0" * (len(strip) % 2)
    return body + directory(entries, start, following)


def exif(entries: Iterable[Entry], padding: int = 0) -> bytes:
    """A block of EXIF, as JPEG and WebP hold it."""
    return b"Exif\0\0II*\0\x08\0\0\0" + directory(entries, 8) + bytes(padding)


def overlapping(count: int, claimed: int) -> list[Entry]:
    """Entries that all claim the same bytes, each for itself."""
    return [(1 + tag if tag < 255 else 1000 + tag, UNDEFINED, claimed, 8) for tag in range(count)]


def webp(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A WebP file of chunks."""
    body = b"".join(
        kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
        for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp_canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """The chunk that says how large a WebP file's picture is."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def bmp(width: int, height: int, pixels: bytes, *, bits: int = 8, compression: int = 0) -> bytes:
    """A BMP; compression 1 is that of runs."""
    palette = (
        b"".join(bytes([level, level, level, 0]) for level in range(256)) if bits == 8 else b""
    )
    start = 14 + 40 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", (start + len(pixels)) & 0xFFFFFFFF, 0, 0, start)
    colours = len(palette) // 4
    info = (40, width, height, 1, bits, compression, len(pixels) & 0xFFFFFFFF, 0, 0, colours, 0)
    return head + struct.pack("<IiiHHIIiiII", *info) + palette + pixels
