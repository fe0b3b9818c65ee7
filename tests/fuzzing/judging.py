"""What every parser promises of any bytes: a value, or one line that says what is wrong.

A parser here is a function of bytes. It may return, or raise
:class:`~msedge.errors.MSEdgeError` with one printable line of bounded length, quickly either way.
All else is a defect: another exception, a message over several lines or with characters that a
terminal obeys, a message as long as the input, a parser that takes its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from msedge.errors import MSEdgeError

LONGEST_MESSAGE = 2_000
"""Characters; the longest honest ones name all settings of a training run."""

SLOWEST = 10.0
"""Seconds of a processor, not of a clock, since machines may be busy."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test.

    Attributes:
        name: what the command line calls it.
        parse: hands the bytes to the parser as its users do; checks what it returns, where
            there is something to check beyond its being returned.
        seeds: whole documents, from which others are made.
        words: what the format's documents are made of.
        longest: bytes of an input worth trying.
        seconds: that one input may take.
    """

    name: str
    parse: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    longest: int = 4_096
    seconds: float = SLOWEST


class Defect(AssertionError):  # noqa: N818 - what is sought
    """A parser broke its promise."""


def judge(target: Target, content: bytes) -> str | None:
    """Parse some bytes, and hold the parser to its promise.

    Returns:
        The refusal; None where the bytes were accepted.

    Raises:
        Defect: the promise was broken.
    """
    begun = time.process_time()
    refusal = None
    try:
        target.parse(content)
    except MSEdgeError as error:
        refusal = str(error)
        _check_message(target, refusal)
    except Defect:
        raise
    except Exception as error:
        raise Defect(f"{target.name}: {type(error).__name__}: {str(error)[:300]!r}") from error
    taken = time.process_time() - begun
    if taken > target.seconds:
        raise Defect(f"{target.name}: {len(content)} bytes took {taken:.1f} s of a processor")
    return refusal


def _check_message(target: Target, message: str) -> None:
    if not message.strip():
        raise Defect(f"{target.name}: a refusal without a word")
    if not message.isprintable():
        odd = next(one for one in message if not one.isprintable())
        raise Defect(f"{target.name}: {odd!r} in the message {message[:300]!r}")
    if len(message) > LONGEST_MESSAGE:
        raise Defect(f"{target.name}: {len(message):,} characters of {message[:300]!r}")
