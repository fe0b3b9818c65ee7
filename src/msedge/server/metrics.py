"""What a server counts and times, for Prometheus. Each application has its own registry.

Tested in ``tests/server/test_metrics.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from msedge.errors import MSEdgeError
from msedge.search.gallery import Gallery
from msedge.server.work_queue import WorkQueue

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})


class Metrics:
    """The figures of one application."""

    def __init__(self, gallery: Gallery) -> None:
        """Take what is served."""
        self._registry = registry = CollectorRegistry()
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
        photos = Gauge("msedge_photos", "Photos in the gallery.", registry=registry)
        photos.set_function(lambda: _count(gallery))
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


def _count(gallery: Gallery) -> float:
    try:
        return gallery.photos
    except MSEdgeError:  # the other figures are wanted all the more
        return math.nan
