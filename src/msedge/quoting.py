"""What strangers wrote, as messages repeat it: on one line, and short whatever it is.

A value out of a file may be a text of megabytes, a list that holds itself, or a number that Python
refuses to write out. Tested in ``tests/test_quoting.py``.
"""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

_CUT = "..."
_LONGEST_PATH = 16_384  # Linux knows none of more than 4,096 bytes, and an escape has four


class _Short(reprlib.Repr):
    """Python's own shortened ``repr``, which knows no numbers of more than 4,300 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 10
        self.maxstring = self.maxother = self.maxlong = 400

    def repr_int(self, x: int, level: int) -> str:
        bits = x.bit_length()
        return f"<a number of {bits:,} bits>" if bits > 1_000 else super().repr_int(x, level)

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, bytes):
            return super().repr_instance(x[: self.maxother], level)
        return super().repr_instance(x, level)


_SHORT = _Short()


def quoted(value: object, longest: int = 80) -> str:
    r"""A value as a Python programmer would write it, or its beginning.

    Args:
        value: anything that a parser makes of a file.
        longest: characters of what is returned.

    >>> quoted("a\nb"), quoted([1, "b"]), quoted("abcdefgh", 8)
    ("'a\\nb'", "[1, 'b']", "'abcd...")
    """
    return _cut(_SHORT.repr(value), longest)


def plain(value: object, longest: int = 200) -> str:
    r"""A text without quotation marks, or its beginning; odd characters are escaped.

    Args:
        value: a name, a path, another's error.
        longest: characters of what is returned.

    >>> plain("a\nb"), plain("abcdefgh", 7)
    ('a\\nb', 'abcd...')
    """
    text = str(value)
    cut = text[: longest + 1]  # before it is escaped, which makes it longer
    return _cut(cut if cut.isprintable() else repr(cut)[1:-1], longest)


def named(path: Path | str) -> str:
    r"""A path on one line, whole, since people have to find it; odd characters are escaped.

    >>> named(Path("/photos/a\nb"))
    '/photos/a\\nb'
    """
    return plain(path, _LONGEST_PATH)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - len(_CUT)] + _CUT
