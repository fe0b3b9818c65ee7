"""Runs on a real Ray cluster of this machine, in processes of its own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster_runs import (
    COLOURS,
    DEADLY,
    TESTS,
    photo_bytes,
    rows_of,
    write_tar,
)
from encoders import ColourEncoder
from msedge.errors import DataError
from msedge.search.cluster.indexing import index_on_ray
from msedge.search.cluster.objects import found_at
from msedge.search.cluster.shards import list_shard
from msedge.search.cluster.started_ray import Cluster, StartedRay
from msedge.search.indexing import index
from msedge.search.onnx_encoder import OnnxEncoder
from photo_files import write_photo

TWO = Cluster(workers=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number in range(100):
        write_photo(root / f"{number:03}.png", number)
    return root


@pytest.mark.usefixtures("ray_address")
class TestOnRay:
    def test_it_gives_what_the_single_machine_index_gives(self, root, tmp_path):
        write_photo(root / os.fsdecode(b"\xff\n.jpg"), 200)
        (root / "bad.png").write_bytes(b"no photo")
        gallery = tmp_path / "g.lance"
        summary = index_on_ray([root], gallery, "msedge-lite", cluster=TWO)
        index([root], tmp_path / "alone.msedge", OnnxEncoder.load("msedge-lite", threads=1))
        ours = sorted((str(p.path), p.content_hash) for p in rows_of(gallery).values())
        theirs = rows_of(tmp_path / "alone.msedge")
        assert ours == sorted((str(p.path), p.content_hash) for p in theirs.values())
        vectors = {p.path: p.vector for p in theirs.values()}
        for photo in rows_of(gallery).values():
            np.testing.assert_array_equal(photo.vector, vectors[photo.path])
        assert (summary.new, len(summary.skipped), summary.photos) == (101, 1, 101)
        told = summary.as_dict()
        assert sum(worker["photos"] for worker in told["workers"]) == 101
        assert all(worker["photos_per_second"] > 0 for worker in told["workers"])
        again = index_on_ray([root], gallery, "msedge-lite", cluster=TWO)
        assert (again.unchanged, again.new, len(again.skipped)) == (101, 0, 1)

    def test_a_worker_without_the_model_ends_the_run_with_its_reason(self, root, tmp_path):
        with pytest.raises(DataError, match="another model"):
            index_on_ray(
                [root], tmp_path / "g.lance", "x", cluster=TWO,
                encoder="cluster_runs:other_on_workers",
            )  # fmt: skip

    def test_many_shards_are_listed_on_the_cluster(self, tmp_path):
        tars = [write_tar(tmp_path / f"{n}.tar", {"a.png": photo_bytes(n)}) for n in range(40)]
        shards = [found_at(str(tar)) for tar in tars]
        with StartedRay(Cluster()) as ray:
            listed = list(ray.list_shards(shards, None))
        assert sorted(listed, key=repr) == sorted(map(list_shard, shards), key=repr)


PROGRAM = """
import sys
from pathlib import Path
from msedge.search.cluster.indexing import index_on_ray
from msedge.search.cluster.started_ray import Cluster

class Tells:
    def say(self, message): pass
    def progress(self, done, total): print(done, flush=True)
    def committed(self, photos): pass

root, gallery, address, encoder = sys.argv[1:]
index_on_ray([Path(root)], Path(gallery), "colours-1", cluster=Cluster(address or None, workers=2),
             encoder=encoder, watcher=Tells())
"""


def start(root: Path, gallery: Path, address: str, encoder: str = COLOURS) -> subprocess.Popen[str]:
    """A run in a process of its own, which prints how many photos are done."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(gallery), address, encoder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": TESTS},
    )


@pytest.mark.slow
def test_a_photo_that_ends_its_worker_costs_no_other_and_no_word(root, tmp_path, ray_address):
    Image.new("RGB", (40, 40)).save(root / "050-black.png")
    gallery = tmp_path / "g.lance"
    with start(root, gallery, ray_address, DEADLY) as process:
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0
    assert errors == ""  # Ray keeps its words to its logs
    assert set(output.splitlines()) <= set(map(str, range(101)))
    (line,) = (tmp_path / "g.lance.unread.jsonl").read_text().splitlines()
    letter = json.loads(line)
    assert letter["location"] == str(root / "050-black.png")
    assert "a worker died of it" in letter["reason"]
    (root / "050-black.png").unlink()
    index([root], tmp_path / "alone.msedge", ColourEncoder())
    ours = {photo.path: photo.vector for photo in rows_of(gallery).values()}
    assert len(ours) == 100
    for photo in rows_of(tmp_path / "alone.msedge").values():
        np.testing.assert_array_equal(photo.vector, ours[photo.path])


class TestKilledDrivers:
    def test_the_next_run_goes_on_and_every_photo_is_there_once(self, tmp_path, ray_address):
        root, gallery = tmp_path / "photos", tmp_path / "g.lance"
        for number in range(1500):
            write_photo(root / f"{number:04}.png", number)
        moments = random.Random(os.environ.get("PYTEST_SEED", "killed"))
        for _ in range(3):
            with start(root, gallery, ray_address) as process:
                wanted = moments.randrange(0, 5)  # parts
                for _ in range(1 + wanted):
                    if not process.stdout.readline():
                        break
                time.sleep(moments.random() * 0.5)
                process.kill()
        with start(root, gallery, ray_address) as process:
            process.communicate(timeout=120)
        assert process.returncode == 0
        rows = rows_of(gallery)
        assert sorted(photo.path for photo in rows.values()) == sorted(root.iterdir())
        index([root], tmp_path / "alone.msedge", ColourEncoder())
        vectors = {p.path: p.vector for p in rows_of(tmp_path / "alone.msedge").values()}
        for photo in rows.values():
            np.testing.assert_array_equal(photo.vector, vectors[photo.path])

    @pytest.mark.slow
    def test_a_cluster_of_its_own_ends_with_it(self, root, tmp_path):
        with start(root, tmp_path / "g.lance", "") as process:
            process.stdout.readline()
            deadline = time.monotonic() + 60
            while not (children := _below(process.pid)) and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(6)
            children |= _below(process.pid)
            assert children
            process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 90
        while children and time.monotonic() < deadline:
            children = {pid for pid in children if _is_alive(pid)}
            time.sleep(0.2)
        assert not children


def _below(pid: int) -> set[int]:
    """The processes that a process has started, and those have."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(path.parent.name)
            found |= {child} | _below(child)
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
