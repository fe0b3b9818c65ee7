"""Clients that take their time, go away, or come in thousands: all others are answered.

The server of these tests waits for a second where it usually waits for ten or thirty, and keeps 100
connections, where it usually keeps 1,000.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from http.client import IncompleteRead
from pathlib import Path

import pytest

from attacked_server import QUESTION, SECONDS, AttackedServer, answers, read_all

QUERY = json.dumps(QUESTION).encode()
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
BIG = b"GET /api/photos/1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(QUERY)
)
STALLED = {
    "nothing": b"",
    "a letter": b"G",
    "half a line": b"GET /heal",
    "half a header": GET + b"X-Slow: ",
    "a header without end": GET,
    "no body": POST,
    "half a body": POST + QUERY[:20],
    "half a chunk": POST.replace(b"Content-Length: %d" % len(QUERY), b"Transfer-Encoding: chunked")
    + b"20\r\n{",
    "half the next request": GET + b"\r\n" + GET,
}


@contextmanager
def many(server: AttackedServer, count: int, said: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, closed at the end."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            opened.append(stack.enter_context(server.connect(receive_buffer=4096)))
            with suppress(ConnectionError):
                opened[-1].sendall(said)
        yield opened


def open_files(server: AttackedServer) -> Counter[str]:
    """What the server has open, by name."""
    found: Counter[str] = Counter()
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found[link.readlink().name] += 1
    return found


def wait_until_closed(server: AttackedServer, name: str) -> None:
    """Until the server has no such file open.

    Raises:
        AssertionError: it never comes to that.
    """
    deadline = time.monotonic() + 20
    while open_files(server)[name]:
        assert time.monotonic() < deadline, open_files(server)
        time.sleep(0.05)


class TestStalled:
    @pytest.mark.parametrize("name", STALLED)
    def test_it_is_closed(self, impatient: AttackedServer, name: str):
        """Without an answer, or with one that says why."""
        for answer in answers(impatient.say(STALLED[name])):
            assert answer.status in (200, 400, 408)

    def test_a_header_byte_by_byte(self, impatient):
        with impatient.connect() as connection, suppress(ConnectionError):
            for byte in GET * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.01)
            pytest.fail("a header may take as long as it likes")

    def test_a_body_byte_by_byte(self, impatient):
        with impatient.connect() as connection, suppress(ConnectionError):
            connection.sendall(POST.replace(b"Length: ", b"Length: 9999"))
            for _ in range(2_000):
                connection.sendall(b" ")
                time.sleep(0.01)
            pytest.fail("a body may take as long as it likes")

    def test_a_body_that_is_read_by_nobody_byte_by_byte(self, impatient):
        head = b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n"
        with impatient.connect() as connection, suppress(ConnectionError):
            connection.sendall(head)
            for _ in range(2_000):
                connection.sendall(b" ")
                time.sleep(0.01)
            pytest.fail("the rest of a body may take as long as it likes")

    def test_a_photo_that_nobody_takes(self, impatient):
        with many(impatient, 10, BIG) as opened:
            deadline = time.monotonic() + 20
            while not open_files(impatient)["a big.png"]:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert len(impatient.search()) == QUESTION["k"]
            assert impatient.ask("GET", "/api/photos/3/thumbnail").status == 200
            wait_until_closed(impatient, "a big.png")
            assert all(len(read_all(each)) < 14_000_000 for each in opened)

    def test_a_slow_reader_who_goes_on_gets_all_of_it(self, impatient):
        with impatient.connect(receive_buffer=1 << 16) as connection:
            connection.sendall(BIG.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            content, begun = b"", time.monotonic()
            while piece := connection.recv(1 << 16):
                content += piece
                time.sleep(0.01)
        (answer,) = answers(content)
        assert len(answer.body) == int(answer.headers["content-length"])
        assert time.monotonic() - begun > 1.0


class TestMany:
    @pytest.mark.parametrize("said", [b"", POST], ids=["silent", "half a request"])
    def test_two_thousand_connections_lock_nobody_out(self, impatient: AttackedServer, said: bytes):
        try:
            with many(impatient, 2_000, said):
                deadline = time.monotonic() + SECONDS
                while True:  # for as long as the server waits for those that have begun to ask
                    try:
                        assert len(impatient.search()) == QUESTION["k"]
                        break
                    except (AssertionError, ValueError):
                        assert time.monotonic() < deadline
                        time.sleep(0.1)
                assert impatient.figures().descriptors < 200
        except OSError as error:
            pytest.skip(f"this machine has no room for as many connections: {error}")

    def test_two_thousand_at_a_server_of_everyday(self, server):
        try:
            with many(server, 2_000):
                assert len(server.search()) == QUESTION["k"]
                assert server.figures().descriptors < 1_100
        except OSError as error:
            pytest.skip(f"this machine has no room for as many connections: {error}")

    def test_a_thousand_requests_at_once_on_one_connection(self, server):
        last = GET + b"Connection: close\r\n\r\n"
        found = server.exchange((GET + b"\r\n") * 999 + last)
        assert [answer.status for answer in found] == [200] * 1_000

    def test_questions_at_once_on_one_connection_are_answered_in_their_order(self, server):
        bodies = [json.dumps(QUESTION | {"k": k}).encode() for k in (1, 2, 3, 4, 5, 6) * 5]
        head = POST.partition(b"Content-Length")[0]
        asked = [head + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
        found = server.exchange(b"".join(asked) + GET + b"Connection: close\r\n\r\n")
        hits = [len(json.loads(answer.body)["hits"]) for answer in found[:-1]]
        assert hits == [1, 2, 3, 4, 5, 6] * 5

    def test_many_ask_at_the_same_time(self, server):
        """The same question from 48 clients has the same answer, or a refusal."""
        answered: list[int] = []

        def ask() -> None:
            answered.append(server.ask("POST", "/api/search", QUERY).status)

        threads = [threading.Thread(target=ask) for _ in range(48)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert len(answered) == 48
        assert {*answered} <= {200, 429}


class TestGone:
    @pytest.mark.parametrize("said", [POST + QUERY, POST + QUERY[:9], GET, BIG, b"x" * 9_000])
    def test_two_hundred_who_reset_their_connection(self, server: AttackedServer, said: bytes):
        for _ in range(200):
            with server.connect() as connection:
                connection.sendall(said)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until_closed(server, "a big.png")

    @pytest.mark.parametrize("said", [POST + QUERY, POST[:-2], BIG, GET + b"\r\n"])
    def test_who_closes_one_half(self, server: AttackedServer, said: bytes):
        """Who does is taken to have left: of the photo of megabytes the rest may be kept back."""
        for _ in range(20):
            content = server.say(said, ends=True)
            assert not content or int(content.split(maxsplit=2)[1]) in (200, 400)
            with suppress(IncompleteRead) if said == BIG else nullcontext():
                answers(content)
        wait_until_closed(server, "a big.png")

    def test_no_photo_stays_open_when_its_reader_goes(self, server):
        with many(server, 40, BIG) as opened:
            for connection in opened:
                assert connection.recv(100)
        wait_until_closed(server, "a big.png")
