"""What is counted and timed, as Prometheus' own parser reads it."""

from __future__ import annotations

import platform
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import onnxruntime
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

import msedge
from msedge.search.gallery import Gallery
from msedge.search.stores.store import UnreadableError
from msedge.server.app import create_app
from served import STROKES, add, picture


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

    def test_of_the_process_and_its_build(self, connect):
        found = figures(connect())
        assert found[("process_resident_memory_bytes",)] > 10e6
        assert found[("process_open_fds",)] > 3
        (build,) = (key for key in found if key[0] == "msedge_build_info")
        labels = dict(build[1:])
        assert labels["version"] == msedge.__version__
        assert labels["python"] == platform.python_version()
        assert labels["onnxruntime"] == onnxruntime.__version__
        assert found[("msedge_picture_memory_bytes",)] == 0


class TestGallery:
    def test_it_is_shown_as_it_was_last_read(self, own_gallery, own_client, tmp_path):
        first, begun = figures(own_client), time.time()
        assert first[("msedge_photos",)] == 6
        assert first[("msedge_gallery_version",)] == own_gallery.version
        assert first[("msedge_last_commit_timestamp_seconds",)] <= begun
        picture(7).save(tmp_path / "new.png")
        add(own_gallery.path, tmp_path / "new.png")
        assert figures(own_client)[("msedge_photos",)] == 6  # nobody has looked since
        assert own_client.post("/api/search", json={"strokes": STROKES}).status_code == 200
        found = figures(own_client)
        assert found[("msedge_photos",)] == 7
        assert found[("msedge_gallery_version",)] > first[("msedge_gallery_version",)]
        assert begun <= found[("msedge_last_commit_timestamp_seconds",)] <= time.time()
        assert own_client.get("/api/gallery").status_code == 200
        again = figures(own_client)
        commit = ("msedge_last_commit_timestamp_seconds",)
        assert again[commit] == found[commit]  # the same version is no commit

    def test_one_that_cannot_be_read(self, own_gallery, own_client):
        assert figures(own_client)[("msedge_gallery_readable",)] == 1
        own_gallery.path.write_bytes(b"something else" * 1000)
        assert own_client.post("/api/search", json={"strokes": STROKES}).status_code == 503
        found = figures(own_client)
        assert found[("msedge_gallery_readable",)] == 0
        assert found[("msedge_photos",)] == 6
        assert found[("msedge_gallery_reopened_total",)] == 0

    def test_a_store_that_hangs_holds_up_no_figure(self, own_client, monkeypatch):
        """More requests wait for it than there are threads for what is not a search."""
        go = threading.Event()

        def hung(*_given):
            assert go.wait(60)
            raise UnreadableError("it hung")

        for name in ("photo", "refresh", "folders"):
            monkeypatch.setattr(Gallery, name, hung)
        for name in ("photos", "version"):
            monkeypatch.setattr(Gallery, name, property(hung))
        paths = ["/api/photos/1", "/api/gallery"] * 32
        with ThreadPoolExecutor(len(paths)) as askers:
            asked = [askers.submit(own_client.get, path) for path in paths]
            try:
                assert not wait(asked, timeout=1).done
                found = figures(own_client)
                waiting = sum(not each.done() for each in asked)
            finally:
                go.set()
        assert waiting == len(paths)
        assert found[("msedge_photos",)] == 6
        assert {each.result().status_code for each in asked} == {503}
