"""A real process that indexes is killed, again and again, at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from encoders import ColourEncoder
from indexing_runs import held
from msedge.search.indexing import index
from photo_files import write_photo

PHOTOS = 400
LONGEST = 0.3  # seconds of work before a kill; the whole takes about 3
INDEXER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from encoders import ColourEncoder
from msedge.search import indexing as indexing
from msedge.search.indexing import index

indexing._PHOTOS_A_COMMIT = 5

class Slow(ColourEncoder):
    def photos(self, pixels):
        time.sleep(0.03)
        return super().photos(pixels)

class Telling:
    def say(self, message): pass
    def progress(self, done, total):
        if done == 0: print("begun", flush=True)
    def committed(self, photos): print(photos, flush=True)

index([Path(sys.argv[1])], Path(sys.argv[2]), Slow(), watcher=Telling(), batch_size=2, workers=2)
print("done", flush=True)
"""


def index_until(seconds, root, gallery, *, from_begin):
    """Index in a process that is killed; the lines that it said before.

    The seconds count from the moment that the process begins its work, or from its birth.
    """
    command = [sys.executable, "-c", INDEXER, root, gallery, Path(__file__).parent.parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline().strip()] if from_begin else []
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        return said + process.stdout.read().split()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(("name", "kills"), [("g.msedge", 16), ("g.lance", 8)])
def test_whatever_the_moment_of_a_kill_nothing_that_was_committed_is_lost(tmp_path, name, kills):
    root, gallery = tmp_path / "photos", tmp_path / name
    for number in range(PHOTOS):
        write_photo(root / f"{number % 7}" / f"{number:03}.jpg", number)
    index([root], tmp_path / "undisturbed.msedge", ColourEncoder())
    whole = held(tmp_path / "undisturbed.msedge")
    moments = random.Random(int(os.environ.get("MSEDGE_TEST_SEED", "5")))
    committed, cut_short = 0, 0
    for kill in range(kills):
        if kill % 5 == 0:  # while it starts, or makes the gallery, or opens it
            said = index_until(moments.uniform(0, 4 * LONGEST), root, gallery, from_begin=False)
        else:
            said = index_until(moments.uniform(0, LONGEST), root, gallery, from_begin=True)
            assert said[0] == "begun"
        cut_short += "done" not in said
        numbers = [int(line) for line in said if line.isdigit()]
        committed = max([committed, *numbers])
        now = held(gallery) if gallery.exists() else {}
        # A commit may have been made and not yet told.
        assert len(now) >= committed
        assert now.items() <= whole.items()
        committed = len(now)
    assert cut_short >= kills // 2
    assert committed > 0
    summary = index([root], gallery, ColourEncoder())
    assert summary.unchanged >= committed
    assert summary.photos == PHOTOS
    assert held(gallery) == whole
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"photos", name, "undisturbed.msedge"}
