"""Which client a request is of, and how often one may ask.

Tested in ``tests/server/test_clients.py``.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from msedge.server.problems import problem
from msedge.server.settings import Network, host_name

FREE_GUESSES = 5
GUESS_SECONDS = 60.0
"""In which so many wrong tokens are free; also the longest wait after more of them."""

_BURST_SECONDS = 3.0
_MOST_CLIENTS = 10_000
_NETWORK_BITS = 64


def client_of(scope: Scope) -> str:
    """The client that a request is of: its address, and of IPv6 the network of 64 bits.

    Whoever has one IPv6 address has 2**64 of them.

    >>> client_of({"client": ("192.0.2.7", 5000)}), client_of({"client": ("2001:db8::7", 5000)})
    ('192.0.2.7', '2001:db8::')
    """
    host = str((scope.get("client") or ("",))[0])
    address = _address(host)
    if address is None:  # a Unix socket's, which has none
        return host
    if address.version == 4:
        return str(address)
    shift = address.max_prefixlen - _NETWORK_BITS
    return str(ipaddress.IPv6Address(int(address) >> shift << shift))


def believe_proxies(scope: Scope, trusted: Sequence[Network]) -> None:
    """Have a request that comes from a trusted proxy be of the client that the proxy names.

    That is the last address of ``X-Forwarded-For`` that is no trusted proxy's: what stands before
    it was written by whoever has it, and may be made up.
    """
    address = _address(str((scope.get("client") or ("",))[0]))
    if address is None or not _is_in(address, trusted):
        return
    headers, client = Headers(scope=scope), None
    for text in reversed(",".join(headers.getlist("x-forwarded-for")).split(",")):
        address = _address(host_name(text.strip()) or text.strip())  # some write a port too
        if address is None:
            break
        client = address
        if not _is_in(address, trusted):
            break
    if client is not None:
        scope["client"] = (str(client), 0)
    if headers.get("x-forwarded-proto", "").strip().lower() == "https":
        scope["scheme"] = "https"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]
) -> bool:
    return any(address in network for network in networks)


class Rate:
    """How often each client may do something: a bucket for each, filled as time goes by."""

    def __init__(
        self,
        per_second: float,
        *,
        most_clients: int = _MOST_CLIENTS,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how often on average, and of how many clients to keep a record.

        Of more the one that has not asked for longest is forgotten, so that its bucket is full
        again.
        """
        self._per_second, self._now = per_second, now
        self._size = max(1.0, per_second * _BURST_SECONDS)
        self._most_clients = most_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Clients on record."""
        return len(self._buckets)

    def wait(self, client: str) -> int:
        """Count what a client asks for.

        Returns:
            0 when it may; else the whole seconds after which it may, and nothing is counted.
        """
        now = self._now()
        left, since = self._buckets.pop(client, (self._size, now))
        left = min(self._size, left + (now - since) * self._per_second)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > self._most_clients:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) / self._per_second))


@dataclass(slots=True)
class _Guesser:
    """When a client gave wrong tokens of late, how long it waits after the next, and until when."""

    times: list[float] = field(default_factory=list)
    seconds: float = 1.0
    until: float = -math.inf


class Guesses:
    """Wrong tokens of each client: after a few it has to wait, twice as long after each more.

    A client that gave a right one before is not kept out by wrong ones, which others may give who
    have its address.
    """

    def __init__(
        self, *, most_clients: int = _MOST_CLIENTS, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Take of how many clients to keep a record, as :class:`Rate` does."""
        self._most_clients, self._now = most_clients, now
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        """Clients on record."""
        return len(self._guessers) + len(self._known)

    def wait(self, client: str) -> int:
        """Whole seconds until a client may give a token again; 0 when it may."""
        guesser = self._guessers.get(client)
        return 0 if guesser is None else math.ceil(max(0.0, guesser.until - self._now()))

    def wrong(self, client: str) -> None:
        """Count a wrong one."""
        now = self._now()
        guesser = self._guessers.pop(client, None)
        if guesser is None or now - max([guesser.until, *guesser.times[-1:]]) >= GUESS_SECONDS:
            guesser = _Guesser()
        recent = [when for when in guesser.times if now - when < GUESS_SECONDS]
        guesser.times = [*recent[1 - FREE_GUESSES :], now]
        if len(guesser.times) >= FREE_GUESSES or guesser.seconds > 1:
            guesser.until = now + guesser.seconds
            guesser.seconds = min(GUESS_SECONDS, 2 * guesser.seconds)
        self._guessers[client] = guesser
        if len(self._guessers) > self._most_clients:
            self._guessers.popitem(last=False)

    def right(self, client: str) -> None:
        """Note a right one."""
        self._known[client] = None
        self._known.move_to_end(client)
        if len(self._known) > self._most_clients:
            self._known.popitem(last=False)

    def was_right(self, client: str) -> bool:
        """Whether a client gave a right one before."""
        return client in self._known


class RateLimit:
    """Turn away who asks too often for some paths, before anything of the body is read."""

    def __init__(
        self,
        app: ASGIApp,
        rate: Rate | None,
        paths: frozenset[str],
        refused: Callable[[str], None],
    ) -> None:
        """Take the application, how often, for what, and what hears of a refusal."""
        self._app, self._rate, self._paths, self._refused = app, rate, paths, refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, or answer 429."""
        if self._rate is not None and scope["type"] == "http" and scope["path"] in self._paths:
            wait = self._rate.wait(client_of(scope))
            if wait:
                self._refused("rate")
                line = f"too many searches from your address: try again in {wait} s"
                await problem(429, line, {"Retry-After": str(wait)})(scope, receive, send)
                return
        await self._app(scope, receive, send)
