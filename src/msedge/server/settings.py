"""What a server is told when it starts, refused where it would not be safe.

Tested in ``tests/server/test_settings.py``.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field

from msedge.data.images import MAX_PIXELS, one_line
from msedge.errors import ConfigError

SHORTEST_TOKEN = 16
"""Characters; shorter ones can be guessed by trying."""

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?))(:[0-9]{0,5})?")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def is_loopback(host: str) -> bool:
    """Whether an address to bind to can be reached from this machine alone.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str | None:
    """The name or address in a ``Host`` header, in lower case; None when it is not well formed.

    >>> host_name("Photos.example.org:8765"), host_name("[::1]:80"), host_name("a/b")
    ('photos.example.org', '::1', None)
    """
    found = _HOST.fullmatch(header.lower())
    return (found[1] or found[2]) if found else None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """A server's address, who may ask it, and how much at a time.

    Attributes:
        host: the address to bind to. One that other machines reach needs a token.
        token: what a request must prove to know; None lets every local process ask.
        allowed_hosts: further names that a ``Host`` header may hold, such as a proxy's.
        max_body_bytes: longest body of a request.
        max_pixels: largest image of a request, in pixels.
        searches_at_once: searches that run at the same time.
        searches_waiting: searches that may wait for their turn; more are turned away.

    Raises:
        ConfigError: the address needs a token, or a value cannot be used.
    """

    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: int = 16 * 2**20
    max_pixels: int = MAX_PIXELS
    searches_at_once: int = field(default_factory=cores)
    searches_waiting: int = 32

    def __post_init__(self) -> None:
        for name in ("max_body_bytes", "max_pixels", "searches_at_once"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.searches_waiting < 0:
            raise ConfigError(f"searches_waiting must not be negative: {self.searches_waiting}")
        for name in self.allowed_hosts:
            if host_name(name) != name.lower().strip("[]"):
                raise ConfigError(
                    f"{one_line(name)!r} is not a host name; give one such as photos.example.org, "
                    "without a port"
                )
        self._check_token()

    def _check_token(self) -> None:
        if self.token is None:
            if not is_loopback(self.host):
                raise ConfigError(
                    f"{one_line(self.host)} can be reached from other machines, so a token is "
                    "needed: give --token, or MSEDGE_TOKEN in the environment"
                )
        elif len(self.token) < SHORTEST_TOKEN or not re.fullmatch(r"[!-~]+", self.token):
            raise ConfigError(
                f"a token needs at least {SHORTEST_TOKEN} characters, of ASCII and without spaces; "
                "`openssl rand -hex 16` makes one"
            )

    @property
    def host_names(self) -> frozenset[str]:
        """Names that a ``Host`` header may hold, in lower case."""
        bound = frozenset() if self.host in _WILDCARDS else {self.host.lower()}
        return _OWN_NAMES | bound | {name.lower().strip("[]") for name in self.allowed_hosts}
