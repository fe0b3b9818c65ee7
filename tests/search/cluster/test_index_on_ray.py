"""Runs on a real Ray cluster of this machine, in processes of its own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster_runs import (
    TESTS,
    colours,
    dies_once,
    hangs,
    other_on_workers,
    rows_of,
)
from encoders import ColourEncoder, with_hubs
from msedge.errors import ConfigError, DataError
from msedge.search.cluster.indexing import Cluster, index_on_ray
from msedge.search.encoder import OnnxEncoder
from msedge.search.gallery import Gallery
from msedge.search.indexing import index
from msedge.search.query import Query
from photo_files import write_photo
from shard_files import photo_bytes, write_tar

TWO = Cluster(workers=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for number in range(100):
        write_photo(root / f"{number:03}.png", number)
    return root


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return tmp_path / "g.lance"


@pytest.mark.usefixtures("ray_address")
class TestOnRay:
    def test_it_gives_what_the_single_machine_index_gives(self, root, gallery, tmp_path):
        write_photo(root / os.fsdecode(b"\xff\n.jpg"), 200)
        (root / "bad.png").write_bytes(b"no photo")
        summary = index_on_ray([root], gallery, "msedge-lite", cluster=TWO)
        index([root], tmp_path / "alone.msedge", OnnxEncoder.load("msedge-lite", threads=1))
        ours, theirs = rows_of(gallery), rows_of(tmp_path / "alone.msedge")
        vectors = {photo.path: photo.vector for photo in theirs.values()}
        assert {photo.path for photo in ours.values()} == set(vectors)
        for photo in ours.values():
            np.testing.assert_array_equal(photo.vector, vectors[photo.path])
        assert (summary.new, len(summary.skipped), summary.photos) == (101, 1, 101)
        told = summary.as_dict()
        assert (told["parts_again"], sum(each["photos"] for each in told["workers"])) == (0, 101)
        assert all(each["photos_per_second"] > 0 for each in told["workers"])
        again = index_on_ray([root], gallery, "msedge-lite", cluster=TWO)
        assert (again.unchanged, again.new, len(again.skipped)) == (101, 0, 1)

    def test_its_photos_have_the_hubness_that_one_machine_gives_them(self, root, gallery, tmp_path):
        index_on_ray([root], gallery, "colours-1", cluster=TWO, encoder=with_hubs)
        index([root], tmp_path / "alone.msedge", with_hubs("colours-1", "cpu"))
        ours, theirs = rows_of(gallery), rows_of(tmp_path / "alone.msedge")
        near = {photo.path: photo.hubness for photo in theirs.values()}
        assert len(set(near.values())) == 100
        assert {photo.path: photo.hubness for photo in ours.values()} == near
        drawn = Query(with_hubs("colours-1", "cpu").bank.drawings[0].astype(float), hub_share=0.5)
        found = [
            [(hit.photo.path, hit.score) for hit in searched.find(drawn, collapse=False)]
            for searched in (Gallery.open(gallery), Gallery.open(tmp_path / "alone.msedge"))
        ]
        assert found[0] == found[1]

    def test_many_shards_are_listed_on_the_cluster(self, tmp_path, gallery):
        for number in range(40):
            write_tar(tmp_path / f"t/{number:02}.tar", {"a.png": photo_bytes(number)})
        (tmp_path / "t/broken.tar").write_bytes(b"no tar")
        summary = index_on_ray([tmp_path / "t"], gallery, "colours-1", cluster=TWO, encoder=colours)
        assert (summary.new, [skip.path.name for skip in summary.skipped]) == (40, ["broken.tar"])

    def test_a_worker_without_the_model_ends_the_run_with_its_reason(self, root, gallery):
        with pytest.raises(DataError, match="another model"):
            index_on_ray([root], gallery, "x", cluster=TWO, encoder=other_on_workers)

    def test_workers_that_cannot_start_end_the_run_with_their_reason(
        self, root, gallery, tmp_path, monkeypatch
    ):
        (tmp_path / "only_here.py").write_text(
            "from encoders import ColourEncoder\n"
            "def encoder(model, device): return ColourEncoder(model)\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        from only_here import encoder

        with pytest.raises(DataError, match=r"Ray has failed \(.*only_here.*goes on from there"):
            index_on_ray([root], gallery, "colours-1", cluster=TWO, encoder=encoder)

    def test_parts_of_a_worker_that_dies_by_accident_are_done_by_another(
        self, root, gallery, tmp_path
    ):
        model = str(tmp_path / "dies once")
        summary = index_on_ray([root], gallery, model, cluster=TWO, encoder=dies_once)
        assert (summary.new, summary.skipped, summary.parts_again) == (100, [], 0)

    def test_a_worker_that_fits_nowhere(self, root, gallery):
        with pytest.raises(ConfigError, match="a worker needs 5 CPUs and 0 GPUs, and the cluster"):
            index_on_ray([root], gallery, "colours-1", cluster=Cluster(threads=5), encoder=colours)

    def test_a_request_to_stop_is_heard_at_once_and_ends_workers_that_hang(
        self, root, gallery, tmp_path
    ):
        index_on_ray([root], gallery, "colours-1", cluster=TWO, encoder=colours)
        for number in range(64):
            write_photo(root / f"more-{number}.png", number + 200)
        stop, asked = threading.Event(), []

        def ask() -> None:
            _until(lambda: len(list(tmp_path.glob("hangs-*"))) == 2)
            asked.append(time.monotonic())
            stop.set()

        asking = threading.Thread(target=ask)
        asking.start()
        summary = index_on_ray(
            [root], gallery, str(tmp_path / "hangs"), cluster=TWO, encoder=hangs, stop=stop
        )
        took = time.monotonic() - asked[0]
        asking.join()
        assert took < 2  # a quarter of a second, and the commit
        assert (summary.stopped, summary.left, summary.photos) == (True, 64, 100)
        pids = [int(path.name.partition("-")[2]) for path in tmp_path.glob("hangs-*")]
        _until(lambda: not any(map(_is_alive, pids)))


PROGRAM = """
import sys
from pathlib import Path
import cluster_runs
from msedge.search.cluster.indexing import Cluster, index_on_ray

class Tells:
    def say(self, message): pass
    def progress(self, done, total): print(done, flush=True)
    def committed(self, photos): pass

root, gallery, address, encoder = sys.argv[1:]
done = index_on_ray([Path(root)], Path(gallery), "colours-1", watcher=Tells(),
                    cluster=Cluster(address or None, workers=2),
                    encoder=getattr(cluster_runs, encoder))
print(*(f"{skip.path.name}: {skip.reason}" for skip in done.skipped), sep="\\n")
"""


def start(root: Path, gallery: Path, address: str, encoder: str = "colours"):
    """A run in a process of its own, which prints how many photos are done, then what was not."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(gallery), address, encoder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": TESTS},
    )


def test_a_photo_that_ends_its_worker_costs_no_other_and_no_word(
    root, gallery, tmp_path, ray_address
):
    Image.new("RGB", (40, 40)).save(root / "050-black.png")
    with start(root, gallery, ray_address, "deadly") as process:
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0
    assert errors == ""  # Ray keeps its words to its logs
    *done, skipped = output.splitlines()
    assert set(done) <= set(map(str, range(101)))
    assert skipped == "050-black.png: a worker died of it, or was lost with it, each time"
    (root / "050-black.png").unlink()
    index([root], tmp_path / "alone.msedge", ColourEncoder())
    assert_same_vectors(gallery, tmp_path / "alone.msedge")


class TestKilledDrivers:
    def test_the_next_run_goes_on_and_every_photo_is_there_once(
        self, tmp_path, gallery, ray_address
    ):
        root = tmp_path / "photos"
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
        index([root], tmp_path / "alone.msedge", ColourEncoder())
        assert_same_vectors(gallery, tmp_path / "alone.msedge")

    @pytest.mark.slow
    def test_a_cluster_of_its_own_ends_with_it(self, root, gallery):
        with start(root, gallery, "") as process:
            process.stdout.readline()
            _until(lambda: _below(process.pid))
            time.sleep(6)
            children = _below(process.pid)
            assert children
            process.send_signal(signal.SIGKILL)
        _until(lambda: not any(map(_is_alive, children)))


def assert_same_vectors(first: Path, second: Path) -> None:
    """The same photos with the same vectors; ids may differ where a run was killed."""
    ours, theirs = (
        {photo.path: photo.vector.tobytes() for photo in rows_of(gallery).values()}
        for gallery in (first, second)
    )
    assert ours == theirs


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
