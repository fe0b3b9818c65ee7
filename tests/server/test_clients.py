"""Who a client is, and how often one may ask."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient

from msedge.server.app import create_app
from msedge.server.clients import Guesses, Rate, believe_proxies, client_of
from msedge.server.settings import ServerSettings
from served import STROKES


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_or_a_network(host, client):
    assert client_of({"client": (host, 5000)}) == client


def test_a_client_without_an_address():
    assert client_of({"client": None}) == client_of({}) == ""


class TestProxies:
    """Whom a request is of that comes from one."""

    @pytest.mark.parametrize(
        ("peer", "forwarded", "client"),
        [
            ("10.0.0.1", ["192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", ["198.51.100.1, 192.0.2.7"], "192.0.2.7"),  # the first is made up
            ("10.0.0.1", ["198.51.100.1", "192.0.2.7, 10.1.1.1"], "192.0.2.7"),
            ("10.0.0.1", ["127.0.0.1, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            ("10.0.0.1", ["192.0.2.7:5000"], "192.0.2.7"),
            ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
            ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
            ("::ffff:10.0.0.1", ["::ffff:192.0.2.7"], "192.0.2.7"),
            ("2001:db8:1::1", ["192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", ["192.0.2.7, unknown, 10.2.2.2"], "10.2.2.2"),
            ("10.0.0.1", ["unknown"], "10.0.0.1"),
            ("10.0.0.1", ["\n", ""], "10.0.0.1"),
            ("10.0.0.1", [], "10.0.0.1"),
            ("192.0.2.9", ["192.0.2.7"], "192.0.2.9"),
            ("11.0.0.1", ["10.0.0.1"], "11.0.0.1"),
            ("testclient", ["192.0.2.7"], "testclient"),
        ],
    )
    def test_the_last_that_is_not_trusted(self, peer, forwarded, client):
        trusted = ServerSettings(trusted_proxies=("10.0.0.0/8", "2001:db8:1::1")).proxies
        headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
        scope = {"type": "http", "client": (peer, 5000), "headers": headers, "scheme": "http"}
        believe_proxies(scope, trusted)
        assert scope["client"][0] == client
        believe_proxies(unknown := {**scope, "client": ("8.8.8.8", 1)}, ())
        assert unknown["client"] == ("8.8.8.8", 1)

    @pytest.mark.parametrize("peer", ["10.0.0.1", "192.0.2.9"])
    @pytest.mark.parametrize("said", [b"https", b"HTTPS ", b"http", b"http, https", b"ftp"])
    def test_whether_the_client_speaks_tls(self, peer, said):
        headers = [(b"x-forwarded-proto", said)]
        scope = {"type": "http", "client": (peer, 5000), "headers": headers, "scheme": "http"}
        believe_proxies(scope, ServerSettings(trusted_proxies=("10.0.0.1",)).proxies)
        is_tls = said.strip().lower() == b"https" and peer == "10.0.0.1"
        assert scope["scheme"] == ("https" if is_tls else "http")

    @pytest.mark.parametrize(("peer", "secure"), [("10.0.0.1", True), ("10.0.0.2", False)])
    def test_then_the_cookie_stays_there(self, gallery, peer, secure):
        settings = ServerSettings(token="correct-horse-battery", trusted_proxies=("10.0.0.1",))
        app = create_app(gallery, settings)
        headers = {"Authorization": f"Bearer {settings.token}", "X-Forwarded-Proto": "https"}
        with TestClient(app, base_url="http://localhost", client=(peer, 5)) as client:
            answer = client.post("/api/session", headers=headers)
        assert ("; Secure" in answer.headers["set-cookie"]) == secure

    def test_each_client_has_its_own_rate(self, gallery):
        settings = ServerSettings(searches_per_second=1, trusted_proxies=("10.0.0.1",))
        for peer, expected in (("10.0.0.1", [200] * 5), ("10.0.0.2", [200] * 3 + [429] * 2)):
            app = create_app(gallery, settings)
            with TestClient(app, base_url="http://localhost", client=(peer, 5)) as client:
                answers = [
                    client.post(
                        "/api/similar",
                        json={"id": 1},
                        headers={"X-Forwarded-For": f"192.0.2.{number}"},
                    )
                    for number in range(5)
                ]
            assert [answer.status_code for answer in answers] == expected


class TestGuesses:
    def test_five_are_free_and_then_each_takes_twice_as_long(self):
        guesses = Guesses(now=(clock := Clock()))
        waits = []
        for _ in range(14):
            guesses.wrong("a")
            waits.append(guesses.wait("a"))
            clock.seconds += waits[-1]
            assert guesses.wait("a") == 0
        assert waits == [0] * 4 + [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
        assert guesses.wait("b") == 0

    def test_few_a_minute_are_free_for_ever(self):
        guesses = Guesses(now=(clock := Clock()))
        for _ in range(50):
            guesses.wrong("a")
            assert guesses.wait("a") == 0
            clock.seconds += 16

    def test_it_is_forgotten_in_a_minute(self):
        guesses = Guesses(now=(clock := Clock()))
        for _ in range(9):
            guesses.wrong("a")
        clock.seconds += guesses.wait("a") + 60
        for _ in range(4):
            guesses.wrong("a")
        assert guesses.wait("a") == 0

    def test_the_record_is_bounded(self):
        guesses = Guesses(most_clients=3, now=Clock())
        for number in range(1000):
            guesses.wrong(str(number))
            guesses.right(str(number))
        assert len(guesses) == 6
        assert [guesses.was_right(name) for name in ("996", "997")] == [False, True]


class TestRate:
    def test_a_burst_then_so_many_a_second(self):
        clock = Clock()
        rate = Rate(2, now=clock)
        assert [rate.wait("a") for _ in range(7)] == [0] * 6 + [1]
        clock.seconds += 0.4
        assert rate.wait("a") == 1
        clock.seconds += 0.2
        assert [rate.wait("a"), rate.wait("a")] == [0, 1]
        clock.seconds += 1000
        assert [rate.wait("a") for _ in range(7)] == [0] * 6 + [1]  # never more than the burst

    def test_clients_are_counted_each(self):
        rate = Rate(1, now=Clock())
        assert [rate.wait("a") for _ in range(4)] == [0, 0, 0, 1]
        assert rate.wait("b") == 0

    def test_rarer_than_once_a_second(self):
        clock = Clock()
        rate = Rate(0.1, now=clock)
        assert [rate.wait("a"), rate.wait("a")] == [0, 10]
        clock.seconds += 4
        assert rate.wait("a") == 6
        clock.seconds += 6
        assert rate.wait("a") == 0

    def test_refusals_cost_nothing(self):
        clock = Clock()
        rate = Rate(1, now=clock)
        assert [rate.wait("a") for _ in range(100)][-1] == 1
        clock.seconds += 1
        assert rate.wait("a") == 0

    def test_the_record_is_bounded(self):
        rate = Rate(1, most_clients=3, now=Clock())
        for _ in range(3):
            rate.wait("asks on")
        for number in range(1000):
            rate.wait(str(number))
            assert rate.wait("asks on") == 1  # who asks on is not forgotten
        assert len(rate) == 3


class TestWrongTokens:
    TOKEN = "correct-horse-battery"

    def ask(self, client, token=None, **headers):
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return client.get("/api/photos/1", headers=headers)

    def test_they_slow_their_client_down(self, connect):
        client = connect(token=self.TOKEN)
        assert [self.ask(client, f"guess {n}").status_code for n in range(7)] == [401] * 5 + [
            429
        ] * 2
        answer = self.ask(client, self.TOKEN)  # which that client never gave before
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert "wrong tokens" in answer.json()["detail"]
        assert (
            'msedge_refused_total{reason="token"} 3.0'
            in client.app.state.service.metrics.text().decode()
        )
        time.sleep(1.1)
        assert self.ask(client, self.TOKEN).status_code == 200

    def test_so_do_cookies(self, connect):
        client = connect(token=self.TOKEN)
        found = [self.ask(client, Cookie=f"msedge_token={n}").status_code for n in range(6)]
        assert found == [401] * 5 + [429]

    def test_none_at_all_does_not(self, connect):
        client = connect(token=self.TOKEN)
        for given in ({}, {"Authorization": "Basic eDp5"}, {"Cookie": "msedge_token="}):
            assert {self.ask(client, **given).status_code for _ in range(10)} == {401}

    def test_who_had_a_right_one_is_not_kept_out(self, connect):
        """Else one behind a proxy could keep out all others there."""
        client = connect(token=self.TOKEN)
        assert self.ask(client, self.TOKEN).status_code == 200
        for _ in range(8):
            assert self.ask(client, "a guess").status_code in (401, 429)
            assert self.ask(client, self.TOKEN).status_code == 200


class TestAnswers:
    def test_too_many_searches(self, connect):
        client = connect(searches_per_second=1)
        answers = [client.post("/api/search", json={"strokes": STROKES}) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].headers["x-content-type-options"] == "nosniff"
        assert "try again in 1 s" in answers[-1].json()["detail"]
        assert client.post("/api/similar", json={"id": 1}).status_code == 429
        for other in ("/api/gallery", "/api/photos/1", "/api/photos/1/thumbnail", "/healthz"):
            assert client.get(other).status_code == 200
        figures = client.get("/metrics").text
        assert 'msedge_refused_total{reason="rate"} 2.0' in figures

    def test_who_may_not_ask_is_not_counted(self, connect):
        token = "correct-horse-battery"
        client = connect(searches_per_second=1, token=token)
        for _ in range(9):
            assert client.post("/api/similar", json={"id": 1}).status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        assert client.post("/api/similar", json={"id": 1}, headers=headers).status_code == 200
