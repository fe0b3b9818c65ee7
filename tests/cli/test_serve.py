"""``msedge serve`` as a person runs it: real processes on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from msedge.cli.serve import serve_command
from msedge.errors import ConfigError, DataError, MSEdgeError
from serve_processes import ENVIRONMENT, MAIN, TOKEN, ask, end, serving, write_indexed


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos, indexed by the model that comes with the package."""
    return write_indexed(tmp_path_factory.mktemp("served"))


def serve(*arguments: object, environment: dict[str, str] | None = None) -> MSEdgeError:
    """The error that the command ends with."""
    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(serve_command)
    result = CliRunner(env={"MSEDGE_TOKEN": None, **(environment or {})}).invoke(
        application, [str(argument) for argument in arguments]
    )
    assert isinstance(result.exception, MSEdgeError), result.output
    assert result.stdout == ""
    assert len(str(result.exception).splitlines()) == 1
    return result.exception


def test_names_that_are_not_there(gallery):
    assert "no names at none" in str(serve("--gallery", gallery, "--port", 0, "--names", "none"))


class TestServing:
    def test_from_the_address_to_the_end(self, gallery):
        with serving(gallery) as (process, address):
            host = httpx.URL(address)
            assert (host.scheme, host.host, host.path) == ("http", "127.0.0.1", "/")
            assert host.port
            with httpx.Client(base_url=address) as client:
                assert client.get("healthz").json() == {"status": "ok"}
                body = {"strokes": [[[0, 9, 9], [0, 0, 9]]], "k": 2}
                found = client.post("api/search", json=body).json()
                assert len(found["hits"]) == 2
                assert found["searched"] == 3
                thumbnail = client.get(f"api/photos/{found['hits'][0]['id']}/thumbnail")
                assert thumbnail.headers["content-type"] == "image/jpeg"
                assert client.get("api/gallery").json()["photos"] == 3
            status, out, err = end(process)
        assert (status, out) == (0, "")
        assert err == "Serving 3 photos; Ctrl+C ends it.\n"  # and no line for a request

    def test_log(self, gallery):
        with serving(gallery, "--log", "--token", TOKEN) as (process, address):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert httpx.get(f"{address}api/gallery", headers=headers).status_code == 200
            assert httpx.get(f"{address}api/gallery?token={'x' * 20}").status_code == 401
            _, out, err = end(process)
        assert '"GET /api/gallery" 200 ' in err
        assert '"GET /api/gallery" 401 ' in err
        assert "xxxx" not in out + err

    def test_no_token_is_ever_written_wherever_it_was_put(self, gallery):
        wrong = "staple-battery-horse"
        environment = {"MSEDGE_TOKEN": TOKEN, "MSEDGE_DEBUG": "1", "PYTHONASYNCIODEBUG": "1"}
        with serving(gallery, "--log", environment=environment) as (process, address):
            host = httpx.URL(address)
            for token in (TOKEN, wrong):
                body = json.dumps({"folder": token, token: token, "strokes": token}).encode()
                json_body = (
                    f"Content-Type: application/json\nContent-Length: {len(body)}\n"
                    f"Authorization: Bearer {TOKEN}"
                )
                for head, content in [
                    ("GET /api/gallery HTTP/1.1\nAuthorization: Bearer {}", b""),
                    ("GET /api/gallery HTTP/1.1\nAuthorization: Basic {}", b""),
                    ("GET /api/photos/1 HTTP/1.1\nCookie: msedge_token={}", b""),
                    ("GET /api/gallery?token={} HTTP/1.1", b""),
                    ("GET /{} HTTP/1.1", b""),
                    ("GET /api/photos/{} HTTP/1.1", b""),
                    ("GET /page/{} HTTP/1.1", b""),
                    ("GET http://{}/ HTTP/1.1", b""),
                    ("GET / HTTP/1.1\n{} {}", b""),
                    ("GET /{} HTTP/9", b""),
                    ("{} / HTTP/1.1", b""),
                    (f"POST /api/search HTTP/1.1\n{json_body}", body),
                    (f"POST /api/session HTTP/1.1\n{json_body}", body),
                ]:
                    said = head.replace("{}", token) + "\nHost: localhost\nConnection: close"
                    assert ask(host, said, content)[0] < 500
            headers = {"Authorization": f"Bearer {TOKEN}"}
            figures = httpx.get(f"{address}metrics", headers=headers).text
            status, out, err = end(process)
        assert status == 0
        assert err.count("127.0.0.1") >= 20  # so much was logged
        for secret in (TOKEN, wrong):
            assert secret not in out + err + figures

    def test_other_machines_with_a_token(self, gallery):
        with serving(gallery, "--host", "0.0.0.0", "--token", TOKEN, "--allow-host", "box.lan") as (
            _,
            address,
        ):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert httpx.URL(address).host == "127.0.0.1"
            assert httpx.get(f"{address}api/gallery").status_code == 401
            assert httpx.get(f"{address}api/gallery", headers=headers).status_code == 200
            named = headers | {"Host": "box.lan"}
            assert httpx.get(f"{address}api/gallery", headers=named).status_code == 200
            other = headers | {"Host": "evil.example"}
            assert httpx.get(f"{address}api/gallery", headers=other).status_code == 403

    def test_the_page_is_shown_and_the_token_is_not(self, gallery, tmp_path):
        opener = tmp_path / "bin" / "xdg-open"
        opener.parent.mkdir()
        opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
        opener.chmod(0o755)
        path = f"{opener.parent}{os.pathsep}{os.environ['PATH']}"
        environment = {"PATH": path, "MSEDGE_TOKEN": TOKEN}
        with serving(gallery, "--open", environment=environment) as (process, address):
            deadline = time.monotonic() + 20
            while not (tmp_path / "opened").exists() or not (tmp_path / "opened").read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert (tmp_path / "opened").read_text() == f"{address}\n"
            assert httpx.get(f"{address}api/gallery").status_code == 401
            headers = {"Authorization": f"Bearer {TOKEN}"}
            assert httpx.get(f"{address}api/gallery", headers=headers).status_code == 200
            assert TOKEN not in "".join(map(str, end(process)))


@pytest.fixture(scope="module")
def raw_address(gallery: Path) -> Iterator[httpx.URL]:
    """Where a server answers."""
    with serving(gallery) as (_, address):
        yield httpx.URL(address)


class TestRawRequests:
    """What no well-behaved client sends."""

    @pytest.mark.parametrize(
        "target",
        [
            "/../../../etc/passwd", "/page/../../../../../etc/passwd", "/page/..//..//settings.py",
            "/page/%2e%2e/settings.py", "/page/..%5csettings.py", "/page//etc/passwd",
            "/page/../app.py", "/api/photos/../../etc/passwd", "/api/photos/%2fetc%2fpasswd",
            "/api/photos/1/../../gallery/../../etc/passwd", "//etc/passwd", "/%00",
            "/page/app.js/..",
        ],
    )  # fmt: skip
    def test_traversal(self, raw_address, target):
        status, answer = ask(
            raw_address, f"GET {target} HTTP/1.1\nHost: localhost\nConnection: close"
        )
        assert status in (400, 404, 422)
        assert b"root:" not in answer
        assert b"import" not in answer

    @pytest.mark.parametrize(
        "hosts", ["", "Host: evil.example\n", "Host: localhost\nHost: evil.example\n", "Host: \n"]
    )
    def test_hosts(self, raw_address, hosts):
        status, _ = ask(raw_address, f"GET /api/gallery HTTP/1.1\n{hosts}Connection: close")
        assert status in (400, 403)

    def test_another_host_in_the_target(self, raw_address):
        head = "GET http://evil.example/api/gallery HTTP/1.1\nHost: evil.example\nConnection: close"
        assert ask(raw_address, head)[0] in (400, 403)

    def test_a_body_that_claims_to_be_huge(self, raw_address):
        head = (
            "POST /api/search HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"
            "Content-Length: 99999999999"
        )
        assert ask(raw_address, head)[0] == 413  # at once, with nothing of it sent

    def test_a_chunked_body_without_end(self, raw_address):
        head = (
            "POST /api/search HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"
            "Transfer-Encoding: chunked"
        )
        chunk = b"100000\r\n" + b"[" * 0x100000 + b"\r\n"
        assert ask(raw_address, head, chunk * 18)[0] == 413

    def test_two_lengths(self, raw_address):
        head = (
            "POST /api/search HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"
            "Content-Length: 5\nContent-Length: 50\nConnection: close"
        )
        assert ask(raw_address, head, b"{}   ")[0] == 400

    def test_it_still_answers(self, raw_address):
        status, answer = ask(
            raw_address, "GET /healthz HTTP/1.1\nHost: localhost\nConnection: close"
        )
        assert status == 200
        assert b'{"status":"ok"}' in answer
        assert b"server: uvicorn" not in answer.lower()


class TestRate:
    def test_it_can_be_given(self, gallery):
        with (
            serving(gallery, "--rate", "1") as (_, address),
            httpx.Client(base_url=address) as asks,
        ):
            statuses = [asks.post("api/similar", json={"id": 1}).status_code for _ in range(4)]
        assert statuses[:3] == [200, 200, 200]
        assert set(statuses) <= {200, 429}

    def test_where_other_machines_reach_it_there_is_one(self, gallery):
        with (
            serving(gallery, "--host", "0.0.0.0", "--token", TOKEN) as (_, address),
            ThreadPoolExecutor(8) as threads,
        ):
            headers = {"Authorization": f"Bearer {TOKEN}"}

            def ask_once(_number: int) -> int:
                body = {"id": 99}
                return httpx.post(f"{address}api/similar", json=body, headers=headers).status_code

            statuses = Counter(threads.map(ask_once, range(40)))
        assert statuses[404] >= 30
        assert statuses.keys() <= {404, 429}


class TestRefusals:
    def test_no_gallery(self, tmp_path):
        error = serve("--gallery", tmp_path / "none.msedge", "--port", 0)
        assert isinstance(error, DataError)
        assert "none.msedge" in str(error)

    def test_something_else_than_a_gallery(self, tmp_path):
        (tmp_path / "x").write_text("no gallery")
        assert isinstance(serve("--gallery", tmp_path / "x", "--port", 0), DataError)

    def test_a_port_that_is_taken(self, gallery):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            error = serve("--gallery", gallery, "--port", taken.getsockname()[1])
        assert isinstance(error, ConfigError)
        assert "taken" in str(error)
        assert "--port" in str(error)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "box.invalid"])
    def test_other_machines_without_a_token(self, gallery, host):
        assert "--token" in str(serve("--gallery", gallery, "--host", host, "--port", 0))

    def test_an_address_of_another_machine(self, gallery):
        error = serve("--gallery", gallery, "--host", "192.0.2.1", "--token", TOKEN, "--port", 0)
        assert "192.0.2.1" in str(error)
        assert "--host" in str(error)

    def test_a_weak_token(self, gallery):
        error = serve("--gallery", gallery, "--port", 0, environment={"MSEDGE_TOKEN": "weak-word"})
        assert "16 characters" in str(error)
        assert "weak-word" not in str(error)

    def test_what_is_no_host_name(self, gallery):
        error = serve("--gallery", gallery, "--port", 0, "--allow-host", "http://x/")
        assert "not a host name" in str(error)

    def test_the_extra_is_missing(self, gallery, monkeypatch):
        monkeypatch.setattr(
            "msedge.cli.serve.find_spec", lambda name: None if name == "uvicorn" else object()
        )
        error = serve("--gallery", gallery)
        assert str(error) == ("serving needs uvicorn: install it by `pip install 'msedge[serve]'`")

    def test_in_a_process_it_is_one_line_and_status_2(self, tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "--gallery", str(tmp_path / "none")],
            capture_output=True,
            text=True,
            check=False,
            env=ENVIRONMENT,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("msedge: ")
        assert len(done.stderr.splitlines()) == 1


def test_the_command_imports_nothing_heavy():
    program = (
        "import sys, msedge.cli.serve\n"
        "print({'fastapi', 'uvicorn', 'numpy', 'PIL', 'pydantic'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


def test_the_server_imports_no_learning_library():
    program = (
        "import sys, msedge.server.app, msedge.server.running\n"
        "print({'torch', 'timm', 'kornia', 'pandas', 'matplotlib'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
