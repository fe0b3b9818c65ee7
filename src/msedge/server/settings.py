"""What a server is told when it starts, refused where it would not be safe.

Tested in ``tests/server/test_settings.py``.
"""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from msedge.data.images import one_line
from msedge.errors import ConfigError

SHORTEST_TOKEN = 16
"""Characters; shorter ones can be guessed by trying."""

SEARCHES_PER_SECOND = 10.0
"""Of one client where other machines can reach the server; a page asks less while one draws."""

SEARCHES_PER_CLIENT = 16
"""That run or wait, likewise. A page has one at a time, so this is for sixteen people behind one
address, and leaves most places in the queue to all others."""

PICTURES_PER_CLIENT = 64
"""Likewise; a browser asks for six at a time."""

MEMORY_BYTES = 300_000_000
"""For pictures while they are read: enough for one JPEG, PNG or HEIC of 24 megapixels, whatever its
kind, and for several small ones."""

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})
_ROOT_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?))(:[0-9]{0,5})?")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_AT_LEAST_ONE = (
    "max_body_bytes",
    "max_bodies_bytes",
    "max_pixels",
    "memory_bytes",
    "searches_at_once",
    "searches_per_client",
    "pictures_per_client",
    "most_connections",
    "bytes_per_second",
)
_ABOVE_ZERO = (
    "searches_per_second",
    "header_seconds",
    "idle_seconds",
    "body_seconds",
    "reader_seconds",
    "finish_seconds",
    "gallery_seconds",
)


def is_token(text: str) -> bool:
    """Whether a text can be a token: long enough, of ASCII, without spaces."""
    return len(text) >= SHORTEST_TOKEN and re.fullmatch(r"[!-~]+", text) is not None


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
    found = host_and_port(header)
    return found[0] if found else None


def host_and_port(header: str) -> tuple[str, int | None] | None:
    """The same, with the port if there is one.

    >>> host_and_port("[::1]:80"), host_and_port("localhost:"), host_and_port("[::1]x")
    (('::1', 80), ('localhost', None), None)
    """
    found = _HOST.fullmatch(header.lower())
    if found is None:
        return None
    port = (found[3] or ":")[1:]
    return found[1] or found[2], int(port) if port else None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """A server's address, who may ask it, how much at a time, and how long it waits for a client.

    Attributes:
        host: the address to bind to. One that other machines reach needs a token.
        token: what a request must prove to know; None lets every local process ask, where there is
            no `token_file` either.
        token_file: further tokens with their names, see :mod:`msedge.server.tokens`.
        trusted_proxies: addresses or networks whose ``X-Forwarded-For`` and ``X-Forwarded-Proto``
            are believed.
        root_path: under which a proxy shows the server, such as ``/photos``, which it takes off.
        allowed_hosts: further names that a ``Host`` header may hold, such as a proxy's.
        max_body_bytes: longest body of a request.
        max_bodies_bytes: of all bodies that are in memory at a time, beyond the first 64 KiB of
            each, so that drawings go on being answered when large images do not.
        max_pixels: largest image of a request, in pixels.
        memory_bytes: that pictures may take at a time while they are read, those of requests and of
            the gallery; more have to wait.
        searches_at_once: searches that run at the same time.
        searches_waiting: searches that may wait for their turn; more are turned away.
        searches_per_second: of one client, on average over three seconds; None for no limit.
        searches_per_client: that run or wait at a time; None for no limit.
        pictures_per_client: thumbnails and conversions, likewise.
        most_connections: open at a time; None for half of the files that this process may open, at
            most 1,000.
        header_seconds: in which a request's header must arrive, and a new connection begin to ask.
        idle_seconds: that a connection is kept after an answer.
        body_seconds: that a client may be slow with a body; see ``bytes_per_second``.
        reader_seconds: that a client may be slow to take an answer, likewise.
        bytes_per_second: give back one of these seconds, so that whoever is at least so fast is
            waited for however long it takes.
        finish_seconds: that answers which have begun may take when the server ends.
        gallery_seconds: that a gallery which does not answer, or a search, is waited for.

    Raises:
        ConfigError: the address needs a token, or a value cannot be used.
    """

    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    root_path: str = ""
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: int = 16 * 2**20
    max_bodies_bytes: int = 128 * 2**20
    max_pixels: int = 24_000_000
    memory_bytes: int = MEMORY_BYTES
    searches_at_once: int = field(default_factory=cores)
    searches_waiting: int = 128
    searches_per_second: float | None = None
    searches_per_client: int | None = None
    pictures_per_client: int | None = None
    most_connections: int | None = None
    header_seconds: float = 10.0
    idle_seconds: float = 10.0
    body_seconds: float = 10.0
    reader_seconds: float = 30.0
    bytes_per_second: int = 16_000
    finish_seconds: float = 10.0
    gallery_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} must be a number above 0, got {value}")
        if self.searches_waiting < 0:
            raise ConfigError(f"searches_waiting must not be negative: {self.searches_waiting}")
        for name in self.allowed_hosts:
            if host_name(name) != name.lower().strip("[]"):
                raise ConfigError(
                    f"{one_line(name)!r} is not a host name; give one such as photos.example.org, "
                    "without a port"
                )
        if not _ROOT_PATH.fullmatch(self.root_path):
            raise ConfigError(
                f"{one_line(self.root_path)!r} is no path of a site; give one such as /photos, "
                "without a slash at its end"
            )
        _ = self.proxies
        self._check_token()

    def _check_token(self) -> None:
        if self.token is None:
            if self.token_file is None and not is_loopback(self.host):
                raise ConfigError(
                    f"{one_line(self.host)} can be reached from other machines, so a token is "
                    "needed: give --token, or MSEDGE_TOKEN in the environment"
                )
        elif not is_token(self.token):
            raise ConfigError(
                f"a token needs at least {SHORTEST_TOKEN} characters, of ASCII and without spaces; "
                "`openssl rand -hex 16` makes one"
            )

    @property
    def host_names(self) -> frozenset[str]:
        """Names that a ``Host`` header may hold, in lower case."""
        bound = frozenset() if self.host in _WILDCARDS else {self.host.lower()}
        return _OWN_NAMES | bound | {name.lower().strip("[]") for name in self.allowed_hosts}

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of the trusted proxies."""
        return tuple(map(_network, self.trusted_proxies))


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise ConfigError(
            f"{one_line(text)!r} is no address; give a proxy's, such as 127.0.0.1 or 10.0.0.0/8"
        ) from error
    if network.prefixlen == 0:
        raise ConfigError(f"{text} trusts everybody to name a client; give the proxy's own address")
    return network


def settings_for(
    host: str,
    *,
    token: str | None,
    allowed_hosts: Iterable[str],
    rate: float | None,
    token_file: Path | None = None,
    trusted_proxies: Iterable[str] = (),
    root_path: str = "",
    memory: int = MEMORY_BYTES,
) -> ServerSettings:
    """The settings that suit an address: limits for each client where there can be several.

    On this machine alone all clients have one address, a reverse proxy's with all behind it
    included, so there a limit for each would be one for all, unless the proxy is trusted to name
    them.

    Args:
        host: the address to bind to.
        token: as of :class:`ServerSettings`.
        allowed_hosts: likewise.
        rate: searches a second of one client; 0 for no limit, None for what suits the address.
        token_file: as of :class:`ServerSettings`.
        trusted_proxies: likewise.
        root_path: likewise; a slash at its end is taken off.
        memory: ``memory_bytes`` of :class:`ServerSettings`.

    Raises:
        ConfigError: as :class:`ServerSettings`.
    """
    proxies = tuple(trusted_proxies)
    alone = is_loopback(host) and not proxies
    if rate is None:
        rate = 0.0 if alone else SEARCHES_PER_SECOND
    return ServerSettings(
        host=host,
        token=token,
        token_file=token_file,
        trusted_proxies=proxies,
        root_path=root_path.rstrip("/"),
        allowed_hosts=tuple(allowed_hosts),
        memory_bytes=memory,
        searches_per_second=rate if rate != 0 else None,
        searches_per_client=None if alone else SEARCHES_PER_CLIENT,
        pictures_per_client=None if alone else PICTURES_PER_CLIENT,
    )
