"""``msedge serve`` as an operator runs it: its log, its signals, its proxy; real processes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_processes import ENVIRONMENT, MAIN, TOKEN, end, serving, write_indexed

ROOT = Path(__file__).parents[2]
OLD, NEW = "0123456789abcdef-old", "0123456789abcdef-new"
BODY = {"strokes": [[[0, 9, 9], [0, 0, 9]]], "k": 2}
SECONDS = 30.0  # against hanging


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, indexed by the model that comes with the package."""
    return write_indexed(tmp_path_factory.mktemp("served"))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestLog:
    def test_json(self, gallery):
        options = ("--log", "--log-format", "json", "--trust-proxy", "127.0.0.1")
        with serving(gallery, *options, environment={"MSEDGE_TOKEN": TOKEN}) as (process, address):
            forwarded = {"X-Forwarded-For": "198.51.100.1, 192.0.2.7"}
            answer = httpx.get(f"{address}api/gallery?x={TOKEN}", headers=bearer(TOKEN) | forwarded)
            httpx.get(f"{address}{TOKEN}", headers={"X-Request-ID": "mine"})
            _, _, err = end(process)
        said, first, second = map(json.loads, err.splitlines())
        assert said.keys() == {"time", "level", "message"}
        for line in (said, first, second):
            assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
            assert line.pop("level") == "info"
        assert first.pop("ms") > 0
        assert first == {
            "request_id": answer.headers["x-request-id"],
            "client": "192.0.2.7",
            "method": "GET",
            "path": "/api/gallery",
            "status": 200,
            "token": "default",
        }
        assert (second["request_id"], second["status"]) == ("mine", 401)
        assert (second["client"], second["path"]) == ("127.0.0.1", "(another address)")
        assert TOKEN not in err

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_failures_are_told_without_being_asked(self, tmp_path, form):
        gallery = write_indexed(tmp_path)
        with serving(gallery, "--log-format", form) as (process, address):
            with closing(sqlite3.connect(gallery)) as connection, connection:
                connection.execute("UPDATE meta SET value = 'other' WHERE key = 'fingerprint'")
            answer = httpx.get(f"{address}api/gallery")
            assert httpx.get(f"{address}nothing").status_code == 404
            _, _, err = end(process)
        assert answer.status_code == 503
        _, replaced, line = err.splitlines()
        assert "another gallery is served: 3 photos, model msedge-lite" in replaced
        number, reason = answer.headers["x-request-id"], answer.json()["detail"]
        if form == "json":
            told = json.loads(line)
            assert (told["request_id"], told["reason"]) == (number, reason)
            assert (told["level"], told["status"]) == ("error", 503)
        else:
            assert ' "GET /api/gallery" 503 ' in line
            assert f"id={number} reason={json.dumps(reason, ensure_ascii=False)}" in line
            assert datetime.fromisoformat(line.split()[0]).utcoffset() is not None


class TestHangup:
    def test_tokens_are_replaced_while_it_serves(self, gallery, tmp_path):
        tokens = tmp_path / "tokens"
        tokens.write_text(f"old {OLD}\n")
        tokens.chmod(0o600)
        with serving(gallery, "--token-file", str(tokens)) as (process, address):

            def statuses() -> list[int]:
                return [
                    httpx.get(f"{address}api/gallery", headers=bearer(token)).status_code
                    for token in (OLD, NEW)
                ]

            assert statuses() == [200, 401]
            tokens.write_text(f"old {OLD}\nnew {NEW}\n")
            process.send_signal(signal.SIGHUP)
            eventually(lambda: statuses() == [200, 200])
            tokens.write_text("new\n")
            process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            assert statuses() == [200, 200]
            tokens.write_text(f"new {NEW}\n")
            process.send_signal(signal.SIGHUP)
            eventually(lambda: statuses() == [401, 200])
            status, _, err = end(process)
        assert status == 0
        (wrong,) = [line for line in err.splitlines() if "what was read before stays" in line]
        assert "line 1 of" in wrong
        assert OLD not in err
        assert NEW not in err

    def test_a_file_that_is_wrong_at_the_start(self, gallery, tmp_path):
        tokens = tmp_path / "tokens"
        tokens.write_text(f"ci {OLD}\n")
        tokens.chmod(0o644)
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "--gallery", gallery, "--token-file", tokens],
            capture_output=True,
            text=True,
            check=False,
            env=ENVIRONMENT,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1
        assert "chmod 600" in done.stderr

    def test_searches_go_on_under_many(self, gallery):
        with serving(gallery) as (process, address), httpx.Client(base_url=address) as client:
            for _ in range(20):
                process.send_signal(signal.SIGHUP)
                assert client.post("api/search", json=BODY).status_code == 200
            eventually(lambda: client.get("healthz").status_code == 200)
            assert end(process)[0] == 0

    def test_closing_the_terminal_ends_it(self, gallery):
        """Else it would go on unseen, and keep its port."""
        number, terminal = pty.fork()
        if not number:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests under nohup would wait for ever
            command = [sys.executable, "-c", MAIN, "--gallery", str(gallery), "--port", "0"]
            os.execve(sys.executable, command, ENVIRONMENT)
        said = b""
        while b"Ctrl+C" not in said:
            said += os.read(terminal, 1 << 16)
        os.kill(number, signal.SIGHUP)
        while b"SIGHUP:" not in said:
            said += os.read(terminal, 1 << 16)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0


JSON = "Content-Type: application/json"
CURL = ("-sS", "-m", "60", "-w", "%{http_code}", "-o", "answer", "-H", JSON)


@pytest.fixture(scope="module")
def address(gallery: Path) -> Iterator[httpx.URL]:
    """Where a server answers."""
    with serving(gallery) as (_, address):
        yield httpx.URL(address)


class TestLargeBodies:
    """Whoever sends a body that is refused sees why, though it sends all of it first."""

    SIZE = 20 * 2**20

    @pytest.mark.parametrize("framing", ["length", "chunks"])
    def test_a_client_that_sends_before_it_reads(self, address, framing):
        head = "POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        if framing == "length":
            content = f"{head}Content-Length: {self.SIZE}\r\n\r\n".encode() + bytes(self.SIZE)
        else:
            chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
            content = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 20
            content += b"0\r\n\r\n"
        for _ in range(20):
            with socket.create_connection((address.host, address.port), timeout=60) as connection:
                connection.sendall(content)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert b"the body is longer than" in answer

    def test_httpx(self, address):
        for _ in range(5):
            answer = httpx.post(address.join("api/search"), content=bytes(self.SIZE))
            assert answer.status_code == 413

    @pytest.mark.skipif(shutil.which("curl") is None, reason="wants curl")
    @pytest.mark.parametrize("more", [[], ["-H", "Expect:"], ["-H", "Transfer-Encoding: chunked"]])
    def test_curl(self, address, tmp_path, more):
        (tmp_path / "body").write_bytes(bytes(self.SIZE))
        for _ in range(5):
            done = subprocess.run(
                ["curl", *CURL, *more, "--data-binary", "@body", str(address.join("api/search"))],
                capture_output=True,
                text=True,
                check=False,
                cwd=tmp_path,
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "413", "")


NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {server}
}}
"""


@contextmanager
def nginx(folder: Path, server: str) -> Iterator[None]:
    """A proxy, ended in any case."""
    folder.mkdir()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, server=server))
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", "nginx.conf"])
    try:
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="wants nginx")
class TestProxy:
    """The lines of ``docs/serve.md``, on a port that is not the usual one."""

    BLOCKS = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/serve.md").read_text(), re.DOTALL)

    @pytest.fixture(params=["", "/photos"], ids=["root", "path"])
    def proxied(self, request, gallery: Path, tmp_path: Path) -> Iterator[tuple[Any, str, str]]:
        """The server's process, the proxy's address, and that of the page behind it."""
        path = request.param
        root, under = self.BLOCKS
        options = ["--token", TOKEN, "--log", "--trust-proxy", "127.0.0.1"]
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        site = f"http://localhost:{port}"
        with serving(gallery, *options, "--root-path", path) as (process, address):
            block = root if not path else f"server {{ listen 443 ssl;\n{under} }}"
            block = block.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
            block = block.replace("127.0.0.1:8765", httpx.URL(address).netloc.decode())
            with nginx(tmp_path / "nginx", block):

                def answers() -> bool:
                    try:
                        return httpx.get(f"{site}{path}/healthz").status_code == 200
                    except httpx.ConnectError:
                        return False

                eventually(answers)
                yield process, site, f"{site}{path}/"

    def test_page_questions_and_thumbnails(self, proxied):
        process, site, page = proxied
        with httpx.Client(base_url=page) as client:
            index = client.get("").text
            loaded = re.findall(r'(?:src|href)="(page/[^"]+)"', index)
            assert len(loaded) > 3
            assert {client.get(name).status_code for name in loaded} == {200}
            own = bearer(TOKEN) | {"Origin": site, "X-Forwarded-For": "192.0.2.7"}
            found = client.post("api/search", json=BODY, headers=own)
            assert found.status_code == 200
            for origin in ("http://localhost", "http://evil.example"):
                other = bearer(TOKEN) | {"Origin": origin}
                assert client.post("api/search", json=BODY, headers=other).status_code == 403
            assert client.post("api/session", headers=own).status_code == 204
            (cookie,) = client.cookies.jar
            assert cookie.path == httpx.URL(page).path + "api/photos"
            picture = f"api/photos/{found.json()['hits'][0]['id']}/thumbnail"
            assert client.get(picture).status_code == 200  # by the cookie
            assert client.get(picture, headers={"Cookie": ""}).status_code == 401
        _, _, err = end(process)
        assert ' 192.0.2.7 "POST /api/search" 200 ' in err  # 127.0.0.1 is trusted here
