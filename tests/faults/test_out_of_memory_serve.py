"""A server that gets no more memory answers so, and goes on."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from killed_runs import SECONDS, marked
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index
from photo_files import write_photo

if not sys.platform.startswith("linux"):
    pytest.skip("limits memory as Linux does", allow_module_level=True)
import resource

ROOM = 40 * 2**20
DRAWING = {"strokes": [[[0, 9, 9], [0, 0, 9]]], "k": 2}


@dataclass(frozen=True)
class Server:
    """One that is at work."""

    process: subprocess.Popen[str]
    address: str

    def take_memory_away(self) -> None:
        """Let it have a little more than it has, and no more."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        size = int(re.findall(r"VmSize:\s+(\d+)", status)[0]) * 1024
        self._limit(size + ROOM)

    def give_memory_back(self) -> None:
        """Let it have what it wants."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        most = resource.RLIM_INFINITY
        resource.prlimit(self.process.pid, resource.RLIMIT_AS, (size, most))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    for number in range(3):
        write_photo(tmp_path / f"photos/{number}.jpg", number)
    index([tmp_path / "photos"], tmp_path / "g.msedge", OnnxEncoder.load(threads=1))
    with subprocess.Popen(
        [sys.executable, "-m", "msedge", "serve", "--gallery", "g.msedge", "--port", "0"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=marked("serve"),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            yield Server(process, process.stdout.readline().strip())
        finally:
            process.kill()


def picture(side: int) -> str:
    """A picture as a request holds it, which is small until it is decoded."""
    content = io.BytesIO()
    Image.new("RGB", (side, side), (9, 90, 9)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def test_a_search_that_gets_no_memory_is_refused_and_the_next_is_answered(server: Server) -> None:
    with httpx.Client(base_url=server.address, timeout=SECONDS) as client:
        wanted = client.post("api/search", json=DRAWING)
        assert wanted.status_code == 200
        server.take_memory_away()
        for _ in range(3):
            refused = client.post("api/search", json={"image": picture(7500), "k": 2})
            assert refused.status_code in (413, 422, 503), refused.text
            assert len(refused.json()["detail"].splitlines()) == 1
            again = client.post("api/search", json=DRAWING)
            assert again.status_code == 200
            assert again.json()["hits"] == wanted.json()["hits"]
        server.give_memory_back()
    server.process.terminate()
    _, errors = server.process.communicate(timeout=SECONDS)
    assert server.process.returncode == 0, errors
    assert "Traceback" not in errors
