"""The head of a cluster is killed while photos are embedded: one line, and the next run goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cluster_runs import TESTS, rows_of
from killed_runs import end_all, marked, processes_of
from photo_files import write_photo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.cluster,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for Ray in /proc"),
]

PHOTOS = 600
SECONDS = 300  # many times what is needed on a busy machine
SECONDS_TO_END = 60.0
CHECK = ("gallery", "check", "g.lance")


@contextmanager
def head(mark: str, folder: Path) -> Iterator[str]:
    """A cluster as `ray start --head` makes it; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = Path(tempfile.mkdtemp(prefix="msedge-ray-", dir="/tmp"))  # sockets want short paths
    command = [
        "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false",
        f"--temp-dir={place}/ray", f"--object-store-memory={80 * 2**20}", "--disable-usage-stats",
    ]  # fmt: skip
    # Where Ray notes the cluster that it began last, and what it writes into the home folder.
    own = marked(mark) | {"RAY_TMPDIR": str(place), "HOME": str(folder), "PYTHONPATH": path()}
    try:
        ray = Path(sys.executable).with_name("ray")
        subprocess.run([ray, *command], env=own, check=True, capture_output=True, timeout=SECONDS)
        yield f"127.0.0.1:{port}"
    finally:
        end_all(mark)
        shutil.rmtree(place, ignore_errors=True)


def path() -> str:
    return os.pathsep.join([TESTS, *filter(None, [os.environ.get("PYTHONPATH")])])


def msedge(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "msedge", *words], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"HOME": str(folder), "PYTHONPATH": path()},
    )  # fmt: skip


def kill(mark: str, name: str) -> None:
    """SIGKILL to a process of Ray that we have started."""
    found = [pid for pid in processes_of(mark) if program_of(pid) == name]
    assert found
    for pid in found:
        os.kill(pid, signal.SIGKILL)


def program_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink().name
    return ""


@pytest.mark.parametrize("dying", [("gcs_server", "raylet"), ("gcs_server",), ("raylet",)])
def test_it_says_so_in_one_line_and_the_same_command_goes_on(
    dying: tuple[str, ...], tmp_path: Path
) -> None:
    for number in range(PHOTOS):
        write_photo(tmp_path / f"photos/{number:03}.jpg", number)
    words = ("index", "photos", "--gallery", "g.lance", "--engine", "ray", "--address")
    mark = f"head-{os.getpid()}-{'-'.join(dying)}"
    with head(mark, tmp_path) as address, msedge(tmp_path, *words, address) as process:
        until = time.monotonic() + SECONDS
        while not list((tmp_path / "g.lance").glob("data/*.lance")):  # a worker's first part
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        for name in dying:
            kill(mark, name)
        try:
            out, errors = process.communicate(timeout=SECONDS_TO_END)
        finally:
            process.kill()
    assert process.returncode == 2, (out, errors)
    told = [line for line in errors.splitlines() if not re.match(r"photos to read|\s+\d", line)]
    kept = len(rows_of(tmp_path / "g.lance"))
    assert kept < PHOTOS
    assert len(told) == 1, errors
    assert re.fullmatch(
        r"msedge: Ray has failed \(the cluster's (head|node) at \S+ does not answer any more\): "
        rf"the gallery keeps the {kept} photos that it has now; once the cluster is well again, "
        "the same command goes on from there",
        told[0],
    )
    assert out == ""
    with msedge(tmp_path, *CHECK) as checking:
        assert checking.wait(SECONDS) == 0, checking.communicate()
    mark += "-again"
    with head(mark, tmp_path) as address, msedge(tmp_path, *words, address) as process:
        out, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert f"{PHOTOS - kept} new" in out
    assert f"{kept} unchanged" in out
    assert len(rows_of(tmp_path / "g.lance")) == PHOTOS  # each once: it looks
