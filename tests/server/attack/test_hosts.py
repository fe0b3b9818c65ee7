"""Other names for this machine, and pages of other sites: neither gets an answer."""

from __future__ import annotations

import json

import pytest

from attacked_server import QUESTION, AttackedServer

QUERY = json.dumps(QUESTION).encode()
FORGED = (
    "Host: evil.example", "Host: evil.example:80", "Host: localhost.evil.example",
    "Host: evil.example#localhost", "Host: evil.example?localhost", "Host: evil.example/localhost",
    "Host: localhost@evil.example", "Host: evil.example@localhost", "Host: user:word@localhost",
    "Host: localhost,evil.example", "Host: localhost evil.example", "Host: localhost:80:80",
    "Host: localhost:port", "Host: localhost:-1", "Host: localhost:999999", "Host: localhost:80#@x",
    "Host: localhost.", "Host: .localhost", "Host: local host", "Host: http://localhost",
    "Host: //localhost", "Host: localhost\\", "Host: localhost%00",
    "Host: localhost\t.evil.example", "Host: ", "Host: :80", "Host: []",
    "Host: [", "Host: [::1", "Host: ::1", "Host: [::1]x",
    "Host: [::1%25lo]", "Host: [::1%lo]", "Host: [::ffff:127.0.0.1]", "Host: [0:0:0:0:0:0:0:1]",
    "Host: 127.1", "Host: 2130706433", "Host: 0x7f000001", "Host: 0177.0.0.1", "Host: 127.0.0.2",
    "Host: 0.0.0.0", "Host: 127.0.0.1.", "Host: loc\xe4lhost", "Host: xn--lclhost-9za",
    "Host: \uff4cocalhost".encode().decode("latin-1"), "Host: " + "a" * 10_000,
    "Host: localhost\r\nHost: localhost", "Host: localhost\r\nHost: evil.example",
    "Host: evil.example\r\nHost: localhost", "X-Forwarded-Host: localhost",
    "Host: evil.example\r\nX-Forwarded-Host: localhost", "Host: evil.example\r\nX-Host: localhost",
    "Host: evil.example\r\nForwarded: host=localhost",
)  # fmt: skip
OWN = ("LOCALHOST", "localhost:80", "127.0.0.1:1", "[::1]", "[::1]:8765", "LocalHost:")
SITES = (
    {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": ""},
    {"origin": "http://localhost.evil.example"}, {"origin": "http://localhost:1"},
    {"origin": "http://evil.example@localhost"}, {"origin": "http://localhost@evil.example"},
    {"origin": "file://"}, {"origin": "https://localhost:99999999"}, {"origin": "http://["},
    {"origin": "chrome-extension://localhost"}, {"origin": "http://localhost http://evil.example"},
    {"sec_fetch_site": "cross-site"}, {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "CROSS-SITE"}, {"sec_fetch_site": "cross-site, same-origin"},
    {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"},
    {"origin": "http://localhost", "sec_fetch_site": "cross-site"},
    {"content_type": "text/plain"}, {"content_type": "application/x-www-form-urlencoded"},
    {"content_type": "multipart/form-data; boundary=x"}, {"content_type": None},
    {"content_type": "text/plain; application/json"}, {"content_type": "application/jsonp"},
)  # fmt: skip


class TestHosts:
    @pytest.mark.parametrize("host", FORGED, ids=range(len(FORGED)))
    def test_no_other_name_is_answered_to(self, server: AttackedServer, host: str):
        head = f"GET /api/gallery HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n"
        (answer,) = server.exchange(head.encode("latin-1"))
        assert answer.status in (400, 403), answer
        assert list(json.loads(answer.body)) == ["detail"]

    def test_a_request_without_a_name(self, server):
        assert server.exchange(b"GET /api/gallery HTTP/1.1\r\n\r\n")[0].status == 400
        assert server.exchange(b"GET /api/gallery HTTP/1.0\r\n\r\n")[0].status == 400

    @pytest.mark.parametrize("host", OWN)
    def test_its_own_names_however_they_are_spelt(self, server: AttackedServer, host: str):
        assert server.ask("GET", "/api/gallery", host=host).status == 200


class TestSites:
    @pytest.mark.parametrize("headers", SITES, ids=range(len(SITES)))
    def test_no_page_of_another_site_asks(
        self, server: AttackedServer, headers: dict[str, str | None]
    ):
        answer = server.ask("POST", "/api/search", QUERY, **headers)
        assert answer.status in (403, 415), answer

    def test_it_asks_before_and_is_told_nothing(self, server):
        headers = {
            "origin": "http://evil.example",
            "access_control_request_method": "POST",
            "access_control_request_private_network": "true",
        }
        answer = server.ask("OPTIONS", "/api/search", **headers)
        assert answer.status in (403, 405)
        assert not [name for name in answer.headers if name.startswith("access-control")]

    @pytest.mark.parametrize("target", ["/api/photos/3", "/api/gallery", "/metrics"])
    def test_it_embeds_nothing(self, server: AttackedServer, target: str):
        embedding = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors"}
        assert server.ask("GET", target, **embedding).status == 403
        answer = server.ask("GET", target)
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
