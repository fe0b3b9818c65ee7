"""Standard input, output and error of a command, when they are closed, full or taken away.

A file behind standard output that takes no more is a user's error, told in one line. What goes
wrong with the news on standard error is passed over: a run of hours does not end because the
terminal that it was started from has gone. Tested in ``tests/faults/test_streams.py``.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from msedge.errors import DataError

_INPUT, _OUTPUT, _ERROR = range(3)  # descriptors


@contextmanager
def steady_streams() -> Iterator[None]:
    """Let a command run whatever its streams are.

    Raises:
        DataError: standard output took less than was written to it.
    """
    _open_what_is_closed()
    output = _Kept(_OUTPUT)
    before = sys.stdout, sys.stderr
    # Only those of the process itself: others have been put in their place by someone who knows.
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(output, before[0])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Lossy(_ERROR), before[1])
    try:
        yield
    except (OSError, SystemExit) as end:
        refusal = _refusal(output)
        if refusal is None:
            raise
        raise refusal from end
    finally:
        sys.stdout = before[0]


def as_refusal(error: OSError) -> DataError:
    """What to say where the system refuses something that no command expected."""
    of = f" ({error.filename!r})" if error.filename else ""
    return DataError(
        f"the system refuses: {error.strerror or error}{of}; mend that and try again (--debug says "
        "where it arose)"
    )


class _Kept(io.FileIO):
    """A descriptor to write to, which remembers what the system said when it refused."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.refused: OSError | None = None

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            self.refused = error
            raise


class _Lossy(_Kept):
    """One that takes everything, and loses what the system refuses."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError:
            return len(content)


def _text(descriptor: Any, like: Any) -> io.TextIOWrapper:
    """A stream over a descriptor that writes as another does, and escapes what that refuses."""
    return io.TextIOWrapper(
        io.BufferedWriter(descriptor),
        encoding=like.encoding,
        errors="backslashreplace" if like.errors == "strict" else like.errors,
        line_buffering=like.line_buffering,
    )


def _open_what_is_closed() -> None:
    """Let nobody listen where a stream is closed, rather than the next file that is opened."""
    for descriptor in (_INPUT, _OUTPUT, _ERROR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # as Python leaves it where it found it closed
            opened = open(descriptor, "r" if name == "stdin" else "w", closefd=False)  # noqa: SIM115
            setattr(sys, name, opened)
            setattr(sys, f"__{name}__", opened)


def _refusal(output: _Kept) -> DataError | None:
    """Why standard output did not take what was written; None where it did."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    error = output.refused
    if error is None or error.errno == errno.EPIPE:  # who read it wants no more
        return None
    with suppress(OSError):  # what is left would fail again when the process ends
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _OUTPUT)
        os.close(nowhere)
    return DataError(
        f"cannot write to standard output ({error.strerror}): what was printed is not whole; "
        "make room, or write to another place"
    )
