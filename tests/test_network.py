"""No command talks to another machine unasked: its system calls are watched.

``strace`` sees what Python cannot: calls of native libraries and of child processes. What was meant
to leave the machine is seen even where there is no network that it could leave by.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STRACE = shutil.which("strace")
WATCH = ("-f", "-qq", "--seccomp-bpf", "-s", "200", "-e", "trace=connect,sendto,sendmsg,bind")
COMMAND = (sys.executable, "-m", "msedge")
SECONDS = 300
HOST = re.compile(r'sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
OWN = re.compile(r"127\.[0-9.]+|::1|::ffff:127\.[0-9.]+")
NAMELESS = re.compile(r"0\.0\.0\.0|::")  # bound to by who lists the addresses of this machine
DRAWING = [[[10, 90, 90, 10, 10], [40, 40, 90, 90, 40]]]


def _can_watch() -> bool:
    if STRACE is None:
        return False
    tried = subprocess.run([STRACE, *WATCH, "true"], capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not _can_watch(), reason="strace is missing or may not watch")


def foreign(trace: Path) -> list[str]:
    """The calls of a trace that name another machine's address."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        for pair in HOST.findall(line):
            address = pair[0] or pair[1]
            if not OWN.fullmatch(address) and not ("bind(" in line and NAMELESS.fullmatch(address)):
                found.append(line)
    return found


def watched(trace: Path, *command: str, folder: Path) -> list[str]:
    """What a command that ends well tried to reach elsewhere."""
    assert STRACE is not None
    done = subprocess.run(
        [STRACE, *WATCH, "-o", str(trace), *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return foreign(trace)


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process and its children, ended as a person ends them."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.stdout.close()
        process.wait(SECONDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in sample, and a gallery of its photos, both made under watch."""
    folder = tmp_path_factory.mktemp("network")
    trace = folder / "trace"
    assert watched(trace, *COMMAND, "data", "sample", folder=folder) == []
    assert watched(trace, *COMMAND, "index", "data/sample/val/photo", folder=folder) == []
    return folder


class TestWatching:
    @pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
    def test_another_address_is_seen(self, tmp_path: Path, address: str) -> None:
        """Addresses of documentation (RFC 5737, RFC 3849), and no packet is sent."""
        family = "AF_INET6" if ":" in address else "AF_INET"
        code = (
            "import contextlib, socket\n"
            "with contextlib.suppress(OSError):\n"
            f"    socket.socket(socket.{family}, socket.SOCK_DGRAM).connect(('{address}', 9))\n"
        )
        found = watched(tmp_path / "trace", sys.executable, "-c", code, folder=tmp_path)
        assert len(found) == 1
        assert address in found[0]

    def test_this_machine_is_passed_over(self, tmp_path: Path) -> None:
        code = "import socket\nsocket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 9))\n"
        trace = tmp_path / "trace"
        assert watched(trace, sys.executable, "-c", code, folder=tmp_path) == []
        assert "127.0.0.1" in trace.read_text()


class TestCommands:
    @pytest.mark.parametrize(
        "arguments",
        [
            ("--help",),
            ("models", "list"),
            ("protocols", "list"),
            ("search", "drawing.json"),
            ("gallery", "check", "photos.msedge"),
            ("gallery", "copy", "photos.msedge", "photos.lance"),
        ],
        ids=" ".join,
    )
    def test_they_reach_nobody(
        self, folder: Path, tmp_path: Path, arguments: tuple[str, ...]
    ) -> None:
        (folder / "drawing.json").write_text(json.dumps(DRAWING))
        assert watched(tmp_path / "trace", *COMMAND, *arguments, folder=folder) == []

    def test_training_and_judging_reach_nobody(self, folder: Path, tmp_path: Path) -> None:
        (folder / "short.yaml").write_text(
            "backbone: tf_efficientnet_lite0\nimage_size: 32\nepochs: 1\nbatch_size: 64\n"
        )
        train = (*COMMAND, "train", "--config", "short.yaml", "--data-name", "sample")
        assert watched(tmp_path / "trace", *train, folder=folder) == []

    def test_serving_reaches_nobody(self, folder: Path, tmp_path: Path) -> None:
        assert STRACE is not None
        trace = tmp_path / "trace"
        command = [STRACE, *WATCH, "-o", str(trace), *COMMAND, "serve", "--port", "0"]
        with started(command, folder) as server:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            image = min(folder.glob("data/sample/val/sketch/*/*"))
            for question in (
                {"strokes": DRAWING},
                {"image": base64.b64encode(image.read_bytes()).decode()},
            ):
                request = urllib.request.Request(
                    f"{address}api/search",
                    json.dumps(question).encode(),
                    {"Content-Type": "application/json"},
                )
                with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                    assert json.load(answer)["hits"]
        assert foreign(trace) == []
