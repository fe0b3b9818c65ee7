"""``msedge serve`` as a process: with a small gallery, its address, and raw requests to it."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import numpy as np

from msedge.data.images import read_pixels
from msedge.data.sample import draw_photo
from msedge.search.encoder import OnnxEncoder
from msedge.search.photo import NewPhoto
from msedge.search.stores import open_or_create
from msedge.search.stores.reports import Model

TOKEN = "correct-horse-battery"
MAIN = (
    "import typer\n"
    "from msedge.cli.app import run\n"
    "from msedge.cli.serve import serve_command\n"
    "application = typer.Typer(pretty_exceptions_enable=False)\n"
    "application.command()(serve_command)\n"
    "run(application)\n"
)
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MSEDGE_TOKEN", "MSEDGE_DEBUG")
} | {"OMP_NUM_THREADS": "1"}


def write_indexed(folder: Path) -> Path:
    """Three photos, indexed by the model that comes with the package."""
    encoder = OnnxEncoder.load(threads=1)
    rows = []
    for number, name in enumerate(("cup", "fish", "lamp")):
        path = folder / f"{name}.jpg"
        draw_photo(name, np.random.default_rng(number)).save(path)
        status = path.stat()
        vector = encoder.photos(read_pixels(path, encoder.image_size)[None])[0]
        rows.append(
            NewPhoto(
                path=path,
                size=status.st_size,
                mtime_ns=status.st_mtime_ns,
                content_hash=hashlib.blake2b(path.read_bytes(), digest_size=32).hexdigest(),
                width=160,
                height=160,
                taken=status.st_mtime,
                vector=vector.astype(np.float16),
            )
        )
    path = folder / "photos.msedge"
    with open_or_create(path, Model(encoder.name, encoder.fingerprint, encoder.dim)) as file:
        file.change(put=rows)
    return path


@contextmanager
def serving(
    gallery: Path, *options: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its address; ended in any case."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "--gallery", str(gallery), "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT | (environment or {}),
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, process.stderr.read()  # type: ignore[union-attr]
        yield process, address
    finally:
        process.kill()
        process.communicate()


IMPATIENT = """
import sys
from pathlib import Path
from msedge.search.gallery import Gallery
from msedge.search.encoder import OnnxEncoder
from msedge.server.app import ServerSettings, create_app
from msedge.server.running import address_of, bind, serve
encoder = OnnxEncoder.load(threads=1)
with Gallery.open(Path(sys.argv[1]), model=encoder) as gallery, bind("127.0.0.1", 0) as listening:
    port = listening.getsockname()[1]
    app = create_app(gallery, ServerSettings(finish_seconds=1))
    serve(app, listening, log=False, ready=lambda: print(port, flush=True))
"""


@contextmanager
def impatient(gallery: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server that lets answers take a second when it ends, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, str(gallery)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Ask a process to end; its status, and the rest of what it printed."""
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def ask(address: httpx.URL, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send bytes as they are; the answer's status and all of it."""
    with socket.create_connection((address.host, address.port), timeout=20) as connection:
        with suppress(OSError):  # answered and closed before all was sent
            connection.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
        answer = b""
        with suppress(OSError):
            while piece := connection.recv(65536):
                answer += piece
    return int(answer.split()[1]), answer
