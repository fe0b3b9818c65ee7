"""A kill at any moment leaves the old index or the new one."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import numpy as np

from approximate_galleries import built, clustered, drawn
from msedge.search.approximate.index import ApproximateIndex

CODE = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from approximate_galleries import built, clustered
vectors = clustered(6000, 8)
print("ready", flush=True)
version = int(sys.argv[3])
while True:
    version += 1
    built(Path(sys.argv[1]), vectors, version=version, kind="ivf-pq", recall=0.5)
    print(version, flush=True)
"""


def test_old_or_new_after_kills_at_random_moments(tmp_path):
    folder, tests = tmp_path / "index", __file__.rpartition("/search/")[0]
    built(folder, clustered(6000, 8), version=0)
    moments, last = random.Random(3), 0
    for _ in range(8):
        words = [sys.executable, "-c", CODE, str(folder), tests, str(last)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        begun = time.monotonic()
        told = [int(process.stdout.readline()) for _ in range(moments.randint(1, 2))]
        # Somewhere within the next one, however fast the machine is.
        time.sleep(moments.uniform(0.0, (time.monotonic() - begun) / len(told)))
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().split()]
        process.wait()
        index = ApproximateIndex.open(folder)
        # What was told is there; the one after it may be.
        newest = max([last, *told])
        assert index.about.version in (newest, newest + 1)
        last = index.about.version
        rows, _ = index.nearest(drawn(1, 8)[0], 20)
        assert len(rows) == 20
        assert (index.vectors == clustered(6000, 8)).all()
    assert last > 0
    assert np.array_equal(index.ids[:2], [7, 10])
    built(folder, clustered(10, 8), version=99)
    assert sorted(path.name.partition("-")[0] for path in folder.iterdir()) == [
        "about.json", "ids", "lock", "structure", "vectors"]  # fmt: skip
