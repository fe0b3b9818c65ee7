"""A server that is asked to end while many ask: what has begun is finished, and nothing is torn."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest

from attacked_server import QUESTION, SECONDS, AttackedServer, answers, attacked, read_all

QUERY = json.dumps(QUESTION).encode()
CLIENTS = 16


class Asker(threading.Thread):
    """Asks on one connection until the server is gone, and keeps what came."""

    def __init__(self, server: AttackedServer, request: bytes) -> None:
        super().__init__(daemon=True)
        self._server, self._request = server, request
        self.whole, self.torn, self.refused = 0, b"", 0

    def run(self) -> None:
        """Ask again and again; end when a connection cannot be made."""
        while True:
            try:
                with self._server.connect() as connection:
                    connection.sendall(self._request)
                    content = read_all(connection)
            except OSError:
                self.refused += 1
                return
            if not content:  # closed before the answer began: a refusal
                self.refused += 1
                continue
            try:
                (answer,) = answers(content)
                complete = len(answer.body) == int(answer.headers["content-length"])
            except Exception:
                complete = False
            if not complete:
                self.torn = content
                return
            self.whole += 1


def request(target: str, body: bytes = b"") -> bytes:
    """A request after whose answer the connection ends."""
    head = f"{'POST' if body else 'GET'} {target} HTTP/1.1\r\nHost: localhost\r\n"
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{kind if body else ''}Connection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.slow),
    ],
)
def test_answers_that_have_begun_are_whole(attacked_gallery: Path, number: int):
    """Of searches, of thumbnails, and of a photo of 14 MB."""
    asked = [request("/api/search", QUERY), request("/api/photos/1"), request("/api/photos/2")]
    with attacked(attacked_gallery) as server:
        askers = [Asker(server, asked[turn % len(asked)]) for turn in range(CLIENTS)]
        for asker in askers:
            asker.start()
        deadline = time.monotonic() + SECONDS
        while not all(asker.whole for asker in askers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        server.process.send_signal(number)
        assert server.process.wait(SECONDS) == 0
        for asker in askers:
            asker.join(SECONDS)
        assert not [asker.torn[:200] for asker in askers if asker.torn]
        assert not [asker for asker in askers if asker.is_alive()]
        assert "Traceback" not in server.said()


def test_it_ends_whatever_its_clients_do(attacked_gallery: Path):
    """Idle ones, half requests, a reader who takes nothing; the bound is twice ten seconds."""
    with attacked(attacked_gallery) as server:
        opened = [server.connect(receive_buffer=4096) for _ in range(40)]
        kept = [b"", b"GET / HT", request("/api/search", QUERY)[:-9], request("/api/photos/1")]
        for turn, connection in enumerate(opened):
            connection.sendall(kept[turn % len(kept)])
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == 0
        for connection in opened:
            connection.close()
        assert "Traceback" not in server.said()


def test_a_second_signal_ends_it_at_once(attacked_gallery: Path):
    with attacked(attacked_gallery) as server, server.connect(receive_buffer=4096) as connection:
        connection.sendall(request("/api/photos/1"))
        assert connection.recv(100)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        server.process.wait(SECONDS)
        assert time.monotonic() - begun < 5
        assert "Traceback" not in server.said()
