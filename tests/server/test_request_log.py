"""The log names what the server knows, and nothing that somebody put into an address."""

from __future__ import annotations

import logging

import pytest
from fastapi.testclient import TestClient

from msedge.server.app import ServerSettings, create_app
from msedge.server.request_log import UNKNOWN, KnownPaths, RequestLog


@pytest.fixture
def app(gallery):
    application = create_app(gallery)
    yield application
    application.state.service.close()


@pytest.mark.parametrize(
    "path",
    ["/", "/healthz", "/metrics", "/openapi.json", "/api/search", "/api/photos/17",
     "/api/photos/17/thumbnail", "/page/app.js"],
)  # fmt: skip
def test_what_is_known(app, path):
    assert KnownPaths(app).shown(path) == path


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api/photos/correct-horse-battery", "/page/correct-horse-battery", "//", "",
     "/api/photos/1234567890123456", "/api/photos/x/thumbnail", "/api/search/", "/\n\x1b[31m",
     "/page/../app.js", "/api/photos/\u0661", "/api/photos/{id}/x"],
)  # fmt: skip
def test_what_is_not(app, path):
    assert KnownPaths(app).shown(path) == UNKNOWN


def test_a_line(gallery, caplog):
    app = create_app(gallery, ServerSettings())
    with (
        caplog.at_level(logging.INFO, logger="msedge.server.request_log"),
        TestClient(RequestLog(app), base_url="http://localhost") as client,
    ):
        client.get("/api/photos/1?token=secret")
        client.request("SECRET", "/secret")
    first, second = (record.getMessage() for record in caplog.records)
    assert '"GET /api/photos/1" 200 ' in first
    assert f'"(another method) {UNKNOWN}" ' in second
    assert "secret" not in (first + second).lower()
