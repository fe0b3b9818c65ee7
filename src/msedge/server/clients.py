"""Which client a request is of, and how often one may ask.

Tested in ``tests/server/test_clients.py``.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from msedge.server.problems import problem

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
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a Unix socket's, which has none
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    shift = address.max_prefixlen - _NETWORK_BITS
    return str(ipaddress.IPv6Address(int(address) >> shift << shift))


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
