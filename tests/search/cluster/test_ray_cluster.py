"""Ray comes and goes without a trace: signals, folders, processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from msedge.errors import ConfigError
from msedge.search.cluster.ray_cluster import ray_cluster

PROGRAM = """
import os, signal
from msedge.search.cluster.ray_cluster import ray_cluster

def own(*_): pass

def there(): return ray.cluster_resources()["CPU"], len(ray.nodes())

signal.signal(signal.SIGTERM, own)
with ray_cluster(None, cpus=3):
    import ray
    assert there() == (3, 1)
    assert any(name.startswith("msedge-ray-") for name in os.listdir(os.environ["TMPDIR"]))
    assert signal.getsignal(signal.SIGTERM) is own
    with ray_cluster(None):  # one that is there is used, and left alone
        assert there() == (3, 1)
    assert there() == (3, 1)
assert signal.getsignal(signal.SIGTERM) is own
"""


def test_a_private_cluster_leaves_nothing_and_says_nothing(tmp_path):
    # Sockets want short paths.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                              capture_output=True, text=True, check=True)  # fmt: skip
        (Path(folder) / f"msedge-ray-{gone.stdout.strip()}-left").mkdir()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TMPDIR": folder, "HOME": str(tmp_path)},
            timeout=120,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert list(Path(folder).iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_an_address_where_nobody_answers_is_one_line():
    before = signal.getsignal(signal.SIGTERM)
    told = pytest.raises(ConfigError, match=r"cannot join the Ray cluster 127\.0\.0\.1:1 \(")
    with told, ray_cluster("127.0.0.1:1"):
        pass
    assert signal.getsignal(signal.SIGTERM) is before
