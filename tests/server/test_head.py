"""``HEAD`` answers as ``GET`` does, without a body."""

from __future__ import annotations

import pytest

from msedge.server.photo_content import PhotoContent

PATHS = [
    "/", "/page/app.js", "/healthz", "/metrics", "/openapi.json", "/api/gallery", "/api/photos/1",
    "/api/photos/5", "/api/photos/1/thumbnail", "/api/photos/99", "/nothing",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_the_same_without_a_body(client, path):
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    changing = {"content-length"} if path == "/metrics" else set()
    assert set(head.headers) == set(got.headers)
    for name in set(got.headers) - changing - {"x-request-id"}:
        assert head.headers[name] == got.headers[name], name
    if path != "/metrics":
        assert int(head.headers["content-length"]) == len(got.content)


def test_not_modified(client):
    etag = client.get("/api/photos/1").headers["etag"]
    assert client.head("/api/photos/1", headers={"If-None-Match": etag}).status_code == 304


def test_the_photo_is_not_read(client, monkeypatch):
    monkeypatch.setattr(PhotoContent, "chunks", lambda _self: iter(lambda: 1 / 0, None))
    assert client.head("/api/photos/1").status_code == 200


def test_it_is_counted_by_its_route(client):
    client.head("/api/photos/2/thumbnail")
    line = 'msedge_requests_total{method="HEAD",route="/api/photos/{id}/thumbnail",status="200"}'
    assert line in client.get("/metrics").text


def test_it_is_guarded_as_get_is(connect):
    client = connect(token="correct-horse-battery")
    assert client.head("/api/photos/1").status_code == 401


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused(client, method):
    for path in ("/api/photos/1", "/api/search", "/"):
        assert client.request(method, path).status_code == 405


def test_what_only_takes_a_question_has_no_head(client):
    assert client.head("/api/search").status_code == 405
