"""Too much of everything: long lines, many headers, large and compressed bodies, small chunks."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from attacked_server import QUESTION, AttackedServer, answers

QUERY = json.dumps(QUESTION).encode()
HOST = b"Host: localhost\r\n"
GET = b"GET /healthz HTTP/1.1\r\n" + HOST
POST = b"POST /api/search HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\n"
END = b"Connection: close\r\n\r\n"
MEGABYTE = 2**20
HEADS = {
    "a target of 20 kB": b"GET /%b HTTP/1.1\r\n" % (b"a" * 20_000) + HOST + END,
    "a target of 2 MB": b"GET /%b HTTP/1.1\r\n" % (b"a" * 2 * MEGABYTE) + HOST + END,
    "a query of 100 kB": b"GET /healthz?%b HTTP/1.1\r\n" % (b"a=1&" * 25_000) + HOST + END,
    "a method of 2 MB": b"%b / HTTP/1.1\r\n" % (b"A" * 2 * MEGABYTE) + HOST + END,
    "a header of 20 kB": GET + b"X: %b\r\n" % (b"x" * 20_000) + END,
    "a header of 2 MB": GET + b"X: %b\r\n" % (b"x" * 2 * MEGABYTE) + END,
    "a name of 2 MB": GET + b"%b: x\r\n" % (b"X" * 2 * MEGABYTE) + END,
    "10,000 headers": GET + b"".join(b"X-%d: x\r\n" % n for n in range(10_000)) + END,
    "10,000 of one name": GET + b"Accept: x\r\n" * 10_000 + END,
    "100,000 folded lines": GET + b"X: x\r\n" + b" x\r\n" * 100_000 + END,
    "no end in 4 MB": GET + b"X: " + b"x" * 4 * MEGABYTE,
    "empty lines without end": b"\r\n" * MEGABYTE,
}
BOMB = gzip.compress(bytes(10 * MEGABYTE), 1) * 10  # 100 MB of zeros in 500 kB
CODINGS = ("gzip", "deflate", "br", "zstd", "compress", "x-gzip", "gzip, gzip", "identity, gzip")


class TestHeads:
    @pytest.mark.parametrize("name", HEADS)
    @pytest.mark.parametrize("size", [1 << 30, 1_400], ids=["at once", "in packets"])
    def test_it_is_refused_however_it_arrives(self, server: AttackedServer, name: str, size: int):
        content = HEADS[name]
        parts = [content[at : at + size] for at in range(0, min(len(content), 700 * size), size)]
        found = server.exchange(*parts)
        # a reset may overtake the answer, when more was sent than the server meant to read
        assert [answer.status for answer in found] in ([400], [413], [414], [431], [])


class TestBodies:
    @pytest.mark.parametrize("length", [16 * MEGABYTE + 1, 10**12, 10**18, 10**40])
    def test_a_claim_is_refused_at_once(self, server: AttackedServer, length: int):
        found = server.exchange(POST + b"Content-Length: %d\r\n\r\n" % length)
        assert [answer.status in (400, 413) for answer in found] == [True]

    def test_what_is_sent_all_the_same_is_not_kept(self, server):
        before = server.figures()
        body = bytes(MEGABYTE)
        server.say(POST + b"Content-Length: %d\r\n\r\n" % (200 * MEGABYTE), *[body] * 64)
        server.say(
            POST + b"Transfer-Encoding: chunked\r\n\r\n", *[b"100000\r\n" + body + b"\r\n"] * 64
        )
        assert server.figures().megabytes < before.megabytes + 64

    def test_a_body_shorter_than_it_says(self, server):
        head = POST + b"Content-Length: %d\r\n\r\n" % (len(QUERY) + 9)
        assert answers(server.say(head + QUERY, ends=True)) == []

    def test_a_body_longer_than_it_says(self, server):
        head = POST + b"Content-Length: %d\r\n\r\n" % len(QUERY)
        statuses = [answer.status for answer in server.exchange(head + QUERY + b"GARBAGE\r\n\r\n")]
        assert statuses == [200, 400]

    def test_a_body_of_a_question_that_has_none(self, server):
        for target in ("/healthz", "/api/photos/3", "/api/gallery"):
            assert server.ask("GET", target, b"x" * MEGABYTE).status in (200, 413)

    @pytest.mark.parametrize("coding", CODINGS)
    def test_nothing_is_unpacked(self, server: AttackedServer, coding: str):
        before = server.figures()
        answer = server.ask("POST", "/api/search", BOMB, content_encoding=coding)
        assert answer.status in (400, 415)
        assert server.figures().megabytes < before.megabytes + 32

    @pytest.mark.parametrize("coding", ["gzip, chunked", "deflate, chunked", "chunked, gzip"])
    def test_nor_by_the_other_header(self, server: AttackedServer, coding: str):
        bomb = zlib.compress(b" " * 10 * MEGABYTE, 9)
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(bomb), bomb)
        found = server.exchange(POST + f"Transfer-Encoding: {coding}\r\n\r\n".encode() + chunk)
        assert [answer.status in (400, 501) for answer in found] == [True]

    @pytest.mark.parametrize("chunk", [b"1\r\n \r\n", b"1;%b\r\n \r\n" % (b"x" * 1_000)])
    def test_a_body_in_chunks_of_one_byte(self, server: AttackedServer, chunk: bytes):
        head = POST + b"Transfer-Encoding: chunked\r\n" + END
        found = server.exchange(head, *[chunk * 1_000] * 200, b"0\r\n\r\n")
        assert [answer.status for answer in found] in ([400], [413], [422], [])
