"""What a short text unpacks into is bounded before it is unpacked."""

from __future__ import annotations

import json
import time

import pytest

from msedge.server.requests import MAX_POINTS, MAX_STROKES
from served import STROKES

MEGABYTE = 2**20
SIZE = 8 * MEGABYTE
SECONDS = 30.0  # against hanging


def post(client, body, kind="application/json"):
    begun = time.monotonic()
    answer = client.post("/api/search", content=body, headers={"Content-Type": kind})
    assert time.monotonic() - begun < SECONDS
    assert list(answer.json()) == ["detail"] or answer.status_code == 200
    return answer


def repeated(head, piece, tail):
    return head + piece * (SIZE // len(piece)) + tail


BOMBS = {
    "nesting": b"[" * SIZE,
    "nesting that ends": b"[" * 100_000 + b"]" * 100_000,
    "empty lists": repeated(b'{"strokes":[', b"[],", b"[]]}"),
    "numbers": repeated(b'{"strokes":[', b"1,", b"1]}"),
    "empty objects": repeated(b'{"strokes":[', b"{},", b"{}]}"),
    "texts for numbers": repeated(b'{"strokes":[[[', b'"",', b'""],[]]]}'),
    "one key": repeated(b"{", b'"k":1,', b'"k":1}'),
    "keys": b"{" + b",".join(b'"k%d":1' % number for number in range(500_000)) + b"}",
    "UTF-16": b",".decode().encode("utf-16") * 300_000,
}


class TestBombs:
    @pytest.mark.parametrize("name", BOMBS)
    def test_are_not_parsed(self, client, monkeypatch, name):
        monkeypatch.setattr("msedge.server.json_bodies.json", None)
        answer = post(client, BOMBS[name])
        assert answer.status_code == 413
        assert "more values" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "body",
        [
            b'{"k":' + b"9" * SIZE + b"}",
            b'{"k":0.' + b"9" * SIZE + b"}",
            b'{"k":1e' + b"9" * SIZE + b"}",
            b'{"folder":"' + b"\\u0041" * (SIZE // 6) + b'"}',
            b'{"folder":"\\ud800","like":[1]}',
            b" " * SIZE,
            b'{"strokes":' + b"[" * 900 + b"]" * 900 + b"}",
            b'{"strokes":[[[NaN],[1]]]}',
            b'{"strokes":[[[1e999],[1]]]}',
            b"{" + b'"k":1,' * 4000 + b'"k":1}',
            json.dumps({f"key {number}": 1 for number in range(4000)}).encode(),
            json.dumps({"strokes": [[["x"] * MAX_POINTS, ["x"] * MAX_POINTS]]}).encode(),
        ],
        ids=range(12),
    )
    def test_others_are_refused_too(self, client, body):
        assert post(client, body).status_code in (400, 422)

    def test_an_error_for_each_value_is_not_made(self, client):
        body = json.dumps({"strokes": [[["x"] * MAX_POINTS, ["x"] * MAX_POINTS]]}).encode()
        begun = time.process_time()
        assert "strokes" in post(client, body).json()["detail"]
        assert time.process_time() - begun < 5  # it was minutes, and gigabytes, for 16 MB


class TestWhatIsMeant:
    def test_the_largest_drawing_is_parsed(self, client):
        points = MAX_POINTS // MAX_STROKES
        line = [number + 0.123456789 for number in range(points)]
        answer = post(client, json.dumps({"strokes": [[line, line]] * MAX_STROKES}).encode())
        assert answer.status_code == 200

    def test_a_folder_full_of_commas(self, client):
        body = {"strokes": STROKES, "folder": ",[:{" * 1024}
        assert "no photo" in post(client, json.dumps(body).encode()).json()["detail"]

    def test_other_types_and_other_codes(self, client):
        body = json.dumps({"strokes": STROKES})
        assert post(client, body.encode(), "application/json; charset=utf-8").status_code == 200
        assert post(client, body.encode("utf-16")).status_code == 400
        assert post(client, b'{"folder": "\xff"}').status_code == 400
        assert post(client, body.encode(), "text/plain").status_code == 415

    def test_the_type_is_looked_at_before_the_body(self, client):
        assert post(client, b"{" * SIZE, "text/plain").status_code == 415
