"""An object store for tests: a real process on this machine that speaks S3."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

SERVER = "from moto.server import main; import sys; main(sys.argv[1:])"
BUCKET = "bucket"
_DAY, _DATE = "2026-01-01T00:00:00Z", "Thu, 01 Jan 2026 00:00:00 GMT"


@contextmanager
def object_store() -> Iterator[dict[str, str]]:
    """Start one with an empty bucket; gives the environment that leads to it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with _started(["-c", SERVER, "-H", "127.0.0.1", "-p", port], port):
        environment = _leading_to(port)
        address = f"{environment['AWS_ENDPOINT_URL']}/{BUCKET}"
        request = urllib.request.Request(address, method="PUT")
        urllib.request.urlopen(request, timeout=20).close()
        yield environment


@contextmanager
def folder_as_bucket(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Start one that only shows the files of a folder; its process, and what leads to it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with _started([__file__, str(folder), port], port) as process:
        yield process, _leading_to(port)


class _Shows(BaseHTTPRequestHandler):
    """Reading and listing, in the words of S3."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = dict(parse_qsl(url.query))
        if "list-type" in asked:
            return self._answer(200, self._listed(asked.get("prefix", "")))
        path = self.folder / unquote(url.path).removeprefix(f"/{BUCKET}/")
        if not path.is_file():
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        content = path.read_bytes()
        if wanted := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first, last = wanted.groups()
            start = int(first) if first else max(0, len(content) - int(last))
            stop = min(int(last) + 1, len(content)) if first and last else len(content)
            span = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
            return self._answer(206, content[start:stop], span)
        return self._answer(200, content)

    do_HEAD = do_GET  # noqa: N815  (the name that the library wants)

    def _listed(self, prefix: str) -> bytes:
        keys = (str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())
        entries = [
            f"<Contents><Key>{key}</Key><Size>{(self.folder / key).stat().st_size}</Size>"
            f"<LastModified>{_DAY}</LastModified><ETag>e</ETag></Contents>"
            for key in sorted(keys) if key.startswith(prefix)
        ]  # fmt: skip
        return f"<ListBucketResult>{''.join(entries)}</ListBucketResult>".encode()

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        told = {"Content-Length": str(len(body)), "ETag": "e", "Last-Modified": _DATE}
        for name, value in (told | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _started(words: list[str], port: str) -> Iterator[subprocess.Popen[bytes]]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *words], **quiet)
    try:
        _wait_for(int(port))
        yield process
    finally:
        process.kill()
        process.wait()


def _leading_to(port: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }


def _wait_for(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise TimeoutError("the object store does not answer")


if __name__ == "__main__":
    _Shows.folder = Path(sys.argv[1])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), _Shows).serve_forever()
