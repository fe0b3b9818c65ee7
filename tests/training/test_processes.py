"""What processes tell each other: real ones, two and three of them, against one."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msedge.errors import ShapeError
from msedge.training.processes import Processes
from process_group import in_processes

ROWS = (7, 6, 3, 2, 1, 0)  # some are fewer than the processes
KINDS = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)


def whole(rows: int, kind: torch.dtype = torch.float32) -> Tensor:
    """Rows that are all different, the same in every process."""
    values = torch.randn(rows, 2, 3, generator=torch.Generator().manual_seed(rows))
    return (10 * values).abs().to(kind)


def loss_of(rows: Tensor) -> Tensor:
    """A loss in which every row meets every other."""
    flat = rows.flatten(1)
    return (flat @ flat.T / 10).softmax(1).square().sum() + flat.square().mean()


def linear() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(6, 4)


def gathered(processes: Processes) -> dict[str, object]:
    """Values of every count and kind, and the gradients that they send back."""
    values, gradients, of_weights, of_proxies = {}, {}, {}, {}
    for rows in ROWS:
        share = processes.share(rows)
        for kind in KINDS:
            values[rows, kind] = processes.gather(whole(rows, kind)[share], rows)
        values[rows, "labels"] = processes.gather(share * 10, rows)
        if rows == 0:
            continue
        local = whole(rows)[share].requires_grad_()
        loss_of(processes.gather(local, rows)).backward()
        gradients[rows] = local.grad
        network, proxies = DistributedDataParallel(linear()), whole(4)[:, 0, :1].requires_grad_()
        embedded = network(whole(rows)[share].flatten(1))
        loss_of(processes.gather(embedded, rows) @ proxies).backward()
        of_weights[rows] = [parameter.grad for parameter in network.parameters()]
        of_proxies[rows] = proxies.grad
    with torch.no_grad():
        assert not processes.gather(linear()(whole(7)[processes.share(7)].flatten(1)), 7).grad_fn
    return {"values": values, "x": gradients, "weights": of_weights, "proxies": of_proxies}


def talked(processes: Processes, folder: Path) -> dict[str, object]:
    """Everything but gathering."""
    rank, count = processes.rank, processes.count
    torch.manual_seed(rank)
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2))
    network[1].running_mean.add_(rank)
    network[1].num_batches_tracked.add_(rank + 5)
    if rank:
        network.to(memory_format=torch.channels_last)
    held = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    processes.broadcast(network)
    if processes.first:
        time.sleep(0.5)
        (folder / "ready").touch()
    processes.wait()
    ready = (folder / "ready").exists()
    with processes.after_the_first():
        if rank:
            found = (folder / "made").read_text()
        else:
            time.sleep(0.5)
            found = "once"
            (folder / "made").write_text(found)
    with pytest.raises(ZeroDivisionError), processes.after_the_first():
        1 / 0  # noqa: B018  # nobody waits for ever for one that failed
    with pytest.raises(ShapeError) as refused:
        processes.gather(torch.zeros(5, 2), 7)
    return {
        "ready": ready,
        "found": found,
        "state": {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
        "in place": held == {n: tensor.data_ptr() for n, tensor in network.state_dict().items()},
        "objects": processes.objects({"rank": rank, "text": "é" * rank}),
        "any": [processes.any(rank == who) for who in range(-1, count)],
        "of fabric": _of_fabric(count) if count == 2 else processes,
        "refused": str(refused.value),
    }


def _of_fabric(count: int) -> Processes:
    from lightning_fabric import Fabric  # slow, and needed here alone

    fabric = Fabric(accelerator="cpu", devices=count, strategy="ddp")
    fabric.launch()
    return Processes.of(fabric)


def gathered_and_talked(processes: Processes, folder: Path) -> tuple[object, object]:
    """Both, by one start of the processes."""
    return gathered(processes), talked(processes, folder)


@pytest.fixture(scope="module", params=[2, 3])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """What each of several processes found out."""
    folder = tmp_path_factory.mktemp("processes")
    return in_processes(request.param, gathered_and_talked, folder)


@pytest.fixture
def gatherings(answers):
    """What each gathered."""
    return [answer[0] for answer in answers]


@pytest.fixture
def talks(answers):
    """What each was told."""
    return [answer[1] for answer in answers]


class TestShare:
    @given(rows=st.integers(0, 100), count=st.integers(1, 9))
    def test_every_row_is_in_one_share(self, rows, count):
        shares = [Processes(rank, count).share(rows) for rank in range(count)]
        assert all(share.dtype == torch.int64 for share in shares)
        assert all((share.diff() > 0).all() for share in shares)
        assert torch.equal(torch.cat(shares).sort().values, torch.arange(rows))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1

    def test_rows_are_dealt_in_turn(self):
        assert Processes(1, 3).share(7).tolist() == [1, 4]
        assert Processes(2, 3).share(2).tolist() == []


class TestOne:
    def test_everything_is_the_identity_without_a_group(self, monkeypatch):
        for name in ("all_gather", "all_gather_object", "all_reduce", "broadcast", "barrier"):
            monkeypatch.setattr(dist, name, lambda *_, **__: pytest.fail("one process talked"))
        one, rows, network = Processes(), whole(5).requires_grad_(), linear()
        before = copy.deepcopy(network.state_dict())
        assert one.first
        assert one.share(3).tolist() == [0, 1, 2]
        assert one.gather(rows, 5) is rows
        one.broadcast(network)
        one.wait()
        with one.after_the_first():
            pass
        assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
        assert (one.any(True), one.any(False)) == (True, False)
        assert one.objects("a") == ["a"]

    def test_a_fabric_of_one(self):
        from lightning_fabric import Fabric

        assert Processes.of(Fabric(accelerator="cpu", devices=1)) == Processes()

    def test_a_fabric_that_was_not_launched(self):
        from lightning_fabric import Fabric

        fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
        with pytest.raises(RuntimeError, match="launch Fabric before its 2 processes"):
            Processes.of(fabric)

    def test_rows_that_are_not_the_share(self):
        with pytest.raises(ShapeError, match="holds 5 of 5 rows, got 4"):
            Processes().gather(whole(4), 5)

    @pytest.mark.parametrize(("rank", "count"), [(-1, 2), (2, 2), (0, 0)])
    def test_a_rank_that_is_none(self, rank, count):
        with pytest.raises(ValueError, match="expected a rank"):
            Processes(rank, count)


class TestGather:
    @pytest.mark.parametrize("rows", ROWS)
    def test_every_process_gets_the_whole_in_order(self, gatherings, rows):
        for answer in gatherings:
            for kind in KINDS:
                assert answer["values"][rows, kind].dtype == kind
                assert torch.equal(answer["values"][rows, kind], whole(rows, kind))
            assert answer["values"][rows, "labels"].tolist() == [10 * row for row in range(rows)]

    @pytest.mark.parametrize("rows", [rows for rows in ROWS if rows])
    def test_the_gradient_is_that_of_one_process_times_their_number(self, gatherings, rows):
        all_rows = whole(rows).requires_grad_()
        loss_of(all_rows).backward()
        for rank, answer in enumerate(gatherings):
            share = Processes(rank, len(gatherings)).share(rows)
            expected = len(gatherings) * all_rows.grad[share]
            torch.testing.assert_close(answer["x"][rows], expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("rows", [rows for rows in ROWS if rows])
    def test_a_network_learns_as_in_one_process(self, gatherings, rows):
        network, proxies = linear(), whole(4)[:, 0, :1].requires_grad_()
        loss_of(network(whole(rows).flatten(1)) @ proxies).backward()
        for answer in gatherings:
            for found, parameter in zip(answer["weights"][rows], network.parameters(), strict=True):
                torch.testing.assert_close(found, parameter.grad, rtol=1e-5, atol=1e-4)
            torch.testing.assert_close(answer["proxies"][rows], proxies.grad, rtol=1e-5, atol=1e-4)


class TestTalk:
    def test_the_first_one_gives_its_network_to_all(self, talks):
        torch.manual_seed(0)
        first = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2))
        first[1].num_batches_tracked.add_(5)
        for answer in talks:
            assert answer["in place"]
            assert answer["state"].keys() == first.state_dict().keys()
            for name, tensor in first.state_dict().items():
                assert torch.equal(answer["state"][name], tensor), name

    def test_nobody_goes_on_before_all_have_come(self, talks):
        assert all(answer["ready"] for answer in talks)

    def test_what_the_first_one_made_is_there_for_the_others(self, talks):
        assert all(answer["found"] == "once" for answer in talks)

    def test_one_flag_is_enough(self, talks):
        expected = [False] + [True] * len(talks)
        assert all(answer["any"] == expected for answer in talks)

    def test_objects_come_in_order(self, talks):
        expected = [{"rank": rank, "text": "é" * rank} for rank in range(len(talks))]
        assert all(answer["objects"] == expected for answer in talks)

    def test_a_launched_fabric_knows_them(self, talks):
        assert [answer["of fabric"] for answer in talks] == [
            Processes(rank, len(talks)) for rank in range(len(talks))
        ]

    def test_rows_that_are_not_the_share(self, talks):
        for rank, answer in enumerate(talks):
            held = len(Processes(rank, len(talks)).share(7))
            assert f"holds {held} of 7 rows, got 5" in answer["refused"]
