"""The tokens that open a server: their names, the file that holds them, and which one was given.

Several are good at a time, so that one can be replaced while the others go on. Names go into the
log; a token never does. Tested in ``tests/server/test_tokens.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from msedge.errors import ConfigError
from msedge.quoting import named
from msedge.server.settings import SHORTEST_TOKEN, is_token

UNNAMED = "default"
"""The name of a token that was given without one."""

_LONGEST_NAME = SHORTEST_TOKEN - 1  # so that no token is taken for a name, and logged
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{_LONGEST_NAME}}}")
_MOST_BYTES = 2**16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_OF_ROOT = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        name: what the log calls it.
        secret: what a client must know.
    """

    name: str
    secret: str = field(repr=False)

    @property
    def cookie(self) -> str:
        """What the cookie holds: a proof of the token from which it cannot be had back."""
        return hmac.new(self.secret.encode(), b"msedge photos", hashlib.sha256).hexdigest()


class Tokens:
    """All that are good now."""

    def __init__(self, token: str | None = None, file: Path | None = None) -> None:
        """Take the one without a name, and read the file of those with names.

        Raises:
            ConfigError: the file cannot be used.
        """
        self._unnamed = [] if token is None else [Token(UNNAMED, token)]
        self._file = file
        self._good: tuple[Token, ...] = ()
        self.reload()

    def __len__(self) -> int:
        """How many there are; none where anybody may ask."""
        return len(self._good)

    def reload(self) -> None:
        """Read the file again.

        Raises:
            ConfigError: it cannot be used; the tokens are those of before.
        """
        read = [] if self._file is None else _read(self._file)
        good = (*self._unnamed, *read)
        for what, values in (("name", {t.name for t in good}), ("token", {t.secret for t in good})):
            if len(values) < len(good):
                raise ConfigError(
                    f"{named(self._file or '')} gives a {what} twice (a token without a name, and "
                    f"--token's, is named {UNNAMED}): give each a name and a token of its own"
                )
        self._good = good

    def of_secret(self, given: str) -> Token | None:
        """The token that was given."""
        return self._find(given, lambda token: token.secret)

    def of_cookie(self, given: str) -> Token | None:
        """The token whose cookie was given."""
        return self._find(given, lambda token: token.cookie)

    def _find(self, given: str, wanted: Callable[[Token], str]) -> Token | None:
        found = None
        for token in self._good:  # all of them, so that the time tells nothing
            if _same(given, wanted(token)):
                found = token
        return found


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _read(path: Path) -> list[Token]:
    """The tokens of a file: ``NAME TOKEN`` or ``TOKEN`` in a line, ``#`` before a remark."""
    where, found = named(path), []
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        place = f"line {number} of {where}"
        if len(words) > 2:
            raise ConfigError(f"{place} has {len(words)} words: write a name and a token")
        if len(words) == 2 and not _NAME.fullmatch(words[0]):
            raise ConfigError(
                f"{place} begins with no name: write NAME TOKEN, a name of at most "
                f"{_LONGEST_NAME} letters, digits, dots, dashes"
            )
        if not is_token(words[-1]):
            raise ConfigError(
                f"{place} has no token: it needs at least {SHORTEST_TOKEN} characters, of ASCII; "
                "`openssl rand -hex 16` makes one"
            )
        found.append(Token(words[0] if len(words) == 2 else UNNAMED, words[-1]))
    if not found:
        raise ConfigError(f"{where} holds no token: write a line NAME TOKEN")
    return found


def _lines(path: Path) -> list[str]:
    """A file's lines, where nobody else can read it.

    One that root owns may be readable by its group: so service managers and clusters hand out
    secrets, to whom they are meant for.
    """
    where = named(path)
    try:
        # Without waiting: a pipe that nobody writes to would hold up the start.
        opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(opened, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{where} is no file: give one with a line for each token")
            others = _OTHERS if status.st_uid else _OTHERS_OF_ROOT
            if os.name == "posix" and status.st_mode & others:
                raise ConfigError(f"{where} can be read by others: `chmod 600` mends it")
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read the tokens in {where} ({error.strerror}): give another --token-file"
        ) from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{where} is longer than {_MOST_BYTES} bytes: give a file of tokens")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is no text in UTF-8") from error
