"""Guessing the token, and going round it: nothing is answered, and nothing tells of the token."""

from __future__ import annotations

import hmac
import json
from pathlib import Path

import pytest

import msedge.server.tokens
from attacked_server import QUESTION, TOKEN, AttackedServer
from msedge.server.guard import COOKIE
from msedge.server.tokens import Token

QUERY = json.dumps(QUESTION).encode()
PROOF = Token("default", TOKEN).cookie
GUESSES = (
    None, "", "Bearer", "Bearer ", "Bearer  ", "Bearer null", "Bearer undefined", "Bearer *",
    "Bearer " + TOKEN[:-1], "Bearer " + TOKEN + "x", "Bearer " + TOKEN.upper(), "Bearer x" + TOKEN,
    "Bearer " + TOKEN + ", Bearer " + TOKEN, f'Bearer "{TOKEN}"', f"Bearer token={TOKEN}",
    f"Basic {TOKEN}", TOKEN, f"Token {TOKEN}", f"Bearer:{TOKEN}", f"Bearer\x0b{TOKEN}",
    "Bearer " + PROOF, "Bearer " + "a" * 15_000, "Bearer " + "\xff" * 30,
    "Bearer " + "a" * len(TOKEN), "Digest username=x", "Negotiate YII=",
    "Bearer " + TOKEN + "\xa0x",
)  # fmt: skip
COOKIES = (
    f"{COOKIE}={TOKEN}", f"{COOKIE}=", COOKIE, f'{COOKIE}="', f"{COOKIE}=\\",
    ";" * 5_000, "=" * 5_000,
    f"{COOKIE}={PROOF[:-1]}", f"{COOKIE}={PROOF.upper()}",
    f"{COOKIE}={Token('default', 'another-token-of-this-length').cookie}",
    f" {COOKIE}\x0b={PROOF}",
    f"{COOKIE.upper()}={PROOF}", f"{COOKIE}=\xff\xfe", f"{COOKIE}=%00",
    f"{COOKIE}={PROOF}; {COOKIE}=x", "; ".join(f"{COOKIE}={n}" for n in range(1_000)),
)  # fmt: skip
ROUNDABOUT = (
    "/api/gallery", "/metrics", "/openapi.json", "/api/photos/3", "/api/photos/3/thumbnail",
    "//api/gallery", "/page/../api/gallery", "/healthz/../metrics", "/page/%2e%2e/metrics",
    "/API/GALLERY", "/api/gallery/", "/api/gallery?", "/api//gallery", "/api/gallery%20",
    f"/api/gallery?token={TOKEN}", f"/api/gallery?authorization=Bearer%20{TOKEN}",
    f"/api/gallery?access_token={TOKEN}", f"/api/gallery#{TOKEN}", f"/api/photos/3?token={TOKEN}",
)  # fmt: skip


@pytest.fixture(autouse=True)
def known(guarded: AttackedServer):
    """The right token came from here before: a wrong one that opened would not be kept waiting."""
    assert guarded.ask("GET", "/api/gallery").status == 200


class TestGuessing:
    @pytest.mark.parametrize("guess", GUESSES, ids=range(len(GUESSES)))
    def test_nothing_but_the_token_opens(self, guarded: AttackedServer, guess: str | None):
        answer = guarded.ask("POST", "/api/search", QUERY, authorization=guess)
        assert answer.status in (400, 401, 429), answer
        assert TOKEN.encode() not in answer.body

    def test_two_tokens_of_which_one_is_right(self, guarded):
        for both in (["wrong", TOKEN], [TOKEN, "wrong"]):
            lines = "".join(f"Authorization: Bearer {token}\r\n" for token in both)
            head = f"GET /api/gallery HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}"
            (answer,) = guarded.exchange(f"{head}\r\n".encode())
            assert answer.status in ({200, 400} if both[0] == TOKEN else {401, 429})

    def test_a_thousand_guesses_change_nothing(self, guarded):
        head = "GET /api/gallery HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"
        guesses = "".join(head.format(f"guess-{number:020}") for number in range(999))
        last = head.format("guess").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
        answers = guarded.exchange((guesses + last).encode())
        assert {answer.status for answer in answers} <= {401, 429}
        assert len(answers) == 1_000

    def test_they_are_compared_in_constant_time(self, monkeypatch):
        """Time itself tells too little on a busy machine, so this looks at what compares."""
        compared, in_constant_time = [], hmac.compare_digest

        def compare(given: bytes, wanted: bytes) -> bool:
            compared.append((given, wanted))
            return in_constant_time(given, wanted)

        monkeypatch.setattr("msedge.server.tokens.hmac.compare_digest", compare)
        assert not msedge.server.tokens._same("wrong", TOKEN)
        assert msedge.server.tokens._same(TOKEN, TOKEN)
        assert compared == [(b"wrong", TOKEN.encode()), (TOKEN.encode(), TOKEN.encode())]
        source = Path(msedge.server.tokens.__file__).read_text()
        assert "== token" not in source
        assert "== given" not in source


class TestCookies:
    @pytest.mark.parametrize("cookie", COOKIES, ids=range(len(COOKIES)))
    def test_no_other_cookie_opens(self, guarded: AttackedServer, cookie: str):
        answer = guarded.ask("GET", "/api/photos/3", authorization=None, cookie=cookie)
        assert answer.status in (400, 401, 429, 431), answer

    def test_the_right_one_opens_photos_and_nothing_else(self, guarded):
        headers = {"authorization": None, "cookie": f"{COOKIE}={PROOF}"}
        assert guarded.ask("GET", "/api/photos/3", **headers).status == 200
        for target in ("/api/gallery", "/metrics", "/openapi.json", "/api/photos"):
            assert guarded.ask("GET", target, **headers).status == 401
        for method in ("POST", "DELETE"):
            assert guarded.ask(method, "/api/photos/3", **headers).status == 401
        assert guarded.ask("POST", "/api/search", QUERY, **headers).status == 401

    def test_a_session_needs_the_token(self, guarded):
        headers = {"authorization": None, "cookie": f"{COOKIE}={PROOF}"}
        assert guarded.ask("POST", "/api/session", **headers).status == 401


class TestRoundabout:
    @pytest.mark.parametrize("target", ROUNDABOUT)
    def test_every_way_is_guarded(self, guarded: AttackedServer, target: str):
        answer = guarded.ask("GET", target, authorization=None)
        assert answer.status in (400, 401) or (answer.status, target[:6]) == (404, "/page/"), answer
        assert list(json.loads(answer.body)) == ["detail"]

    def test_what_was_sent_is_not_told_again(self, guarded):
        wrong = "a-wrong-token-of-somebody"
        answer = guarded.ask("GET", f"/api/{wrong}", authorization=f"Bearer {wrong}", cookie=wrong)
        assert wrong.encode() not in answer.body
        assert wrong not in guarded.said()
        assert TOKEN not in guarded.said()
