"""A Ray cluster for a while: a private one on this machine, or one that is joined.

Left to itself, Ray speaks on standard output and counts its users over the network; here it does
neither. Tested in ``tests/search/cluster/test_ray_cluster.py``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import ConfigError
from msedge.search.cpus import usable_cpus

_STORE_BYTES = 128 * 2**20  # descriptions of the work and of results; photos never pass through
_SECONDS_TO_ANSWER = 10.0
_LONGEST_FOLDER = 40  # characters; Ray puts sockets below it, whose paths may have 107
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # of the part in C++, which writes to standard error
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).*",  # what else would come to standard output: everything
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its new behaviour, without a warning of it
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}

_PRIVATE = {
    # How long processes of Ray outlive the one that started them, where that was killed.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
}
_FOLDER = "msedge-ray-"
_TOKENS = (
    "RAY_AUTH_TOKEN",
    "RAY_AUTH_TOKEN_PATH",
)  # by which processes of a cluster know each other


@dataclass(frozen=True, slots=True)
class Resources:
    """What the cluster can give.

    Attributes:
        cpus: in all.
        gpus: in all.
        nodes: identifiers of the machines that are alive.
    """

    cpus: float
    gpus: float
    nodes: frozenset[str]


@contextlib.contextmanager
def ray_cluster(address: str | None, *, cpus: int | None = None) -> Iterator[None]:
    """Have Ray at hand; what was started here ends with the context.

    Args:
        address: of a cluster to join; None for a connection that is there already, else for a
            cluster of this machine alone.
        cpus: of a cluster that is started; None for those that this process may use.

    Raises:
        ConfigError: no cluster answers at the address.
    """
    with _own_signals() as restore_signals:
        for name, value in (_QUIET if address else _QUIET | _PRIVATE).items():
            os.environ.setdefault(name, value)
        import ray

        silence()
        if ray.is_initialized() and address is None:
            yield
            return
        folder = None if address else _folder()
        if address is None and not any(name in os.environ for name in _TOKENS):
            # Else Ray writes one to the home folder. It stays: Ray reads it once a process.
            os.environ[_TOKENS[0]] = secrets.token_hex(32)
        try:
            _start(address, cpus or usable_cpus(), folder)
            silence()
            restore_signals()
            yield
        finally:
            ray.shutdown()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def resources() -> Resources:
    """What the cluster can give now."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node for node in nodes if node["Alive"]]
    given = [node["Resources"] for node in alive]
    return Resources(
        sum(each.get("CPU", 0.0) for each in given),
        sum(each.get("GPU", 0.0) for each in given),
        frozenset(node["NodeID"] for node in alive),
    )


def _start(address: str | None, cpus: int, folder: Path | None) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address is not None:
            _check_answers(address)
            with _unheard():
                ray.init(address=address, **quiet)
            return
        with _unheard():
            ray.init(
                address="local",
                num_cpus=cpus,
                object_store_memory=_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=str(folder),
                **quiet,
            )
    except Exception as error:  # a ConnectionError, a RuntimeError or a ValueError
        what = "start Ray" if address is None else f"join the Ray cluster {one_line(address)}"
        way_out = "" if address is None else ": check the address, and that its Ray is this release"
        reason = one_line(str(error).strip().partition("\n")[0])[:200]
        raise ConfigError(f"cannot {what} ({reason}){way_out}") from error


def _check_answers(address: str) -> None:
    """Ask whether anybody is there at all: Ray would wait for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:  # else a name that Ray has to look up
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()


def _folder() -> Path:
    """A folder for Ray's sockets and logs; those that killed processes left are removed."""
    usual = Path(tempfile.gettempdir())
    base = usual if len(str(usual)) <= _LONGEST_FOLDER else Path("/tmp")
    for left in base.glob(f"{_FOLDER}*-*"):
        owner = left.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=base))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def silence() -> None:
    """Keep Ray's words to its own log files: standard output may be JSON that a program reads.

    To be called after each import of a part of Ray, which sets up logging anew.
    """
    for name in ("ray", "ray.data", "ray.serve", "ray._private.worker"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Keep from standard error what Ray's part in C++, and warnings, write while it starts.

    What fails is raised as well.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing, warnings.catch_warnings():
            # Lance warns of forks; what is forked here becomes another program at once.
            warnings.simplefilter("ignore")
            os.dup2(nothing.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def _own_signals() -> Iterator[Callable[[], None]]:
    """Let signals mean what they meant before, since Ray takes SIGTERM for itself.

    Yields:
        What to call when Ray has been started.
    """
    signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        signals = ()  # others cannot set handlers
    before = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)

    try:
        yield restore
    finally:
        restore()
