"""Files that are small and cost minutes: told by their structure, before anything decodes them.

A limit of pixels stops what unpacks into too many. It does not stop a JPEG of a hundred thousand
scans that each pass over the whole picture, a PNG of ten million empty chunks, or a tile of TIFF
that is larger than its picture. Real photos are far from these limits: scans number about ten,
parts some dozens. Numbers and lengths are all that is looked at here; whether a file is sound, its
decoder says. Tested in ``tests/data/test_image_structure.py``.

References:
    ITU-T T.81 (JPEG), annex B; RFC 2083 (PNG); GIF89a; TIFF 6.0 and its "Big" successor.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

MAX_SCANS = 100
"""Of a JPEG: each is a pass over all pixels, and progressive ones have ten."""

MAX_PARTS = 50_000
"""Segments of JPEG before its first scan, and chunks of PNG."""

MAX_BLOCKS = 250_000
"""Of at most 255 bytes each, before the first frame of a GIF."""

MAX_EXIF = 8_000_000
"""Bytes of EXIF in a JPEG, whose segments are put together."""

MAX_ENTRIES = 65_535
"""Of a directory of TIFF; all that the older form can have."""

MAX_STRIPS = 2_000_000
"""Strips or tiles of TIFF."""

_MAX_JUNK = 65_536  # bytes between segments of JPEG, which are skipped one at a time
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # what ends the data of a scan
_ALONE = {0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)}  # markers that Pillow reads no length of
_END, _START_OF_SCAN, _EXIF = 0xD9, 0xDA, 0xE1
_TILE_SIDES, _LISTS = (322, 323), (273, 279, 324, 325)  # tags of TIFF


def excess(content: bytes, most_pixels: int) -> str | None:
    """What a file has too much of to be decoded in good time.

    Args:
        content: of the file, in any format.
        most_pixels: that a picture may have.

    Returns:
        What it is, in a few words; None for a file that may be decoded.

    Example:
        >>> excess(bytes.fromhex("89504e470d0a1a0a") + bytes(12) * 50_001, 64_000_000)
        'more than 50,000 chunks'
    """
    if content.startswith(b"\xff\xd8\xff"):
        return _of_jpeg(content)
    if content.startswith(b"\x89PNG"):
        return _of_png(content)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _of_gif(content)
    if content[:2] in (b"II", b"MM"):
        return _of_tiff(content, most_pixels)
    return None


def is_buffered(content: bytes) -> bool:
    """Whether decoders hold a JPEG's coefficients whole, since it comes in more than one scan.

    The content is one that :func:`excess` passed.
    """
    return content.startswith(b"\xff\xd8\xff") and _of_jpeg(content, most_scans=1) is not None


def _of_jpeg(content: bytes, most_scans: int = MAX_SCANS) -> str | None:
    place, parts, junk, exif = 2, 0, 0, 0
    while True:
        found = content.find(b"\xff", place)
        if found < 0 or found + 1 >= len(content):
            return None  # it has no scan, which its decoder will say
        marker = content[found + 1]
        junk += found - place + (marker in (0x00, 0xFF))
        place = found + (1 if marker == 0xFF else 2)
        parts += 1
        if marker not in _ALONE and marker not in (0x00, 0xFF):
            length = int.from_bytes(content[place : place + 2])
            if marker == _EXIF and content[place + 2 : place + 6] == b"Exif":
                exif += length
            place += length
            if marker == _START_OF_SCAN:
                return _of_scans(content, place, most_scans)
        if junk > _MAX_JUNK:
            return f"more than {_MAX_JUNK:,} bytes between its segments"
        if parts > MAX_PARTS + _MAX_JUNK:
            return f"more than {MAX_PARTS:,} segments"
        if exif > MAX_EXIF:
            return f"more than {MAX_EXIF // 1_000_000} MB of EXIF"


def _of_scans(content: bytes, place: int, most_scans: int) -> str | None:
    """The same of what follows the head of the first scan; ends with the picture."""
    scans = 1
    for _ in range(MAX_PARTS):
        found = _MARKER.search(content, place)
        if found is None or content[found.start() + 1] == _END:
            return None
        scans += content[found.start() + 1] == _START_OF_SCAN
        if scans > most_scans:
            return f"more than {most_scans} scans"
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
    return f"more than {MAX_PARTS:,} segments"


def _of_png(content: bytes) -> str | None:
    place = 8
    for _ in range(MAX_PARTS):
        if place + 8 > len(content):
            return None
        place += 12 + int.from_bytes(content[place : place + 4])
    return f"more than {MAX_PARTS:,} chunks" if place < len(content) else None


def _of_gif(content: bytes) -> str | None:
    if len(content) < 13:
        return None
    place, blocks = 13, 0
    if content[10] & 0x80:
        place += 3 << ((content[10] & 7) + 1)
    while place < len(content) and content[place] not in b",;":
        if content[place] != ord("!"):  # junk, skipped a byte at a time
            place += 1
        else:
            place += 2
            while place < len(content) and content[place]:
                place += 1 + content[place]
                blocks += 1
                if blocks > MAX_BLOCKS:
                    break
            place += 1
        blocks += 1
        if blocks > MAX_BLOCKS:
            return f"more than {MAX_BLOCKS:,} blocks before its picture"
    return None


def _of_tiff(content: bytes, most_pixels: int) -> str | None:
    order = "<" if content[:2] == b"II" else ">"
    try:
        is_big = struct.unpack_from(order + "H", content, 2)[0] == 43
        start, count, entry = ("Q", "Q", "HHQ8s") if is_big else ("L", "H", "HHL4s")
        (place,) = struct.unpack_from(order + start, content, 8 if is_big else 4)
        (entries,) = struct.unpack_from(order + count, content, place)
    except (struct.error, OverflowError):
        return None
    if entries > MAX_ENTRIES:
        return f"more than {MAX_ENTRIES:,} entries in its directory"
    tile = dict.fromkeys(_TILE_SIDES, 0)
    place += struct.calcsize(order + count)
    for tag, kind, number, value in _entries(content, place, entries, order + entry):
        if tag in _LISTS and number > MAX_STRIPS:
            return f"more than {MAX_STRIPS:,} strips or tiles"
        if tag in tile:
            short = kind == 3  # else a number of 4 bytes, or of 8 in the "Big" form
            side = struct.unpack_from(
                order + ("H" if short else "L" if kind == 4 else start), value
            )
            tile[tag] = max(tile[tag], side[0])
    if tile[_TILE_SIDES[0]] * tile[_TILE_SIDES[1]] > most_pixels:
        return f"tiles of more than {most_pixels // 1_000_000} Mpx"
    return None


def _entries(
    content: bytes, place: int, count: int, layout: str
) -> Iterator[tuple[int, int, int, bytes]]:
    size = struct.calcsize(layout)
    for at in range(place, place + count * size, size):
        if at + size > len(content):
            return
        yield struct.unpack_from(layout, content, at)
