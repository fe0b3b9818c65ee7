"""Real sockets against an application that waits, streams and reads as it is told."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest
import uvicorn

from msedge.server.connections import Connections
from msedge.server.protocol import CHUNK_BYTES, FREE_CHUNKS, LimitedProtocol
from msedge.server.settings import ServerSettings

SECONDS = 0.6
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """An application with its loop in a thread."""

    def __init__(self, **settings):
        self.told, self.errors, self.ended, self.begun = [], [], [], threading.Event()
        patient = {f"{name}_seconds": SECONDS for name in ("header", "idle", "body", "reader")} | {
            "most_connections": 50
        }
        limits = ServerSettings(**(patient | settings))
        self.connections = Connections(limits, self.told.append)
        config = uvicorn.Config(
            self._app,
            loop="asyncio",
            http=partial(LimitedProtocol, self.connections),
            ws="none",
            interface="asgi3",
            proxy_headers=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_keep_alive=1,
        )
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        async def run():
            asyncio.get_running_loop().set_exception_handler(
                lambda _loop, context: self.errors.append(context)
            )
            await self.server.serve([self._listening])

        asyncio.run(run())

    async def _app(self, scope, receive, send):
        self.begun.set()
        path, body = scope["path"], b"answered"
        if path == "/read":
            size = 0
            while (message := await receive()).get("more_body"):
                size += len(message["body"])
            if message["type"] == "http.disconnect":
                self.ended.append("gone")
                return
            body = b"%d" % (size + len(message["body"]))
        elif path == "/wait":
            await asyncio.sleep(3 * SECONDS)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(4000 if path == "/stream" else 0):
                await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
            if path == "/large":
                body = bytes(2**24)
            await send({"type": "http.response.body", "body": body})
        finally:
            self.ended.append(path)

    def connect(self, *pieces, buffer=None):
        connection = socket.socket()
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.port))
        for piece in pieces:
            connection.sendall(piece)
        return connection

    def say(self, *pieces, pause=0.0):
        """Send, and read until the server closes."""
        with self.connect() as connection:
            with suppress(ConnectionError):
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)
            return rest(connection)

    def until(self, true):
        deadline = time.monotonic() + 30
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def rest(connection):
    answer = b""
    with suppress(ConnectionError):
        while piece := connection.recv(2**16):
            answer += piece
    return answer


def one_of(connection):
    """The next answer."""
    answer = b""
    while not answer.endswith(b"\r\n0\r\n\r\n") and (piece := connection.recv(2**16)):
        answer += piece
    return answer


@contextmanager
def serving(**settings):
    server = Server(**settings)
    try:
        yield server
        assert server.errors == []
        assert b"answered" in server.say(LAST)  # whatever happened
    finally:
        server.server.should_exit = server.server.force_exit = True
        server.thread.join(30)
        assert not server.thread.is_alive()


@pytest.fixture(scope="module")
def server():
    with serving() as started:
        yield started


def is_refusal(answer, status):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert body.startswith(b'{"detail": ')
    assert b"connection: close" in head.lower()
    return body.decode()


class TestHeader:
    def test_none_is_waited_for_and_then_not(self, server):
        begun = time.monotonic()
        assert server.say() == b""
        assert time.monotonic() - begun >= SECONDS

    def test_half_of_one(self, server):
        assert "too slowly" in is_refusal(server.say(b"GET / HTTP/1.1\r\nHos"), 408)

    def test_a_byte_now_and_then(self, server):
        answer = server.say(*[b"X"] * 40, pause=SECONDS / 10)
        assert "too slowly" in is_refusal(answer, 408)

    def test_half_of_a_second_one(self, server):
        answer = server.say(GET, b"GET / HT")
        first, _, second = answer.partition(b"answered")
        assert first.startswith(b"HTTP/1.1 200")
        assert b"408" in second

    def test_an_idle_connection_is_kept_for_a_while(self, server):
        with server.connect(GET) as connection:
            assert b"answered" in one_of(connection)
            time.sleep(SECONDS / 3)
            connection.sendall(GET)
            assert b"answered" in one_of(connection)
            assert b"408" not in rest(connection)

    @pytest.mark.parametrize(
        "head",
        [
            b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
            b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 200 + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\n" * 60_000,
            b"a" * 100_000,
        ],
        ids=["long", "address", "many", "without end", "no line"],
    )
    def test_too_much_of_one(self, server, head):
        assert "header" in is_refusal(server.say(head), 431)

    def test_too_much_of_a_second_one(self, server):
        answer = server.say(GET + b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 200 + b"\r\n")
        assert b"200 OK" in answer
        assert b"HTTP/1.1 431 " in answer

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
            (b"GET /\r\n\r\n", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 400),
            (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + b"0\r\n\r\n", 400),
            (CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n", 400),
        ],
    )
    def test_what_is_not_http_1_1(self, server, said, status):
        answer = server.say(said)
        is_refusal(answer, status)
        assert answer.count(b"HTTP/1.1 ") == 1

    def test_an_upgrade_is_passed_over(self, server):
        said = (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
        )
        assert b"answered" in server.say(said)


class TestBody:
    def test_in_chunks(self, server):
        said = CHUNKED.replace(b"Host: x", b"Host: x\r\nConnection: close")
        assert server.say(said + b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n").endswith(
            b"\r\n5\r\n0\r\n\r\n"
        )

    def test_in_chunks_that_cost_too_much(self, server):
        said = CHUNKED + b"1\r\nx\r\n" * (2 * FREE_CHUNKS)
        assert "chunks" in is_refusal(server.say(said), 400)

    def test_in_many_chunks_of_a_fair_size(self, server):
        chunk = b"%x\r\n" % (2 * CHUNK_BYTES) + b"x" * 2 * CHUNK_BYTES + b"\r\n"
        said = CHUNKED.replace(b"Host: x", b"Host: x\r\nConnection: close")
        answer = server.say(said + chunk * (2 * FREE_CHUNKS) + b"0\r\n\r\n")
        assert answer.endswith(b"\r\n%d\r\n0\r\n\r\n" % (4 * CHUNK_BYTES * FREE_CHUNKS))

    def test_a_bad_chunk_after_the_answer(self, server):
        with server.connect(CHUNKED.replace(b"/read", b"/")) as connection:
            assert b"answered" in one_of(connection)
            connection.sendall(b"zz\r\n")
            assert b"HTTP" not in rest(connection)

    def test_a_bad_chunk_before_the_answer(self, server):
        with server.connect(CHUNKED) as connection:
            time.sleep(0.1)
            connection.sendall(b"zz\r\n")
            is_refusal(rest(connection), 400)
        server.until(lambda: "gone" in server.ended)

    def test_one_that_nobody_reads_is_not_taken_for_ever(self, server):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
        answer = server.say(head, *[b"x" * 1000] * 60, pause=SECONDS / 20)
        assert b"answered" in answer
        assert "body" in server.told

    def test_after_one_that_nobody_reads_comes_the_next_request(self, server):
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        with server.connect(head) as connection:
            assert b"answered" in one_of(connection)
            connection.sendall(b"x" * 9)
            time.sleep(0.1)
            connection.sendall(GET)
            assert b"answered" in one_of(connection)
            assert rest(connection) == b""  # and it is closed when it is idle


class TestReader:
    @pytest.mark.parametrize("path", [b"/stream", b"/large"])
    def test_who_takes_nothing_is_dropped(self, path):
        with serving() as server, server.connect(GET.replace(b"/", path, 1), buffer=4096):
            server.until(lambda: "reader" in server.told)
            server.until(lambda: path.decode() in server.ended)
            server.until(lambda: len(server.connections) == 0)

    def test_who_takes_it_in_time_gets_all(self):
        said = GET.replace(b"/", b"/large", 1).replace(b"Host: x", b"Host: x\r\nConnection: close")
        with (
            serving(reader_seconds=5.0) as server,  # a busy machine may stop this reader for one
            server.connect(said, buffer=2**16) as connection,
        ):
            taken = 0
            while piece := connection.recv(2**19):
                taken += len(piece)
                time.sleep(0.02)
        assert taken > 2**24

    def test_a_slow_answer_is_the_server_s_own_matter(self, server):
        with server.connect(GET.replace(b"/", b"/wait", 1)) as connection:
            assert b"answered" in one_of(connection)


class TestRoom:
    def test_idle_connections_lock_nobody_out(self):
        with serving(most_connections=20, header_seconds=60, idle_seconds=60) as server:
            with ExitStack() as stack:
                for number in range(100):
                    said = (b"", b"GET / HT", GET)[number % 3]
                    stack.enter_context(server.connect(said))
                with server.connect(GET) as connection:
                    assert b"answered" in one_of(connection)
                assert len(server.connections) <= 20
            server.until(lambda: len(server.connections) == 0)

    def test_when_all_are_busy_a_new_one_is_told(self):
        with serving(most_connections=3) as server, ExitStack() as stack:
            busy = [
                stack.enter_context(server.connect(GET.replace(b"/", b"/wait", 1)))
                for _ in range(3)
            ]
            server.until(lambda: len(server.connections._busy) == 3)
            told = is_refusal(server.say(), 503)
            assert "too many connections" in told
            for connection in busy:
                assert b"answered" in one_of(connection)


class TestEnding:
    def test_idle_ones_are_closed_and_answers_finished(self):
        server = Server(header_seconds=60, idle_seconds=60)
        with ExitStack() as stack:
            new, half, idle, waiting = (
                stack.enter_context(server.connect(said))
                for said in (b"", b"GET / HT", GET, GET.replace(b"/", b"/wait", 1) + GET)
            )
            assert b"answered" in one_of(idle)
            server.until(lambda: len(server.connections._busy) == 1)
            server.server.should_exit = True
            assert rest(idle) == rest(half) == rest(new) == b""
            with pytest.raises(ConnectionError):
                server.connect()
            assert rest(waiting).count(b"answered") == 1  # and the one behind it is not begun
        server.thread.join(30)
        assert not server.thread.is_alive()
        assert server.errors == []
