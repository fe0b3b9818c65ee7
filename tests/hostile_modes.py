"""Image files that are sound, of every kind of pixel that there is: all of them are to be read."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
from PIL import Image

from hostile_formats import chunk, encoded, png, scene, segment, tiff, with_segments

Made = tuple[str, str, Callable[[], bytes], Literal["read", "refused", "either"]]


def modes() -> Iterator[Made]:
    """All of them."""
    yield from _of_pillow()
    yield from _of_png()
    yield from _of_tiff()
    jpeg = encoded(scene().convert("CMYK"), "JPEG")
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\x02")  # YCCK
    yield "kind of pixel", "ycck.jpg", lambda: with_segments(jpeg, [adobe]), "read"


def _of_pillow() -> Iterator[Made]:
    kinds = {
        "JPEG": ("L", "RGB", "CMYK"),
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
        "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "LAB", "YCbCr"),
        "WEBP": ("RGB", "RGBA"),
        "GIF": ("1", "L", "P"),
        "BMP": ("1", "L", "P", "RGB", "RGBA"),
    }
    suffixes = {"JPEG": "jpg", "TIFF": "tif"}
    for kind, names in kinds.items():
        for name in names:
            image = _in_mode(name)
            suffix = suffixes.get(kind, kind.lower())
            make = lambda i=image, k=kind: encoded(i, k)  # noqa: E731
            yield "kind of pixel", f"{name.replace(';', '-')}.{suffix}", make, "read"  # type: ignore[misc]


def _in_mode(name: str) -> Image.Image:
    if name == "LAB":
        return Image.merge("LAB", scene().split())
    if name == "I;16":
        levels = np.linspace(0, 65_535, 96 * 72).reshape(72, 96)
        return Image.fromarray(levels.astype(np.uint16))
    return scene().convert(name)


def _of_png() -> Iterator[Made]:
    palette = [chunk(b"PLTE", bytes(range(48)))]
    for depth in (1, 2, 4, 8, 16):
        name = f"grey-{depth}-bit.png"
        yield "kind of pixel", name, lambda d=depth: png(9, 7, depth=d), "read"  # type: ignore[misc]
        if depth < 16:
            make = lambda d=depth: png(9, 7, depth=d, colour=3, before=palette)  # noqa: E731
            yield "kind of pixel", f"palette-{depth}-bit.png", make, "read"  # type: ignore[misc]
    see_through = [*palette, chunk(b"tRNS", bytes(range(16)))]
    one = [*palette, chunk(b"tRNS", b"\0")]
    files = {
        "palette-transparent": lambda: png(9, 7, colour=3, before=see_through),
        "palette-one-transparent": lambda: png(9, 7, colour=3, before=one),
        "grey-transparent": lambda: png(9, 7, before=[chunk(b"tRNS", b"\0\0")]),
        "grey-deep-transparent": lambda: png(9, 7, depth=16, before=[chunk(b"tRNS", b"\0\0")]),
        "colour-transparent": lambda: png(9, 7, colour=2, before=[chunk(b"tRNS", bytes(6))]),
        "colour-deep": lambda: png(9, 7, depth=16, colour=2),
    }
    for name, make in files.items():
        yield "kind of pixel", f"{name}.png", make, "read"


def _of_tiff() -> Iterator[Made]:
    """Floating numbers that are none, and whole ones at their limits."""
    floats = {
        "nan": np.full((8, 8), np.nan, np.float32),
        "infinite": np.array([[np.inf, -np.inf] * 4] * 8, np.float32),
        "nearly-infinite": np.full((8, 8), 3e38, np.float32),
        "below-zero": np.full((8, 8), -3e38, np.float32),
        "mixed": np.array([[0, 1, np.nan, np.inf, -np.inf, 1e-45, 3e38, -1]] * 8, np.float32),
    }
    for name, levels in floats.items():
        make = lambda a=levels: _numbers(a, 3)  # noqa: E731
        yield "odd numbers", f"{name}.tif", make, "read"  # type: ignore[misc]
    whole = np.array([[0, 1, -1, 2**31 - 1, -(2**31), 255, 256, 65_535]] * 8, np.int32)
    yield "odd numbers", "whole.tif", lambda: _numbers(whole, 2), "read"
    short = np.array([[0, 1, -1, 2**15 - 1, -(2**15), 255, 256, 99]] * 8, np.int16)
    yield "odd numbers", "short.tif", lambda: _numbers(short, 2), "either"


def _numbers(levels: np.ndarray, kind: int) -> bytes:
    bits = levels.dtype.itemsize * 8
    return tiff(8, 8, levels.tobytes(), bits=(bits,), more=[(339, 3, 1, struct.pack("<H", kind))])
