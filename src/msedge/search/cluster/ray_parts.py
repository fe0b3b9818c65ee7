"""Parts of the work, done by a pool of Ray Data's actors; results come as they are ready.

A part whose worker or machine dies is done again by another, a bounded number of times, and is then
left out: the caller sees which results did not come. Tested in
``tests/search/cluster/test_indexing_on_ray.py``.
"""

from __future__ import annotations

import queue
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msedge.data.images import one_line
from msedge.errors import DataError
from msedge.search.cluster.ray_cluster import resources, silence
from msedge.search.cluster.wire import Part, PartResult
from msedge.search.cluster.worker import PartWorker, Work

if TYPE_CHECKING:
    from ray.data import Dataset

_SECONDS_A_TICK = 0.25
_SECONDS_BETWEEN_LOOKS = 2.0  # at which machines are alive
_TRIES_AGAIN = 1  # of a part whose worker died: it may have been the machine
# An actor may be restarted without end, since each restart uses up a try of the part it died of.
_RESTARTS = -1
_PATIENCE = 15.0  # seconds, after a machine was lost
_PARTS_OF_PATIENCE = 3.0  # and as long as so many of the slowest parts so far


@dataclass(frozen=True, slots=True)
class Pool:
    """The actors.

    Attributes:
        workers: how many.
        cpus: that each takes.
        gpus: that each takes.
        in_flight: parts that each is given at a time: 2, so that none waits, or 1, so that no part
            dies of its neighbour.
    """

    workers: int
    cpus: float = 1.0
    gpus: float = 0.0
    in_flight: int = 2


@dataclass(slots=True)
class _Watch:
    """Whether a pass waits for a worker that cannot come back, since its machine is gone."""

    nodes: frozenset[str]
    lost: bool = False
    slowest: float = 0.0
    heard: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)

    def hear(self, result: PartResult) -> None:
        self.heard = time.monotonic()
        self.slowest = max(self.slowest, result.seconds)

    def is_stuck(self) -> bool:
        now = time.monotonic()
        if now - self.looked >= _SECONDS_BETWEEN_LOOKS:
            self.looked = now
            alive = resources().nodes
            if self.nodes - alive:
                self.lost, self.heard = True, now
            self.nodes = alive
        return self.lost and now - self.heard > _PATIENCE + _PARTS_OF_PATIENCE * self.slowest


def results(parts: Sequence[Part], work: Work, pool: Pool) -> Iterator[PartResult | None]:
    """Have parts done.

    Args:
        parts: what to do.
        work: what they have in common.
        pool: who does it.

    Yields:
        Results in the order in which they come, some perhaps twice; None several times a second,
        so that the caller can do other things meanwhile. It ends when the rest cannot be had.

    Raises:
        DataError: Ray has failed.
    """
    dataset = _dataset(parts, work, pool)
    arrived: queue.Queue[PartResult | Exception | None] = queue.Queue()
    ended = threading.Event()
    reader = threading.Thread(
        target=_read, args=(dataset, arrived, ended), name="parts", daemon=True
    )
    reader.start()
    watch = _Watch(resources().nodes)
    try:
        while True:
            try:
                found = arrived.get(timeout=_SECONDS_A_TICK)
            except queue.Empty:
                if watch.is_stuck():
                    return
                yield None
                continue
            if found is None:
                return
            if isinstance(found, Exception):
                raise DataError(
                    f"Ray has failed ({_first_line(found)}): what was committed is safe; the same "
                    "command goes on from there"
                ) from found
            watch.hear(found)
            yield found
    finally:
        ended.set()
        _end(dataset)
        reader.join(timeout=2.0)


def _dataset(parts: Sequence[Part], work: Work, pool: Pool) -> Dataset:
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

    silence()
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = -1  # a part that is lost is none of the others' business
    rows = [{"part": part.as_json()} for part in parts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the ways to say it anew come with later releases
        return ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            PartWorker,
            fn_constructor_args=(work,),
            batch_size=1,
            compute=ActorPoolStrategy(
                size=min(pool.workers, len(rows)), max_tasks_in_flight_per_actor=pool.in_flight
            ),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus or None,
            max_restarts=_RESTARTS,
            max_task_retries=_TRIES_AGAIN,
        )


def _read(
    dataset: Dataset, arrived: queue.Queue[PartResult | Exception | None], ended: threading.Event
) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            batches = dataset.iter_batches(batch_size=None, prefetch_batches=0)
        for batch in batches:
            for result in batch.get("result", ()):
                arrived.put(PartResult.from_json(bytes(result)))
            if ended.is_set():
                return
        arrived.put(None)
    except Exception as error:
        arrived.put(error)


def _end(dataset: Any) -> None:
    """Let go of the actors, also where some have not ended."""
    executor = getattr(dataset, "_current_executor", None)
    if executor is not None:
        executor.shutdown(force=True)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__)[:200]
