"""Keeps to itself what decoders remark on a damaged file in passing.

Pillow warns, up to a line for each of 60,000 tags, and libtiff writes a line for each row that it
cannot read straight to standard error. What is wrong with a file is told once, by the error that
:mod:`msedge.data.images` raises, or is of no account. Tested in ``tests/hostile/``.
"""

from __future__ import annotations

import ctypes
import logging
import warnings
from contextlib import suppress
from functools import cache

from PIL import Image, _imaging


def keep_pillow_quiet() -> None:
    """Pass over Pillow's remarks; whoever sets filters or handlers gets them all the same."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.", append=True)
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)
    logging.getLogger("PIL").addHandler(logging.NullHandler())


@cache
def keep_libtiff_quiet() -> None:
    """Pass over what libtiff writes, where Pillow's copy of it can be reached.

    It can be where Pillow loads it as a library of its own (Linux, macOS), and cannot where it is
    built into Pillow (Windows).
    """
    with suppress(OSError, AttributeError):
        loaded = ctypes.CDLL(_imaging.__file__)  # and through it the libraries that it uses
        for handler in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            silence = getattr(loaded, handler)
            silence.argtypes, silence.restype = [ctypes.c_void_p], ctypes.c_void_p
            silence(None)
