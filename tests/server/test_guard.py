"""Who may ask: names, other sites, the token; and the headers of every answer."""

from __future__ import annotations

import logging

import pytest
from fastapi.testclient import TestClient

from msedge.server.app import create_app
from msedge.server.guard import COOKIE
from msedge.server.tokens import Token
from served import STROKES

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WANTED = ("/api/gallery", "/api/photos/1", "/api/photos/1/thumbnail", "/metrics", "/openapi.json")
QUESTIONS = ("/api/search", "/api/similar", "/api/where", "/api/session")


def detail(answer):
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["detail"]
    assert "\n" not in body["detail"]
    return body["detail"]


class TestHost:
    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]", "LocalHost:1"])
    def test_own_names(self, client, host):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example", "evil.example:8765", "localhost.evil.example", "127.0.0.1.nip.io",
            "0.0.0.0", "192.168.1.5", "[::2]", "testserver",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("path", ["/", "/healthz", "/api/gallery", "/api/photos/1", "/nothing"])
    def test_rebinding(self, client, host, path):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert "--allow-host" in detail(answer)

    @pytest.mark.parametrize("host", ["", "a b", "localhost:x", "user@localhost", "local<b>host"])
    def test_what_is_no_host(self, client, host):
        answer = client.get("/healthz", headers={"Host": host})
        assert answer.status_code == 400
        assert "<" not in detail(answer)

    def test_two_of_them(self, client):
        headers = [("Host", "localhost"), ("Host", "evil.example")]
        assert client.get("/healthz", headers=headers).status_code == 400

    def test_allowed_ones(self, connect):
        client = connect(allowed_hosts=("photos.example.org",))
        asked = {"Host": "photos.example.org"}
        assert client.get("/api/gallery", headers=asked).status_code == 200
        assert client.get("/api/gallery", headers={"Host": "example.org"}).status_code == 403


BODY = {"strokes": STROKES}
EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "http://localhost:8765"},
            {"Origin": "http://localhost:8765", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
        ],
    )
    def test_own_questions(self, client, headers):
        assert client.post("/api/search", json=BODY, headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:3000"},
            {"Origin": "http://localhost"},
            {"Origin": "http://127.0.0.1:8765"},
            {"Origin": "http://localhost:8765@evil.example"},
            {"Origin": "http://[bad"},
            {"Origin": "http://localhost:8765/"},
            {"Origin": "http://local\thost:8765"},
            {"Origin": "//localhost:8765"},
            {"Origin": "http://localhost:99999"},
            {"Origin": ""},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://localhost:8765", "Sec-Fetch-Site": "cross-site"},
        ],
    )
    @pytest.mark.parametrize("path", [*QUESTIONS, "/"])
    def test_theirs(self, client, headers, path):
        answer = client.post(path, json=BODY, headers=headers)
        assert answer.status_code == 403
        assert "other sites" in detail(answer)

    def test_behind_a_proxy_that_ends_tls(self, connect):
        client = connect(allowed_hosts=("photos.example.org",))
        headers = {"Host": "photos.example.org", "Origin": "https://photos.example.org"}
        assert client.post("/api/search", json=BODY, headers=headers).status_code == 200

    def test_preflights_are_not_granted(self, client):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = client.options("/api/search", headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]

    @pytest.mark.parametrize("path", WANTED)
    def test_answers_are_not_embedded_elsewhere(self, client, path):
        for site in ("cross-site", "same-site"):
            answer = client.get(path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
            assert answer.status_code == 403

    def test_links_to_the_page_work(self, client):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert client.get("/", headers=headers).status_code != 403
        assert client.get("/api/photos/1", headers=headers).status_code == 200


class TestToken:
    @pytest.fixture
    def client(self, connect):
        return connect(token=TOKEN)

    @pytest.mark.parametrize("path", [*WANTED, "/nothing", "//healthz", "/healthz/", "/page"])
    def test_everything_wants_it(self, client, path):
        answer = client.get(f"http://localhost:8765{path}")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in detail(answer)

    @pytest.mark.parametrize("path", QUESTIONS)
    def test_questions_too(self, client, path):
        assert client.post(path, json={"strokes": STROKES, "id": 1}).status_code == 401

    def test_but_the_page_itself_and_health(self, client):
        assert client.get("/healthz").status_code == 200
        assert client.get("/").status_code != 401
        assert client.get("/page/nothing.js").status_code == 404

    @pytest.mark.parametrize("path", WANTED)
    def test_with_it(self, client, path):
        assert client.get(path, headers=BEARER).status_code == 200
        lower = {"Authorization": f"bearer  {TOKEN}"}
        assert client.get(path, headers=lower).status_code == 200

    @pytest.mark.parametrize(
        "value",
        [
            TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer é",
            f"Basic {TOKEN}", f"Bearer {TOKEN.upper()}", f"Bearer {Token('x', TOKEN).cookie}",
        ],
    )  # fmt: skip
    def test_wrong_ones(self, client, value):
        headers = {"Authorization": value.encode("latin-1")}
        assert client.get("/api/gallery", headers=headers).status_code == 401

    def test_not_in_the_address(self, client):
        assert client.get(f"/api/gallery?token={TOKEN}").status_code == 401

    def test_it_is_compared_in_constant_time(self, client, monkeypatch):
        compared = []
        monkeypatch.setattr(
            "msedge.server.tokens.hmac.compare_digest", lambda *pair: compared.append(pair) or True
        )
        assert client.get("/api/gallery", headers={"Authorization": "Bearer x"}).status_code == 200
        assert compared == [(b"x", TOKEN.encode())]

    def test_it_is_not_logged(self, client, caplog):
        caplog.set_level(logging.DEBUG)
        client.get("/api/gallery", headers=BEARER)
        client.post("/api/session", headers=BEARER)
        client.get("/api/gallery", headers={"Authorization": f"Bearer {TOKEN}x"})
        assert TOKEN not in caplog.text

    def test_the_cookie_opens_photos_and_nothing_else(self, client):
        answer = client.post("/api/session", headers=BEARER)
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert {part.strip().lower() for part in cookie.split(";")[1:]} == {
            "httponly", "samesite=strict", "path=/api/photos",
        }  # fmt: skip
        assert TOKEN not in cookie
        sent = {"Cookie": cookie.partition(";")[0]}
        assert client.get("/api/photos/1", headers=sent).status_code == 200
        assert client.get("/api/photos/1/thumbnail", headers=sent).status_code == 200
        for path in ("/api/gallery", "/metrics", "/api/photos", "/api/photosx/1"):
            assert client.get(path, headers=sent).status_code == 401
        assert client.post("/api/similar", json={"id": 1}, headers=sent).status_code == 401
        assert client.post("/api/photos/1", headers=sent).status_code == 401

    def test_wrong_cookies(self, client):
        for value in ("", TOKEN, Token("x", "another-token-here").cookie, "é"):
            headers = {"Cookie": f"{COOKIE}={value}".encode()}
            assert client.get("/api/photos/1", headers=headers).status_code == 401

    def test_over_tls_the_cookie_stays_there(self, connect):
        client = connect(token=TOKEN, allowed_hosts=("photos.example.org",))
        headers = {"Host": "photos.example.org", "Origin": "https://photos.example.org", **BEARER}
        answer = client.post("/api/session", headers=headers)
        assert "; Secure" in answer.headers["set-cookie"]


class TestHeaders:
    @pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", *WANTED, "/api/photos/77"])
    def test_every_answer_has_them(self, client, path):
        headers = client.get(path).headers
        assert EVERYWHERE.items() <= dict(headers).items()
        policy = dict(
            part.strip().partition(" ")[::2]
            for part in headers["content-security-policy"].split(";")
        )
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' blob: data:",
            "connect-src": "'self'",
            "manifest-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert "server" not in headers

    def test_refusals_have_them_too(self, client):
        for answer in (
            client.get("/", headers={"Host": "evil.example"}),
            client.post("/", headers={"Origin": "null"}),
            client.post("/api/search", content=b"x", headers={"Content-Length": "999999999"}),
        ):
            assert EVERYWHERE.items() <= dict(answer.headers).items()
            assert answer.headers["cache-control"] == "no-store"

    def test_answers_are_not_kept(self, client):
        for answer in (
            client.get("/api/gallery"),
            client.get("/metrics"),
            client.post("/api/search", json={"strokes": STROKES}),
            client.get("/api/photos/77"),
        ):
            assert answer.headers["cache-control"] == "no-store"

    def test_a_defect_says_nothing_of_itself(self, gallery, caplog):
        app = create_app(gallery)

        @app.get("/defect")
        async def defect() -> None:
            raise RuntimeError("the secret")

        answer = TestClient(app, base_url="http://localhost").get("/defect")
        assert answer.status_code == 500
        assert "secret" not in detail(answer)
        assert EVERYWHERE.items() <= dict(answer.headers).items()
        assert "the secret" in caplog.text
