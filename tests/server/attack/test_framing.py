"""Where a request begins and ends: whoever disagrees about it with a proxy could slip one past it.

Every answer is a refusal of the client's mistake or, where the standard leaves the choice, right;
nothing that follows on the same connection is taken for a request of its own.
"""

from __future__ import annotations

import json

import pytest

from attacked_server import QUESTION, AttackedServer

BODY = json.dumps(QUESTION).encode()
POST = b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SLIPPED = b"GET /slipped HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
END = b"Connection: close\r\n\r\n"

MALFORMED = {
    "length and chunks": CHUNKED + b"Content-Length: 5\r\n\r\n" + CHUNKS,
    "chunks and length": POST
    + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(BODY)
    + CHUNKS,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}    ",
    "a list of lengths": POST + b"Content-Length: 5, 6\r\n\r\n{}    ",
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\n{}   ",
    "a length below zero": POST + b"Content-Length: -1\r\n\r\n{}",
    "a length in hexadecimal": POST + b"Content-Length: 0x5\r\n\r\n{}   ",
    "a length with a fraction": POST + b"Content-Length: 5.0\r\n\r\n{}   ",
    "a length in Arabic digits": POST + b"Content-Length: \xd9\xa5\r\n\r\n{}   ",
    "a length without end": POST + b"Content-Length: " + b"9" * 4_000 + b"\r\n\r\n{}",
    "an empty length": POST + b"Content-Length: \r\n\r\n{}",
    "two codings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKS,
    "chunked twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS,
    "a coding before chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS,
    "a coding after a tabulator": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + CHUNKS,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKS,
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"\r\n" + CHUNKS,
    "a chunk whose size is no number": CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk whose size has a sign": CHUNKED + b"\r\n+2\r\n{}\r\n0\r\n\r\n",
    "a chunk below zero": CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a chunk in C's hexadecimal": CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"\r\n2\r\n{}XX\r\n0\r\n\r\n",
    "a chunk of 30 digits": CHUNKED + b"\r\n" + b"f" * 30 + b"\r\n{}\r\n0\r\n\r\n",
    "an extension without end": CHUNKED + b"\r\n2;" + b"x" * 100_000 + b"\r\n{}\r\n0\r\n\r\n",
    "trailers without end": CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * 40_000 + b"\r\n",
    "a name without letters": GET + b": x\r\n" + END,
    "a name with a space": GET + b"X Y: z\r\n" + END,
    "a line without colon": GET + b"X\r\n" + END,
    "a NUL in a value": GET + b"X: a\x00b\r\n" + END,
    "a carriage return in a value": GET + b"X: a\rHost: evil.example\r\n" + END,
    "a first header that is folded": b"GET /healthz HTTP/1.1\r\n Host: localhost\r\n" + END,
    "no version": b"GET /healthz\r\n\r\n",
    "a space in the target": b"GET /healthz /x HTTP/1.1\r\nHost: localhost\r\n" + END,
    "a tabulator in the target": b"GET\t/healthz HTTP/1.1\r\nHost: localhost\r\n" + END,
    "bytes beyond ASCII in the target": b"GET /caf\xe9 HTTP/1.1\r\nHost: localhost\r\n" + END,
    "an unknown protocol": b"GET /healthz HTCPCP/1.0\r\nHost: localhost\r\n" + END,
    "a version without point": b"GET /healthz HTTP/11\r\nHost: localhost\r\n" + END,
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(range(200)) + b"\r\n\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "NULs": bytes(100) + b"\r\n\r\n",
    "empty lines": b"\r\n" * 2_000 + GET + END,
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "another protocol's greeting": b"EHLO evil.example\r\nMAIL FROM:<a@b>\r\n\r\n",
    "a database's command": b"*1\r\n$4\r\nPING\r\n\r\n",
}


class TestMalformed:
    @pytest.mark.parametrize("name", MALFORMED)
    def test_it_is_refused_and_nothing_slips_by(self, server: AttackedServer, name: str):
        found = server.exchange(MALFORMED[name] + SLIPPED)
        assert [400 <= answer.status < 500 or answer.status == 505 for answer in found] == [True]
        assert b"slipped" not in found[0].body
        assert list(json.loads(found[0].body)) == ["detail"]
        assert found[0].headers["connection"] == "close"

    def test_what_was_malformed_is_not_logged(self, server):
        """Else whoever reaches the port could fill the disk."""
        before = server.said()
        for _ in range(50):
            server.say(b"nonsense\r\n\r\n")
            server.say(GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + END)
        assert server.said() == before


class TestTolerated:
    """What the standard allows, or asks of a server."""

    @pytest.mark.parametrize(
        "request_line",
        [
            CHUNKED + END + CHUNKS,
            CHUNKED + END + b"%x;name=value\r\n%b\r\n0;x\r\n\r\n" % (len(BODY), BODY),
            CHUNKED + END + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n",
            CHUNKED + END + CHUNKS[:-2] + b"Host: evil.example\r\nContent-Length: 3\r\n\r\n",
            POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(BODY) + END + BODY,
            POST + b"Expect: 200-ok\r\nContent-Length: %d\r\n" % len(BODY) + END + BODY,
            POST + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n"
            b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        ],
        ids=["chunks", "extensions", "bytes", "trailers", "continue", "expect", "upgrade"],
    )  # fmt: skip
    def test_a_question_is_answered(self, server: AttackedServer, request_line: bytes):
        answer = server.exchange(request_line)[-1]
        assert answer.status == 200
        assert len(json.loads(answer.body)["hits"]) == QUESTION["k"]

    def test_an_old_client(self, server):
        assert server.exchange(GET.replace(b"1.1", b"1.0") + b"\r\n")[0].status == 200

    def test_nothing_but_line_feeds(self, server):
        assert server.exchange((GET + END).replace(b"\r\n", b"\n"))[0].status == 200


class TestAfterTheAnswer:
    @pytest.mark.parametrize("rest", [b"zz\r\n", b"-1\r\n", b"\x00" * 1_000, b"GET / HTTP/1.1\r\n"])
    def test_a_body_that_breaks_after_its_refusal(self, impatient: AttackedServer, rest: bytes):
        head = b"POST /none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        found = impatient.exchange(head, rest, pause=0.2)
        assert [answer.status for answer in found] == [404]

    def test_a_body_without_end_after_its_refusal(self, server):
        """It is not read for ever: the connection is closed."""
        head = b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % 10**15
        with server.connect() as connection:
            connection.sendall(head)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 4")
            sent = 0
            with pytest.raises(ConnectionError):  # noqa: PT012
                while sent < 2**30:
                    sent += connection.send(bytes(1 << 16))
        assert sent < 2**26
