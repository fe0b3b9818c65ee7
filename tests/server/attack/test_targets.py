"""Paths that lead elsewhere, and methods that mean something else: nothing but refusals."""

from __future__ import annotations

import json

import pytest

from attacked_server import Answer, AttackedServer

TRAVERSALS = (
    "/../../../../etc/passwd", "/page/../../../../../etc/passwd", "/page/../settings.py",
    "/page/./../settings.py", "/page/..//..//settings.py", "/page//settings.py",
    "/page/../../../../../../../secret.txt", "/page/..", "/page/../", "/page/.", "/page/", "/page",
    "/page/%2e%2e/settings.py", "/page/%2e%2e%2fsettings.py", "/page/..%2fsettings.py",
    "/page/%252e%252e/settings.py", "/page/..%252fsettings.py", "/page/%25252e%25252e/settings.py",
    "/page/..%5csettings.py", "/page/..%255csettings.py", "/page/..\\settings.py",
    "/page/..%c0%afsettings.py", "/page/%c0%ae%c0%ae/settings.py", "/page/..%e0%80%afsettings.py",
    "/page/..%ef%bc%8fsettings.py", "/page/%uff0e%uff0e/settings.py", "/page/..;/settings.py",
    "/page/app.js%00", "/page/app.js%00.png", "/page/app.js/..", "/page/app.js/",
    "/page/APP.JS", "/page/.hidden", "/page/%2fetc%2fpasswd", "/page//etc/passwd",
    "/page/file:///etc/passwd", "/page/C:%5cWindows%5cwin.ini", "/page/~root", "/page/CON",
    "//etc/passwd", "///etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%00", "/.git/config", "/.env",
    "/api/photos/../../../etc/passwd", "/api/photos/%2fetc%2fpasswd", "/api/photos/..%2f1",
    "/api/photos/1/..", "/api/photos/1/../../gallery", "/api/photos/1%2f..%2f2",
    "/api/photos/secret.txt", "/api/photos/..%2f..%2fsecret.txt", "/api/photos/1;a=b",
    "/api/photos/1%00", "/api/photos/0x1", "/api/photos/%D9%A1", "/api/photos/-1",
    "/api/photos/1e0", "/api/photos/" + "9" * 400, "/api/photos/9223372036854775808",
    "/api/photos/nan",
    "/healthz/../api/gallery", "/healthz/..%2fapi/gallery", "/page/../api/gallery", "/docs",
    "/redoc", "/server-status", "/metrics/..", "/api/../metrics", "*", "http://localhost/api/../x",
    "http://localhost/page/../settings.py", "file:///etc/passwd", "http://evil.example/page/x",
    "/page/x?name=../../settings.py",
)  # fmt: skip
METHODS = (
    "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "TRACK", "DEBUG", "PROPFIND", "MOVE", "COPY",
    "MKCOL", "LOCK", "PURGE", "LINK", "BREW", "get", "G" * 2_000,
)  # fmt: skip


def is_refusal(answer: Answer) -> bool:
    """A status of the client's mistakes, and one line that says why."""
    detail = json.loads(answer.body)
    return (
        400 <= answer.status < 500
        and list(detail) == ["detail"]
        and len(detail["detail"].splitlines()) == 1
        and answer.headers["x-content-type-options"] == "nosniff"
    )


class TestPaths:
    @pytest.mark.parametrize("target", TRAVERSALS)
    def test_nothing_lies_there(self, server: AttackedServer, target: str):
        answer = server.ask("GET", target)
        assert is_refusal(answer), answer
        assert "/settings.py" not in json.loads(answer.body)["detail"]

    def test_the_way_of_a_proxy_leads_to_no_other_host(self, server):
        answer = server.ask("GET", "http://evil.example/api/gallery", host="evil.example")
        assert is_refusal(answer), answer
        answer = server.ask("GET", "http://evil.example/api/gallery")
        assert is_refusal(answer), answer

    def test_a_tunnel_is_refused(self, server):
        (answer,) = server.exchange(
            b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        assert is_refusal(answer), answer

    def test_no_header_is_made_of_a_path(self, server):
        answer = server.ask("GET", "/page/x%0d%0aSet-Cookie:%20a=b?%0d%0aX-Own:%201")
        assert is_refusal(answer), answer
        assert not {"set-cookie", "x-own"} & set(answer.headers)


class TestMethods:
    @pytest.mark.parametrize("method", METHODS)
    def test_only_those_of_the_document_are_answered(self, server, method):
        for target in ("/", "/api/search", "/api/photos/1"):
            answer = server.ask(method, target, x_secret="word")
            assert is_refusal(answer), answer
            assert b"word" not in answer.body  # as TRACE would have it

    @pytest.mark.parametrize("header", ["x_http_method_override", "x_method_override"])
    def test_no_header_changes_the_method(self, server, header):
        assert server.ask("GET", "/api/session", **{header: "POST"}).status in (404, 405)
