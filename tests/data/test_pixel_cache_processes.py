"""One file of kept pixels, filled by processes that are killed, and by two at a time."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from msedge.data.images import read_pixels
from msedge.data.layouts import Record
from msedge.data.pixel_cache import PixelCache

FILLER = """
import os, random, sys
from pathlib import Path

import torch

from msedge.data.datasets import ImageSet
from msedge.data.layouts import Record
from msedge.data.pixel_cache import PixelCache

images, folder = map(Path, sys.argv[1:])
records = [Record(path, "photo", "cat") for path in sorted(images.iterdir())]

def fill(folder, seed):
    cache = PixelCache.open(folder, records, size=64, frame_sketches=False, limit_gb=1)
    kept = ImageSet(records, ["cat"], size=64, cache=cache)
    rows = list(range(len(records)))
    random.Random(seed).shuffle(rows)
    for _ in kept.stream(torch.tensor(rows).split(16)):
        pass

for line in sys.stdin:
    below, *seeds = line.split()
    pids = []
    for seed in seeds:
        pid = os.fork()
        if pid == 0:
            fill(folder / below, int(seed))
            os._exit(0)
        pids.append(pid)
    print(*pids, flush=True)
    print(*[os.waitpid(pid, 0)[1] for pid in pids], flush=True)
"""


class Fillers:
    """Processes that fill a file, forked off one that has already imported everything."""

    def __init__(self, images: Path, folder: Path) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", FILLER, str(images), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, below: str, *seeds: int) -> list[int]:
        """Begin to fill; the processes' ids."""
        self._parent.stdin.write(f"{below} {' '.join(map(str, seeds))}\n")
        self._parent.stdin.flush()
        return [int(word) for word in self._parent.stdout.readline().split()]

    def wait(self) -> list[int]:
        """Their ends: 0 for one that filled everything."""
        return [int(word) for word in self._parent.stdout.readline().split()]

    def close(self) -> None:
        """End the parent."""
        with self._parent:
            self._parent.kill()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
class TestProcesses:
    COUNT = 240

    @pytest.fixture
    def many(self, tmp_path) -> list[Record]:
        (tmp_path / "images").mkdir()
        made = []
        for row in range(self.COUNT):
            path = tmp_path / "images" / f"{row:03}.jpg"
            noise = Image.effect_noise((120, 100), 80)
            Image.merge("RGB", [noise] * 3).save(path)
            made.append(Record(path, "photo", "cat"))
        return made

    @pytest.fixture
    def fillers(self, tmp_path, many) -> Iterator[Fillers]:
        started = Fillers(many[0].path.parent, tmp_path / "kept")
        yield started
        started.close()

    def reopened(self, tmp_path: Path, below: str, many: list[Record]) -> PixelCache:
        return PixelCache.open(
            tmp_path / "kept" / below, many, size=64, frame_sketches=False, limit_gb=1
        )

    def check(self, cache: PixelCache, many: list[Record]) -> None:
        """Every row is what decoding gives."""
        out = np.zeros((64, 64, 3), np.uint8)
        for row, record in enumerate(many):
            cache.fetch(row, out)
            assert np.array_equal(out.transpose(2, 0, 1), read_pixels(record.path, 64)), row

    def test_killed_at_random_moments(self, tmp_path, many, fillers, decodes):
        fillers.start("undisturbed", 0)
        begun = time.monotonic()
        assert fillers.wait() == [0]
        whole = time.monotonic() - begun
        moments = random.Random(int(os.environ.get("MSEDGE_TEST_SEED", "5")))
        killed = 0
        for kill in range(12):
            (pid,) = fillers.start("killed", kill)
            time.sleep(moments.uniform(0, whole / 4))
            with suppress(ProcessLookupError):  # it had filled everything
                os.kill(pid, signal.SIGKILL)
            killed += fillers.wait() == [signal.SIGKILL]
        assert killed >= 4
        self.check(self.reopened(tmp_path, "killed", many), many)
        assert len(decodes.since()) < self.COUNT  # what the killed ones had done was of use
        again = self.reopened(tmp_path, "killed", many)
        self.check(again, many)
        assert decodes.since() == []
        left = {path.name for path in (tmp_path / "kept" / "killed").iterdir()}
        assert left == {again.path.name, ".lock"}

    def test_two_that_fill_one_file_at_the_same_time(self, tmp_path, many, fillers, decodes):
        fillers.start("shared", 1, 2)
        assert fillers.wait() == [0, 0]
        cache = self.reopened(tmp_path, "shared", many)
        self.check(cache, many)
        assert decodes.since() == []
        left = {path.name for path in (tmp_path / "kept" / "shared").iterdir()}
        assert left == {cache.path.name, ".lock"}
