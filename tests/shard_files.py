"""Tars, Parquet files and servers of photos, for tests."""

from __future__ import annotations

import functools
import http.server
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from photo_files import picture


def photo_bytes(content: int, kind: str = "PNG") -> bytes:
    """A small photo as a file's bytes."""
    stream = io.BytesIO()
    picture(content).save(stream, kind)
    return stream.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> Path:
    """A plain tar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pairs = members.items() if isinstance(members, Mapping) else members
    with tarfile.open(path, "w") as tar:
        for name, content in pairs:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def write_parquet(path: Path, columns: Mapping[str, Any], **options: Any) -> Path:
    """A Parquet file of some columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path, **options)
    return path


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder over HTTP; gives the URL of it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@contextmanager
def answering(status: int | None) -> Iterator[str]:
    """A server that answers everything by a status, or has gone; gives its URL."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status or 500)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, format: str, *words: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        if status is None:
            server.server_close()
            yield url
            return
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield url
        finally:
            server.shutdown()
