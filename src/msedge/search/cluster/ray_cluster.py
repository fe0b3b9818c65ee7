"""A Ray cluster for a while, and a pool of its actors that does the parts of a run.

Left to itself, Ray speaks on standard output and counts its users over the network; here it does
neither. What is not of Ray's public interface stands in :func:`_start` and :data:`_QUIET`. Tested
in ``tests/search/cluster/``.
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
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from msedge.data.images import one_line
from msedge.errors import ConfigError, DataError
from msedge.search.cluster.worker import Part, PartResult, PartWorker, Work
from msedge.search.sources.objects import Item
from msedge.search.sources.shards import Listing, list_shard
from msedge.search.stores.reports import StoppedError
from msedge.system import usable_cpus

_SECONDS_A_TICK = 0.25
_LISTED_HERE = 32  # shards that are quicker listed than a cluster is started
_TRIES = 2  # of a part that a worker died of: it may have been the machine
_STARTS = 3  # of a worker that dies before it is ready
_PATIENCE = 60.0  # seconds, where no machine is left that a worker fits on
# Seconds without an answer, after which a cluster is given up: Ray itself would end this process
# without a word after 15 (where its own part on this machine is gone) or 60 (the head).
_SILENCE = 10.0
_SECONDS_TO_BE_HEARD = 3.0

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
# How long processes of a private cluster outlive the one that started them, where it was killed.
_PRIVATE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "10"}
_SILENT = logging.CRITICAL + 1  # standard output may be JSON that a program reads
_FOLDER = "msedge-ray-"
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")  # by which its processes know each other


class RayFailedError(DataError):
    """Ray cannot go on, or is gone; what was committed is safe."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where and how the work is done.

    Attributes:
        address: of a Ray cluster to join, ``host:port``; None for one of this machine alone, which
            is started and ended, or for the connection that the caller has made.
        workers: processes that embed; None for as many as the cluster has CPUs (or GPUs) for.
        threads: photos at a time, each on a CPU, in each of them.
        gpus: of each worker; a share of one is possible.
    """

    address: str | None = None
    workers: int | None = None
    threads: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.threads < 1 or (self.workers is not None and self.workers < 1):
            got = f"workers {self.workers}, threads {self.threads}"
            raise ConfigError(f"expected at least 1, got {got}")
        if self.gpus < 0:
            raise ConfigError(f"expected 0 GPUs a worker or more, got {self.gpus}")


@dataclass(eq=False, slots=True)
class _Worker:
    """An actor, and what it has not answered: the oldest is what it is at."""

    actor: Any
    starts: int  # of others in its place, which died before they were ready
    asked: dict[Any, Part | None]  # None: whether it is ready
    is_ready: bool = False

    def parts(self) -> list[Part]:
        return [part for part in self.asked.values() if part is not None]


class RayEngine:
    """What a run asks of a cluster, which is started when it is needed first: not for nothing new.

    Parts go to workers that are ready, so that none waits for one whose machine is gone and which
    finds no other; Ray would restart workers by itself, but gives them back what they were asked.
    """

    def __init__(self, cluster: Cluster, held: ExitStack) -> None:
        """Take where and how, and what ends everything that is started here."""
        self._cluster, self._held = cluster, held
        self._new_actor: Any = None
        self._workers: list[_Worker] = []
        self._todo: deque[Part] = deque()
        self._tries: Counter[int] = Counter()
        self._had_room = 0.0  # when a worker last had a machine, or could; 0: none was ready yet
        self._silent: float | None = None  # since when the cluster does not answer

    def workers(self) -> int:
        """How many workers there will be; a ConfigError where not even one fits."""
        cluster = self._cluster
        if cluster.workers is not None:
            return cluster.workers
        if not (room := self._room()):
            given = self._ray.cluster_resources()
            raise ConfigError(
                f"a worker needs {cluster.threads} CPUs and {cluster.gpus:g} GPUs, and the cluster "
                f"has {given.get('CPU', 0.0):g} and {given.get('GPU', 0.0):g}: give other "
                "--threads or --gpus-per-worker"
            )
        return room

    def list_shards(
        self, shards: Sequence[Item], column: str | None, stop: threading.Event
    ) -> Iterator[Listing]:
        """List shards, in any order; many on the cluster, as that may read much of each."""
        if len(shards) <= _LISTED_HERE:
            yield from (list_shard(shard, column) for shard in shards)
            return
        task = self._ray.remote(max_retries=3)(list_shard)
        asked = [task.remote(shard, column) for shard in shards]
        with _failures_told():
            while asked:
                if stop.is_set():
                    raise StoppedError
                if not self._answers():
                    continue
                listed, asked = self._ray.wait(asked, timeout=_SECONDS_A_TICK)
                yield from self._ray.get(listed)

    def results(
        self, parts: Sequence[Part], work: Work, alone: bool
    ) -> Iterator[PartResult | None]:
        """Have parts done, each worker one at a time if ``alone``, so that none dies of another.

        A part whose worker or machine dies is done again by another, a bounded number of times, and
        is then left out. Results come as they are there, and None several times a second, so that
        the caller can do other things; a RayFailedError where it fails or no machine is left.
        """
        if self._new_actor is None:
            cpus, gpus = self._cluster.threads, self._cluster.gpus
            kind = self._ray.remote(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD")
            self._new_actor = partial(kind(PartWorker).remote, self._ray.put(work))
            self._held.callback(self._end, self._workers)
        self._todo, self._tries = deque(parts), Counter()
        with _failures_told():
            try:
                for _ in range(min(self.workers(), len(parts)) - len(self._workers)):
                    self._begin(0)
                while self._todo or any(worker.parts() for worker in self._workers):
                    if not self._answers():
                        yield None
                        continue
                    self._hand_out(1 if alone else 2)
                    asked = {each: worker for worker in self._workers for each in worker.asked}
                    answered, _ = self._ray.wait(list(asked), timeout=_SECONDS_A_TICK)
                    if not answered:
                        if self._answers():
                            self._check_room()
                        yield None
                    for each in answered:
                        if (result := self._hear(asked[each], each)) is not None:
                            yield result
            finally:
                self._end([worker for worker in self._workers if worker.parts()])

    @cached_property
    def _ray(self) -> Any:
        workers, threads = self._cluster.workers, self._cluster.threads
        cpus = None if workers is None else workers * threads
        self._held.enter_context(ray_cluster(self._cluster.address, cpus=cpus))
        import ray

        return ray

    @cached_property
    def _places(self) -> dict[str, tuple[str, int]]:
        """Where the parts of Ray listen that this process cannot do without.

        Ray's client (``ray://``) looks after that by itself.
        """
        if (self._cluster.address or "").startswith("ray://"):
            return {}
        context = self._ray.get_runtime_context()
        host, _, port = context.gcs_address.rpartition(":")
        places = {"the cluster's head at": (host.strip("[]"), int(port))}
        for node in self._ray.nodes():
            if node["NodeID"] == context.get_node_id():
                place = node["NodeManagerAddress"], node["NodeManagerPort"]
                places["the cluster's node at"] = place
        return places

    def _answers(self) -> bool:
        """Whether the cluster can be asked for something; waits a little where it cannot.

        Asked for anything meanwhile, Ray would wait, and then end this process without a word.

        Raises:
            ConnectionError: it has not answered for so long that it is given up.
        """
        now = time.monotonic()
        for name, place in self._places.items():
            try:
                socket.create_connection(place, _SECONDS_TO_BE_HEARD).close()
            except OSError as error:
                self._silent = self._silent or now
                if now - self._silent > _SILENCE:
                    where = f"{name} {place[0]}:{place[1]}"
                    raise ConnectionError(f"{where} does not answer any more") from error
                time.sleep(_SECONDS_A_TICK)
                return False
        self._silent = None
        return True

    def _room(self) -> int:
        """How many workers fit on the machines that are alive, in use or not."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        needed = {"CPU": self._cluster.threads, "GPU": self._cluster.gpus}
        return sum(
            int(min(each.get(kind, 0.0) / share for kind, share in needed.items() if share))
            for each in machines
        )

    def _begin(self, starts: int) -> None:
        actor = self._new_actor()
        self._workers.append(_Worker(actor, starts, {actor.ready.remote(): None}))

    def _end(self, workers: Iterable[_Worker]) -> None:
        for worker in list(workers):
            self._workers.remove(worker)
            if self._silent is None:
                self._ray.kill(worker.actor)  # also those that hang

    def _hand_out(self, in_flight: int) -> None:
        for depth in range(in_flight):  # first one for each
            for worker in self._workers:
                if self._todo and worker.is_ready and len(worker.asked) == depth:
                    part = self._todo.popleft()
                    worker.asked[worker.actor.do.remote(part)] = part

    def _hear(self, worker: _Worker, answer: Any) -> PartResult | None:
        try:
            result: PartResult | None = self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            if self._answers():  # else nobody knows yet what has died
                self._replace(worker, error)  # it, or its answer is lost with its machine
            return None
        del worker.asked[answer]
        worker.is_ready, self._had_room = True, time.monotonic()
        return result

    def _replace(self, worker: _Worker, error: Exception) -> None:
        """Put another worker in the place of one that has died, and give back its parts."""
        self._end([worker])
        parts = worker.parts()
        self._tries.update(part.number for part in parts[:1])
        self._todo += [part for part in parts if self._tries[part.number] < _TRIES]
        if not self._todo:
            return
        starts = 0 if worker.is_ready else worker.starts + 1
        if starts < _STARTS:
            self._begin(starts)
        elif not self._workers:
            raise error

    def _check_room(self) -> None:
        """Wait for no worker where there is no machine for one any more."""
        if any(worker.is_ready for worker in self._workers) or self._room():
            self._had_room = self._had_room and time.monotonic()
        elif self._had_room and time.monotonic() - self._had_room > _PATIENCE:
            raise ConnectionError("no machine is left that a worker fits on")


@contextlib.contextmanager
def _failures_told() -> Iterator[None]:
    """Turn what Ray cannot do into a RayFailedError of a few words."""
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, OSError) as error:
        last = str(error).strip().rpartition("\n")[2].strip()
        reason = one_line(last or type(error).__name__)[:200]
        raise RayFailedError(f"Ray has failed ({reason})") from error


@contextlib.contextmanager
def ray_cluster(address: str | None, *, cpus: int | None = None) -> Iterator[None]:
    """Have Ray at hand; what was started here ends with the context.

    Args:
        address: of a cluster to join, a ConfigError where none answers; None for a connection that
            is there already, else for a cluster of this machine alone.
        cpus: of a cluster that is started; None for those that this process may use.
    """
    for name, value in (_QUIET if address else _QUIET | _PRIVATE).items():
        os.environ.setdefault(name, value)
    import ray

    logging.getLogger("ray").setLevel(_SILENT)
    if ray.is_initialized() and not address:
        yield
        return
    options: dict[str, Any] = {"address": address}
    if not address:
        cpus, folder = cpus or usable_cpus(), _folder()
        options = {"num_cpus": cpus, "_temp_dir": str(folder), "include_dashboard": False}
        options |= {"address": "local", "object_store_memory": _STORE_BYTES}
        if not any(name in os.environ for name in _TOKENS):
            # Else Ray writes one to the home folder. It stays: Ray reads it once a process.
            os.environ[_TOKENS[0]] = secrets.token_hex(32)
    restore_signals = _own_signals()
    try:
        _start(address, options)
        restore_signals()
        yield
    finally:
        ray.shutdown()
        restore_signals()
        if not address:
            shutil.rmtree(folder, ignore_errors=True)


def _start(address: str | None, options: dict[str, Any]) -> None:
    import ray

    try:
        host, _, port = (address or "").rpartition(":")
        if host and port.isdigit() and "/" not in host:  # else a name that Ray has to look up
            # Is anybody there at all? Ray would wait for many minutes.
            socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
        with _unheard():
            ray.init(log_to_driver=False, logging_level=_SILENT, **options)
    except Exception as error:  # a ConnectionError, a RuntimeError or a ValueError
        what = "start Ray" if address is None else f"join the Ray cluster {one_line(address)}"
        way_out = "" if address is None else ": check the address, and that its Ray is this release"
        reason = one_line(str(error).strip().partition("\n")[0])[:200]
        raise ConfigError(f"cannot {what} ({reason}){way_out}") from error


def _folder() -> Path:
    """A folder for Ray's sockets and logs; those that killed processes left are removed."""
    usual = Path(tempfile.gettempdir())
    base = usual if len(str(usual)) <= _LONGEST_FOLDER else Path("/tmp")
    for left in base.glob(f"{_FOLDER}*-*"):
        try:
            os.kill(int(left.name.removeprefix(_FOLDER).partition("-")[0]), 0)
        except (ProcessLookupError, OverflowError):
            shutil.rmtree(left, ignore_errors=True)
        except (PermissionError, ValueError):  # of another user, or of no process
            pass
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=base))


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Keep from standard error what Ray's part in C++, and warnings, write while it starts."""
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


def _own_signals() -> Callable[[], None]:
    """Lets signals mean again what they mean now, since Ray takes SIGTERM for itself."""
    is_main = threading.current_thread() is threading.main_thread()  # others cannot set handlers
    signals = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    before = {number: signal.getsignal(number) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)

    return restore
