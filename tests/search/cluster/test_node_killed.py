"""A machine of the cluster is lost in the middle: each photo is there once, as from one machine."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cards import CARD
from cluster_runs import TESTS, assert_same_galleries, rows_of, slow
from msedge.errors import DataError
from msedge.models.checkpoint import save_checkpoint
from msedge.models.network import MSEdge
from msedge.models.onnx_export import export_onnx
from msedge.search.cluster.indexing import Cluster, index_on_ray
from msedge.search.encoder import OnnxEncoder
from msedge.search.indexing import index
from photo_files import write_photo

PHOTOS = 20_000
STORE = 80 * 2**20


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("killed") / "photos"
    for number in range(PHOTOS):
        write_photo(root / f"{number // 1000:02}" / f"{number}.png", number, second=number + 1)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small real network, as ONNX Runtime runs it."""
    torch.manual_seed(0)
    card = CARD.model_copy(update={"gallery_edges": 0.5})
    network = MSEdge(card.backbone, dim=card.dim, fusion=card.fusion, image_size=card.image_size)
    network(torch.rand(4, 3, card.image_size, card.image_size))
    checkpoint = tmp_path_factory.mktemp("model") / "net.safetensors"
    save_checkpoint(checkpoint, network.eval(), card)
    export_onnx(checkpoint, checkpoint.with_suffix(".onnx"))
    return str(checkpoint.with_suffix(".onnx"))


class Machines:
    """A head that does no work and machines of a CPU each: processes of their own."""

    def __init__(self, folder: Path, count: int) -> None:
        from ray.cluster_utils import Cluster as RayCluster

        quiet = {"include_dashboard": False, "object_store_memory": STORE}
        head = {"num_cpus": 0, "temp_dir": str(folder), **quiet}
        self.cluster = RayCluster(initialize_head=True, head_node_args=head)
        self.nodes = [self.cluster.add_node(num_cpus=1, **quiet) for _ in range(count)]
        self.processes = [
            info.process.pid
            for node in [self.cluster.head_node, *self.nodes]
            for kind in node.all_processes.values()
            for info in kind
        ]

    def kill_one(self) -> None:
        """SIGKILL to a raylet, which takes its workers with it."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture
def machines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Machines]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", TESTS)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    folder = Path(tempfile.mkdtemp(prefix="msedge-ray-", dir="/tmp"))  # sockets want short paths
    monkeypatch.setenv("RAY_TMPDIR", str(folder))  # where Ray notes the cluster that it began last
    (folder / "ray").mkdir()
    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own there, and leaves it
    machines = Machines(folder, request.param)
    try:
        yield machines
    finally:
        machines.cluster.shutdown()
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(folder, ignore_errors=True)
    assert not [pid for pid in machines.processes if Path(f"/proc/{pid}/exe").exists()]
    assert list((tmp_path / "home").iterdir()) == []


class KillsInTheMiddle:
    """Hears the progress, and ends a machine when so much is done."""

    def __init__(self, machines: Machines, share: float) -> None:
        self._machines, self._share = machines, share
        self.killed_at: int | None = None
        self.done = 0

    def say(self, message: str) -> None:
        pass

    def progress(self, done: int, total: int) -> None:
        assert done >= self.done
        self.done = done
        if self.killed_at is None and done > total * self._share:
            self.killed_at = done
            self._machines.kill_one()

    def committed(self, photos: int) -> None:
        pass


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("machines", [3], indirect=True)
def test_a_node_is_killed_while_20_000_photos_are_embedded(
    photos: Path, model: str, machines: Machines, tmp_path: Path
) -> None:
    gallery = tmp_path / "cluster.lance"
    watcher = KillsInTheMiddle(machines, 0.4)
    summary = index_on_ray(
        [photos], gallery, model, cluster=Cluster(machines.cluster.address, workers=3),
        watcher=watcher,
    )  # fmt: skip
    assert watcher.killed_at is not None
    assert 0.4 * PHOTOS < watcher.killed_at < 0.6 * PHOTOS
    assert (summary.new, summary.photos, summary.left, summary.skipped) == (PHOTOS, PHOTOS, 0, [])
    assert sum(pace.photos for pace in summary.workers.values()) == PHOTOS
    assert len(summary.workers) >= 3
    alone = tmp_path / "alone.msedge"
    index([photos], alone, OnnxEncoder.load(model, threads=1))
    assert len(rows_of(gallery)) == PHOTOS
    assert_same_galleries(gallery, alone)
    again = index_on_ray([photos], gallery, model, cluster=Cluster(machines.cluster.address))
    assert (again.unchanged, again.embedded, os.environ["HOME"]) == (
        PHOTOS, 0, str(tmp_path / "home"),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.cluster
@pytest.mark.parametrize("machines", [1], indirect=True)
def test_where_no_machine_is_left_it_says_so_and_keeps_what_came(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1_000):
        write_photo(tmp_path / "photos" / f"{number}.png", number)
    monkeypatch.setattr("msedge.search.cluster.ray_cluster._PATIENCE", 3.0)
    gallery, cluster = tmp_path / "g.lance", Cluster(machines.cluster.address, workers=2)
    watcher = KillsInTheMiddle(machines, 0.2)
    with pytest.raises(DataError, match="no machine is left that a worker fits on"):
        index_on_ray(
            [tmp_path / "photos"], gallery, "colours-1", cluster=cluster, encoder=slow,
            watcher=watcher,
        )  # fmt: skip
    assert len(rows_of(gallery)) == watcher.done
