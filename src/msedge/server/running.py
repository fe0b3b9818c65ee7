"""A server as a process: its socket, its address, and how it ends.

Tested in ``tests/cli/test_serve.py`` and ``test_serve_ending.py``, with real processes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from msedge.data.images import one_line
from msedge.errors import ConfigError, MSEdgeError
from msedge.server.connections import Connections
from msedge.server.memory import prepare_to_give_back
from msedge.server.protocol import LimitedProtocol
from msedge.server.request_log import LogFormat, start_log
from msedge.server.service import Service

_logger = logging.getLogger(__name__)

_BACKLOG = 256
_SECONDS_MORE = 5.0
"""After answers had their time: for searches that run, and what else the program ends."""
_SECONDS_WHEN_FORCED = 1.0


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


def serve(
    app: FastAPI,
    listening: socket.socket,
    *,
    log: bool,
    log_format: LogFormat = "text",
    ready: Callable[[], None],
) -> None:
    """Serve until SIGINT or SIGTERM, and then end the program.

    Answers that have begun are finished first, for as long as the settings say; a second signal
    ends it at once. Whatever still runs or hangs then, a few seconds later the process is gone.
    SIGHUP has the tokens and the gallery read again.

    Args:
        app: what answers, from :func:`~msedge.server.app.create_app`.
        listening: where.
        log: whether to write a line for each request to standard error, and not of failures alone.
        log_format: of these lines.
        ready: called once, when requests are answered.

    Raises:
        SystemExit: it was asked to end: status 0, or 1 after a second signal.
    """
    service: Service = app.state.service
    connections = Connections(service.settings, service.metrics.dropped)
    service.metrics.watch_connections(lambda: len(connections))
    _say_defects_only()
    prepare_to_give_back()
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http=cast(type[asyncio.Protocol], partial(LimitedProtocol, connections)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # uvicorn's would write what follows the "?"
        proxy_headers=False,  # RequestLog believes those that were named
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=service.settings.finish_seconds,  # type: ignore[arg-type]
    )
    start_log(log_format, requests=log)
    server = _Server(config, ready)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.leave)  # uvicorn raises it again after its own ending
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _Hangup(app).heard)
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells when it answers, and ends in time."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves the application out then, which tells of it at length
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; at once if it was told before."""
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)
        if self.force_exit:
            _end_after(_SECONDS_WHEN_FORCED, status=1)
        else:
            finish = float(self.config.timeout_graceful_shutdown or 0)
            _end_after(finish + _SECONDS_MORE, status=0)

    def leave(self, _number: int, _frame: FrameType | None) -> None:
        """End the program, by the signal that uvicorn raises once more."""
        raise SystemExit(int(self.force_exit))


class _Hangup:
    """What SIGHUP does: it reads again what may have changed, unless the terminal was closed."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup: it is to live on
        self._had_terminal = _has_terminal() and not ignored

    def heard(self, _number: int, _frame: FrameType | None) -> None:
        if self._had_terminal and not _has_terminal():  # whoever started it has left
            signal.raise_signal(signal.SIGTERM)
            return
        with suppress(RuntimeError, MemoryError):  # no memory for a thread
            threading.Thread(target=self._reload, daemon=True).start()

    def _reload(self) -> None:
        service, tokens = self._app.state.service, self._app.state.tokens
        failed = []
        for what, again in (("tokens", tokens.reload), ("gallery", service.gallery.reload)):
            try:
                again()
            except MSEdgeError as error:
                failed.append(f"SIGHUP: the {what} could not be read again ({error})")
        if failed:
            _logger.error("%s", "; ".join([*failed, "what was read before stays"]))
        else:
            read = len(tokens), service.gallery.photos
            _logger.warning("SIGHUP: read again: %d tokens, %d photos", *read)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _end_after(seconds: float, status: int) -> None:
    """Have the process end even if a thread hangs, such as on a file of a network that is gone."""
    timer = threading.Timer(seconds, os._exit, [status])
    timer.daemon = True
    with suppress(RuntimeError, MemoryError):  # no memory for a thread: nor does the ending need it
        timer.start()


def _say_defects_only() -> None:
    """Keep out of the log what a client can cause at will, or what is no defect."""
    logger = logging.getLogger("uvicorn.error")
    logger.setLevel(logging.ERROR)
    if _is_defect not in logger.filters:
        logger.addFilter(_is_defect)


def _is_defect(record: logging.LogRecord) -> bool:
    """False for what tells that an answer was cut off because the server ends."""
    cancelled = bool(record.exc_info and record.exc_info[0] is asyncio.CancelledError)
    return not (cancelled or str(record.msg).startswith("Cancel "))
