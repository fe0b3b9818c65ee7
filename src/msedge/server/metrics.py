"""What a server counts and times, for Prometheus. Each application has its own registry.

Tested in ``tests/server/test_metrics.py``.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from threading import Lock

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

import msedge
from msedge.server.memory import MemoryBudget
from msedge.server.work_queue import WorkQueue

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})


class Metrics:
    """The figures of one application.

    To ask for them touches nothing else: of the gallery they are what whoever read it last has said
    here, since a store that hangs would take the figures with it when they are wanted most.
    """

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, open files, CPU; on Linux alone
        self._requests = Counter(
            "msedge_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._latency = Histogram(
            "msedge_request_seconds",
            "From a request's header to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.embedding = Histogram(
            "msedge_embedding_seconds",
            "Turning what is asked into a vector.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.ranking = Histogram(
            "msedge_ranking_seconds",
            "Finding the photos nearest to a vector.",
            buckets=_SECONDS,
            registry=registry,
        )
        build = Gauge(
            "msedge_build_info",
            "1; the labels say what runs.",
            ("version", "python", "onnxruntime"),
            registry=registry,
        )
        build.labels(msedge.__version__, platform.python_version(), _onnxruntime()).set(1)
        self._gallery_lock = Lock()  # of what is seen, by threads that search
        self._seen: int | None = None
        self._times_reopened = 0
        self._photos = Gauge("msedge_photos", "Photos in the gallery.", registry=registry)
        self._version = Gauge(
            "msedge_gallery_version", "Rises with every change of the photos.", registry=registry
        )
        self._commit = Gauge(
            "msedge_last_commit_timestamp_seconds",
            "When the gallery changed last, as far as the server has seen.",
            registry=registry,
        )
        self._readable = Gauge(
            "msedge_gallery_readable", "Whether the gallery could be read last.", registry=registry
        )
        self._reopened = Counter(
            "msedge_gallery_reopened",
            "Galleries opened anew, since another had taken the place.",
            registry=registry,
        )
        for unknown in (self._photos, self._version, self._commit):
            unknown.set(math.nan)  # until it was read once
        self._refused = Counter(
            "msedge_refused",
            "Requests turned away because too much was asked.",
            ("reason",),
            registry=registry,
        )
        self._connections = Gauge(
            "msedge_connections", "Connections that are open.", registry=registry
        )
        self._dropped = Counter(
            "msedge_connections_dropped",
            "Connections that the server closed or turned away.",
            ("reason",),
            registry=registry,
        )

    def watch_searches(self, searches: WorkQueue) -> None:
        """Show how many run and wait."""
        running = Gauge("msedge_searches_in_flight", "Searches that run.", registry=self._registry)
        running.set_function(lambda: searches.running)
        waiting = Gauge(
            "msedge_searches_waiting", "Searches in the queue.", registry=self._registry
        )
        waiting.set_function(lambda: searches.waiting)

    def watch_memory(self, budget: MemoryBudget) -> None:
        """Show how much of it pictures take."""
        taken = Gauge(
            "msedge_picture_memory_bytes",
            "Memory set aside for pictures that are read now.",
            registry=self._registry,
        )
        taken.set_function(lambda: budget.taken)

    def gallery_seen(
        self, *, photos: int, version: int, committed: float | None, reopened: int
    ) -> bool:
        """Note what was read of the gallery; gives whether another was found in its place.

        Args:
            photos: that it holds.
            version: of its photos.
            committed: when it changed last, in Unix seconds; None where that is not known: then it
                is when another version than before was first seen here.
            reopened: how often another gallery was found in its place.
        """
        with self._gallery_lock:
            if committed is None and version != self._seen:
                committed = time.time()
            if committed is not None:
                self._commit.set(committed)
            more = max(0, reopened - self._times_reopened)
            self._reopened.inc(more)
            self._times_reopened += more
            self._seen = version
            self._photos.set(photos)
            self._version.set(version)
            self._readable.set(1)
        return more > 0

    def gallery_unreadable(self) -> None:
        """Note that the gallery could not be read."""
        self._readable.set(0)

    def watch_connections(self, connections: Callable[[], int]) -> None:
        """Show how many are open."""
        self._connections.set_function(connections)

    def refused(self, reason: str) -> None:
        """Count a request that was turned away."""
        self._refused.labels(reason).inc()

    def dropped(self, reason: str) -> None:
        """Count a connection that was given up."""
        self._dropped.labels(reason).inc()

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that came to its end."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._latency.labels(route).observe(seconds)


def _onnxruntime() -> str:
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return ""
