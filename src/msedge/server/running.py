"""A server as a process: its socket, its address, and how it ends.

Tested in ``tests/cli/test_serve.py``, with real processes.
"""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from msedge.data.images import one_line
from msedge.errors import ConfigError

_SECONDS_TO_FINISH = 10
_BACKLOG = 256


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: name or address.
        port: 0 for any that is free.

    Raises:
        ConfigError: the address is taken, or not this machine's.
    """
    where = f"{one_line(host)}, port {port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"no address for {where} ({error.strerror}): give another --host") from (
            error
        )
    listening = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":  # there it would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            line = f"{where} is taken by another program: give another --port, or 0 for a free one"
        else:
            line = f"cannot listen on {where} ({error.strerror}): give another --host or --port"
        raise ConfigError(line) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """The address under which a browser of this machine finds a socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: FastAPI, listening: socket.socket, *, log: bool, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; answers that have begun are finished first.

    Args:
        app: what answers.
        listening: where.
        log: whether to write a line for each request to standard error.
        ready: called once, when requests are answered.
    """
    if log:
        _log_requests()
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=log,
        proxy_headers=False,  # nothing here depends on who a proxy says it speaks for
        server_header=False,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)  # uvicorn raises the signal again after its own ending
    _Server(config, ready).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _log_requests() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("uvicorn.access")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
