"""A cluster that is started when it is needed first, and what a run asks of it.

To find out that nothing is new takes no cluster. Tested in
``tests/search/cluster/test_indexing.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from msedge.errors import ConfigError
from msedge.search.cluster.ray_cluster import Resources, ray_cluster, resources
from msedge.search.cluster.ray_parts import Pool, results
from msedge.search.cluster.shards import Listing, list_shard
from msedge.search.cluster.wire import Part, PartResult
from msedge.search.cluster.worker import Work
from msedge.search.folders import FoundFile

_LISTED_HERE = 32  # shards that are quicker listed than a cluster is started


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

    def check(self) -> None:
        """Refuse numbers that cannot be (ConfigError)."""
        if self.threads < 1 or (self.workers is not None and self.workers < 1):
            raise ConfigError(
                f"expected at least 1, got workers {self.workers}, threads {self.threads}"
            )
        if self.gpus < 0:
            raise ConfigError(f"expected 0 GPUs a worker or more, got {self.gpus}")


class StartedRay:
    """Use it as a context manager: what it started ends with the context."""

    def __init__(self, cluster: Cluster) -> None:
        """Take where and how; nothing is started yet."""
        self._cluster = cluster
        self._held = ExitStack()
        self._is_started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def workers(self) -> int:
        """How many workers there will be.

        Raises:
            ConfigError: the cluster has not what one of them needs.
        """
        if self._cluster.workers is not None:
            return self._cluster.workers
        given, threads, gpus = self._started(), self._cluster.threads, self._cluster.gpus
        room = given.cpus / threads
        if gpus:
            room = min(room, given.gpus / gpus)
        if room < 1:
            raise ConfigError(
                f"a worker needs {threads} CPUs and {gpus:g} GPUs, and the cluster has "
                f"{given.cpus:g} and {given.gpus:g}: give other --threads or --gpus-per-worker"
            )
        return int(room)

    def list_shards(self, shards: Sequence[FoundFile], column: str | None) -> Iterable[Listing]:
        """List shards: a few here, many on the cluster, since that may read much of each."""
        if len(shards) <= _LISTED_HERE:
            return [list_shard(shard, column) for shard in shards]
        self._started()
        import ray

        task = ray.remote(max_retries=3)(_list)
        return _as_they_come([task.remote(shard, column) for shard in shards])

    def results(
        self, parts: Sequence[Part], work: Work, alone: bool
    ) -> Iterator[PartResult | None]:
        """Have parts done, as `results` does; each worker has one at a time where ``alone``."""
        self._started()
        workers, threads, gpus = self.workers(), self._cluster.threads, self._cluster.gpus
        pool = Pool(workers, float(threads), gpus, in_flight=1 if alone else 2)
        return results(parts, work, pool)

    def _started(self) -> Resources:
        if not self._is_started:
            cpus = (
                None
                if self._cluster.workers is None
                else self._cluster.workers * self._cluster.threads
            )
            self._held.enter_context(ray_cluster(self._cluster.address, cpus=cpus))
            self._is_started = True
        return resources()


def _list(shard: FoundFile, column: str | None) -> Listing:
    return list_shard(shard, column)


def _as_they_come(listings: list[object]) -> Iterator[Listing]:
    import ray

    while listings:
        ready, listings = ray.wait(listings)
        yield from ray.get(ready)
