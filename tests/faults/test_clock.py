"""A clock that is wrong, goes back or jumps: nothing is ordered or measured by it.

Photos are compared by whether their size and time of change are *equal* to those known, never by
which is later; durations come from a clock that only runs forward.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from indexing_runs import counts, held, run
from msedge.search.gallery import Gallery
from msedge.training.run_files import RunFiles
from msedge.training.trainer import train
from photo_files import SECOND, touch, write_photo

TIMES = [0, 1, 2**31, 2**32 + 5, 4_102_444_800, 16_725_225_600]  # 1970 to the year 2500
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
JUMPING = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from indexing_runs import Listener, run
years = []
def progress(done):
    Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text("-3650d" if done % 8 else "+3650d")
    years.append(time.gmtime().tm_year)
summary = run(Path(sys.argv[2]), Path(sys.argv[3]), watcher=Listener(progress))
print(json.dumps([summary.new, summary.seconds, sorted(set(years))]))
"""


class TestPhotos:
    @pytest.mark.parametrize("second", TIMES)
    def test_a_photo_of_any_time_is_read_once(self, tmp_path, second):
        path, gallery = write_photo(tmp_path / "photos" / "1.png", 1), tmp_path / "g.msedge"
        os.utime(path, ns=(second * SECOND, second * SECOND))
        assert counts(run(path.parent, gallery)) == (1, 0, 0, 0, 0)
        assert counts(run(path.parent, gallery)) == (0, 0, 0, 0, 1)
        with Gallery.open(gallery) as opened:
            assert opened.photo(1).mtime_ns == min(path.stat().st_mtime_ns, 2**63 - 1)

    @pytest.mark.parametrize("then", TIMES)
    def test_other_content_is_noticed_though_its_time_is_earlier(self, tmp_path, then):
        path, gallery = tmp_path / "photos" / "1.png", tmp_path / "g.msedge"
        write_photo(path, 1, second=3_000_000_000)
        run(path.parent, gallery)
        before = held(gallery)
        touch(write_photo(path, 2), then)
        assert counts(run(path.parent, gallery)) == (0, 1, 0, 0, 0)
        assert held(gallery) != before

    def test_other_content_of_the_same_size_and_time_is_noticed_by_a_rebuild_alone(self, tmp_path):
        path, gallery = tmp_path / "photos" / "1.bmp", tmp_path / "g.msedge"
        write_photo(path, 1)
        run(path.parent, gallery)
        before = held(gallery)
        write_photo(path, 2)
        assert counts(run(path.parent, gallery)) == (0, 0, 0, 0, 1)
        run(path.parent, gallery, rebuild=True)
        assert held(gallery) != before


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime")
def test_indexing_while_the_clock_jumps_by_twenty_years(tmp_path):
    photos, gallery = tmp_path / "photos", tmp_path / "g.msedge"
    for number in range(40):
        write_photo(photos / f"{number}.png", number)
    run(photos, tmp_path / "right.msedge")
    (tmp_path / "clock").write_text("+0d")
    environment = os.environ | {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", JUMPING, str(Path(__file__).parents[1]), str(photos), str(gallery)],
        env=environment,
        capture_output=True,
        timeout=120,
        check=True,
    )
    new, seconds, years = json.loads(done.stdout)
    assert new == 40
    assert 0 < seconds < 120
    assert max(years) - min(years) >= 19, "the clock did not jump"
    assert held(gallery) == held(tmp_path / "right.msedge")


def test_training_while_the_clock_goes_back(tiny_config, tmp_path, listener, monkeypatch):
    config = tiny_config(epochs=1)
    train(config, listener)
    back = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1e9 - 3600 * next(back))
    other = tiny_config(epochs=1, save_root=tmp_path / "other")
    result = train(other, listener)
    assert RunFiles(other).results.read_bytes() == RunFiles(config).results.read_bytes()
    assert all(0 < row.seconds < 120 for row in result.rows)
