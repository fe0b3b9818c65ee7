"""Processes of a cluster that are killed, or run out of memory, while photos are embedded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cluster_runs import rows_of
from killed_runs import SECONDS, all_end, end_all, marked, processes_of
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index
from photo_files import write_photo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for workers in /proc"),
]

PHOTOS = 240


def workers_of(mark: str) -> list[int]:
    """The processes of a run that embed."""
    found = []
    for pid in processes_of(mark):
        with suppress(OSError):
            if b"ray::" in (words := Path(f"/proc/{pid}/cmdline").read_bytes()):
                found += [pid] if b"PartWorker" in words else []
    return found


def test_a_worker_that_is_killed_costs_no_photo(tmp_path: Path) -> None:
    """As the out-of-memory killer ends one: what it had in hand is done by another."""
    for number in range(PHOTOS):
        write_photo(tmp_path / f"photos/{number:03}.jpg", number)
    mark = f"cluster-{os.getpid()}"
    command = ["-m", "msedge", "index", "photos", "--gallery", "g.lance", "--engine", "ray"]
    with subprocess.Popen(
        [sys.executable, *command, "--workers", "2"], cwd=tmp_path, env=marked(mark),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            until = time.monotonic() + SECONDS
            while not (workers := workers_of(mark)) and process.poll() is None:
                assert time.monotonic() < until
                time.sleep(0.05)
            assert workers, process.communicate()
            time.sleep(0.5)
            os.kill(workers[0], signal.SIGKILL)
            out, errors = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, errors
            assert all_end(mark)
        finally:
            end_all(mark)
    assert f"{PHOTOS} new" in out
    assert "0 skipped" in out
    assert "Traceback" not in errors
    index([tmp_path / "photos"], tmp_path / "alone.msedge", OnnxEncoder.load(threads=1))
    ours = {each.path: each.vector.tobytes() for each in rows_of(tmp_path / "g.lance").values()}
    alone = {each.path: each.vector for each in rows_of(tmp_path / "alone.msedge").values()}
    assert ours.keys() == alone.keys()
