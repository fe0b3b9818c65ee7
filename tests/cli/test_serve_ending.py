"""How ``msedge serve`` ends: real processes, real signals."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index
from serve_processes import end, impatient, serving, write_indexed


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, indexed by the model that comes with the package."""
    return write_indexed(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def large_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of noise that no socket's buffer holds, a PNG and a TIFF, and their gallery."""
    folder = tmp_path_factory.mktemp("large")
    noise = np.random.default_rng(0).integers(0, 256, (1800, 2560, 3), dtype=np.uint8)
    for name in ("a.png", "b.tiff"):
        options = {"compress_level": 0} if name == "a.png" else {}
        Image.fromarray(noise).save(folder / name, **options)
    index([folder], folder / "large.msedge", OnnxEncoder.load(threads=1))
    return folder / "large.msedge"


class TestEnding:
    def test_an_answer_that_has_begun_is_finished(self, gallery):
        with serving(gallery) as (process, address):
            host = httpx.URL(address)
            body = json.dumps({"strokes": [[[0, 9], [0, 9]]]}).encode()
            with socket.create_connection((host.host, host.port), timeout=20) as connection:
                connection.sendall(
                    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                    b"Content-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body) + body[:5]
                )
                time.sleep(0.3)
                process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
                assert process.poll() is None
                connection.sendall(body[5:])
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b'"hits"' in answer
            assert process.wait(20) == 0

    def test_ctrl_c_whoever_keeps_a_connection_open(self, gallery):
        with serving(gallery) as (process, address), httpx.Client(base_url=address) as client:
            assert client.get("healthz").status_code == 200
            begun = time.monotonic()
            status, _, err = end(process, signal.SIGINT)
            assert (status, "Traceback" in err) == (0, False)
            assert time.monotonic() - begun < 8

    def test_a_second_signal_ends_it_at_once(self, gallery):
        with serving(gallery) as (process, address):
            host = httpx.URL(address)
            with socket.create_connection((host.host, host.port), timeout=20) as connection:
                connection.sendall(
                    b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
                    b"Content-Type: application/json\r\n\r\n"
                )
                time.sleep(0.3)
                process.send_signal(signal.SIGTERM)
                time.sleep(0.5)
                assert process.poll() is None  # the body may still come
                begun = time.monotonic()
                status, _, err = end(process)
                assert time.monotonic() - begun < 8
        assert status == 1
        assert err == "Serving 3 photos; Ctrl+C ends it.\n"

    @pytest.mark.parametrize("path", ["photo", "conversion"])
    def test_it_ends_in_time_though_a_client_never_reads(self, large_photos, path):
        with impatient(large_photos) as (process, port):
            head = b"GET /api/photos/%d HTTP/1.1\r\nHost: localhost\r\n\r\n"
            with socket.socket() as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", port))
                connection.sendall(head % (1 if path == "photo" else 2))
                assert connection.recv(12) == b"HTTP/1.1 200"
                begun = time.monotonic()
                status, _, err = end(process)
                assert time.monotonic() - begun < 20
        assert (status, err) == (0, "")
