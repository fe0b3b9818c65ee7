"""What is counted and timed, as Prometheus' own parser reads it."""

from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from msedge.server.app import create_app
from served import STROKES


def figures(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(found, method, route, status):
    labels = sorted({"method": method, "route": route, "status": str(status)}.items())
    return found.get(("msedge_requests_total", *labels), 0)


class TestMetrics:
    def test_requests_by_route_and_status(self, connect):
        client = connect()
        for number in (1, 2, 77):
            client.get(f"/api/photos/{number}")
        client.get("/api/photos/x")
        client.get("/wp-login.php")
        client.get("/healthz", headers={"Host": "evil.example"})
        client.request("BREW", "/healthz")
        found = figures(client)
        assert requests(found, "GET", "/api/photos/{id}", 200) == 2
        assert requests(found, "GET", "/api/photos/{id}", 404) == 1
        assert requests(found, "GET", "/api/photos/{id}", 422) == 1
        assert requests(found, "GET", "none", 404) == 1
        assert requests(found, "GET", "none", 403) == 1
        assert sum(v for k, v in found.items() if ("method", "other") in k and "total" in k[0]) == 1
        assert found["msedge_request_seconds_count", ("route", "/api/photos/{id}")] == 4

    def test_searches(self, connect):
        client = connect()
        for _ in range(3):
            assert client.post("/api/search", json={"strokes": STROKES}).status_code == 200
        assert client.post("/api/similar", json={"id": 1}).status_code == 200
        client.post("/api/search", json={"strokes": STROKES, "k": 0})
        found = figures(client)
        assert found[("msedge_embedding_seconds_count",)] == 4
        assert found[("msedge_ranking_seconds_count",)] == 4
        total = found["msedge_request_seconds_sum", ("route", "/api/search")]
        assert 0 < found[("msedge_ranking_seconds_sum",)] < total + 1
        assert found[("msedge_photos",)] == 6
        assert found[("msedge_searches_in_flight",)] == 0
        assert found[("msedge_searches_waiting",)] == 0

    def test_odd_addresses_make_no_labels(self, connect):
        client = connect()
        before = len(figures(client))
        for number in range(50):
            client.get(f"/nothing/{number}")
            client.get(f"/page/{number}.js")
            client.get(f"/api/photos/{number + 1000}")
        added = len(figures(client)) - before
        assert added < 100  # three routes with their histograms, whatever was asked for

    def test_each_application_has_its_own(self, connect, gallery):
        first, second = connect(), connect()
        first.get("/healthz")
        assert requests(figures(first), "GET", "/healthz", 200) == 1
        assert requests(figures(second), "GET", "/healthz", 200) == 0
        create_app(gallery)
        assert not [m for m in REGISTRY.collect() if m.name.startswith("msedge")]
