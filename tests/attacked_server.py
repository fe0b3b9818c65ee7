"""A real server to attack: its process, sockets that say what no client says, and its figures.

The gallery is of drawn photos, one of them big enough that no socket's buffer holds it.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from msedge.data.sample import draw_photo
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index

TOKEN = "correct-horse-battery-staple"
DRAWN = ("cup", "fish", "lamp", "house", "tree", "clock")
BIG_SIDE = 2_200  # pixels: 14 MB of noise as PNG
QUESTION = {"strokes": [[[10, 90, 90, 10, 10], [40, 40, 90, 90, 40]]], "k": 6}
SECONDS = 60.0  # against hanging; nothing here takes that long
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MSEDGE_TOKEN", "MSEDGE_DEBUG")
} | {"OMP_NUM_THREADS": "1"}
_THREADS_MORE = 48  # the pool for files grows to 40 when it is needed
_DESCRIPTORS_MORE = 12 + 2 * _THREADS_MORE  # each of which reads the gallery by its own
_SOCKETS_MORE = 4
_MEGABYTES_MORE = 400.0  # what six pictures of 10 Mpx at a time leave with the allocator
_MOST_ADDRESSES = 8 * 2**30  # bytes, so that an attack that works harms nobody else


def write_attacked_gallery(folder: Path) -> Path:
    """Draw photos and index them; ids from 1 in the order of their names.

    ``photos/a big.png`` is number 1, ``photos/b scan.tiff`` number 2.
    """
    photos = folder / "photos"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (BIG_SIDE, BIG_SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "a big.png", compress_level=0)
    draw_photo("cup", rng, 600).save(photos / "b scan.tiff")
    for name in DRAWN:
        draw_photo(name, rng, 320).save(photos / f"{name}.jpg", quality=90)
    gallery = folder / "photos.msedge"
    index([photos], gallery, OnnxEncoder.load(threads=1))
    return gallery


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: status, headers in lower case, and the body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Figures:
    """What a process holds: megabytes in memory, threads, open files, of which sockets."""

    megabytes: float
    threads: int
    descriptors: int
    sockets: int

    @classmethod
    def of(cls, process: int) -> Figures:
        """Those of a process, as Linux tells them."""
        told = dict(
            line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines()
        )
        opened = []
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                opened.append(str(link.readlink()))
        return cls(
            megabytes=int(told["VmRSS"].split()[0]) / 1024,
            threads=int(told["Threads"]),
            descriptors=len(opened),
            sockets=sum(name.startswith("socket:") for name in opened),
        )

    def holds_about(self, before: Figures) -> bool:
        """Whether no more is open than before, but for what is kept for the next request."""
        return (
            self.sockets <= before.sockets + _SOCKETS_MORE
            and self.descriptors <= before.descriptors + _DESCRIPTORS_MORE
        )


class AttackedServer:
    """A server's process, and how it is spoken to."""

    def __init__(
        self, process: subprocess.Popen[str], address: str, said: Path, token: str | None
    ) -> None:
        self.process, self.token, self._said = process, token, said
        self.port = int(address.rstrip("/").rpartition(":")[2])
        self._wanted = self.search()
        self._heard = 0
        self.figures()  # the first look opens nothing of its own afterwards

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        """A connection, with a small buffer for who means to read slowly."""
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(SECONDS)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def say(self, *pieces: bytes, pause: float = 0.0, ends: bool = False) -> bytes:
        """Send bytes as they are, and read until the server closes.

        Args:
            pieces: sent one after the other.
            pause: seconds between two.
            ends: whether to close the sending side when all is said.

        Raises:
            TimeoutError: the server neither answered nor closed.
        """
        with self.connect() as connection:
            with suppress(ConnectionError):  # it may answer and close before all is said
                for number, piece in enumerate(pieces):
                    time.sleep(pause if number else 0.0)
                    connection.sendall(piece)
                if ends:
                    connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def exchange(self, *pieces: bytes, pause: float = 0.0) -> list[Answer]:
        """Say something that begins with a method, and read the answers."""
        method = pieces[0].split(b" ", 1)[0].decode("latin-1")
        return answers(self.say(*pieces, pause=pause), method)

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str | None) -> Answer:
        """A request as a well-behaved client sends it, but for what is given; `x_y` is `X-Y`."""
        head = {"Host": "localhost", "Connection": "close"}
        if self.token is not None:
            head["Authorization"] = f"Bearer {self.token}"
        if body:
            head |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        given = {name.replace("_", "-").title(): value for name, value in headers.items()}
        lines = [f"{name}: {value}" for name, value in (head | given).items() if value is not None]
        text = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
        (answer,) = answers(self.say(text.encode("latin-1") + body), method)
        return answer

    def search(self, question: dict[str, Any] | None = None) -> list[tuple[int, float]]:
        """Ids and similarities of a good question."""
        answer = self.ask("POST", "/api/search", json.dumps(question or QUESTION).encode())
        assert answer.status == 200, answer
        return [(hit["id"], hit["similarity"]) for hit in json.loads(answer.body)["hits"]]

    def figures(self) -> Figures:
        """What the server holds now."""
        return Figures.of(self.process.pid)

    def said(self) -> str:
        """All that it wrote to standard error."""
        return self._said.read_text(errors="replace")

    def statuses(self) -> dict[int, int]:
        """How many requests ended with which status, as the server counts."""
        found: dict[int, int] = {}
        for line in self.ask("GET", "/metrics").body.decode().splitlines():
            if line.startswith("msedge_requests_total{"):
                status = int(line.split('status="')[1].split('"')[0])
                found[status] = found.get(status, 0) + int(float(line.rsplit(" ", 1)[1]))
        return found

    def check_unhurt(self, before: Figures) -> None:
        """It answers as it did, holds about what it held, and has told of no defect.

        Raises:
            AssertionError: something of that is not so.
        """
        assert self.process.poll() is None, self.said()
        assert self.search() == self._wanted
        deadline = time.monotonic() + SECONDS
        while not (now := self.figures()).holds_about(before):
            assert time.monotonic() < deadline, (before, now)
            time.sleep(0.05)
        assert now.threads <= before.threads + _THREADS_MORE, (before, now)
        assert now.megabytes <= before.megabytes + _MEGABYTES_MORE, (before, now)
        said = self.said()
        new, self._heard = said[self._heard :], len(said)
        assert "Traceback" not in new, new[-3000:]

    def check_never_failed(self) -> None:
        """No request was answered by an error of the server's own.

        Raises:
            AssertionError: some were.
        """
        failed = {status: count for status, count in self.statuses().items() if status >= 500}
        assert failed == {}


@contextmanager
def attacked(
    gallery: Path, *options: str, token: str | None = None, settings: dict[str, Any] | None = None
) -> Iterator[AttackedServer]:
    """Start a server, and end it in any case.

    Args:
        gallery: what it serves.
        options: further words for ``msedge serve``.
        token: what it asks for.
        settings: of ``ServerSettings``, for a server that is not to be as patient as others.
    """
    command = [sys.executable, "-m", "msedge", "serve", "--gallery", str(gallery), "--port", "0"]
    if settings is not None:
        command = [sys.executable, __file__, str(gallery), json.dumps(settings)]
    said = gallery.with_name(f"said {time.monotonic_ns()}.txt")
    environment = ENVIRONMENT | ({} if token is None else {"MSEDGE_TOKEN": token})
    with (
        said.open("w") as errors,
        subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        try:
            assert process.stdout is not None
            resource.prlimit(process.pid, resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
            address = process.stdout.readline().strip()
            assert address, said.read_text()
            yield AttackedServer(process, address, said, token)
        finally:
            process.kill()


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; a reset is an end too."""
    content = b""
    with suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            content += piece
    return content


def answers(content: bytes, *methods: str) -> list[Answer]:
    """The answers in a stream, one after the other.

    Args:
        content: all that the server sent.
        methods: of the requests, as ``HEAD`` has no body; GET where none is given.

    Raises:
        http.client.HTTPException: it is not HTTP.
    """
    stream, found = _Stream(content), []
    while stream.tell() < len(content):
        method = methods[len(found)] if len(found) < len(methods) else "GET"
        answer = http.client.HTTPResponse(cast("socket.socket", stream), method=method)
        answer.begin()
        body = answer.read()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        found.append(Answer(answer.status, headers, body))
    return found


class _Stream(io.BytesIO):
    """Bytes that look like a socket to ``http.client``, which closes what it has read."""

    def makefile(self, _mode: str) -> _Stream:
        return self

    def close(self) -> None:
        pass


def _main(words: Sequence[str]) -> None:
    """Serve with settings that the command line has no options for."""
    from msedge.search.gallery import Gallery
    from msedge.server.app import ServerSettings, create_app
    from msedge.server.running import address_of, bind, serve

    settings = ServerSettings(**json.loads(words[1]), token=os.environ.get("MSEDGE_TOKEN"))
    encoder = OnnxEncoder.load(threads=1)
    with Gallery.open(Path(words[0]), model=encoder) as gallery, bind("127.0.0.1", 0) as listening:
        address = address_of(listening)
        serve(
            create_app(gallery, settings),
            listening,
            log=False,
            ready=lambda: print(address, flush=True),
        )


if __name__ == "__main__":
    _main(sys.argv[1:])
