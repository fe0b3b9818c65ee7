"""Who a client is, and how often one may ask."""

from __future__ import annotations

import pytest

from msedge.server.clients import Rate, client_of
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
