"""Batch norms over the images of several real processes, against one process with all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from pytorch_metric_learning.losses import NormalizedSoftmaxLoss
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from msedge.errors import ConfigError, ShapeError
from msedge.training.batch_norm import synchronise_batch_norm
from msedge.training.processes import Processes
from process_group import in_processes

import timm  # isort: skip  # after torchvision's cure, which batch_norm.py applies
from timm.layers import BatchNormAct2d, SplitBatchNorm2d, SyncBatchNormAct  # isort: skip


class Case(NamedTuple):
    """A layer, the shape of an image's features, and how near to one process it has to be."""

    layer: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 4, 5)
    kind: torch.dtype = torch.float32
    offset: float = 0.0
    memory: torch.memory_format = torch.contiguous_format
    near: float = 1e-5


def _frozen_scale() -> nn.Module:
    layer = nn.BatchNorm2d(3)
    layer.weight.requires_grad_(False)
    return layer


CASES = {
    "2d": Case(lambda: nn.BatchNorm2d(3)),
    "2d channels-last": Case(lambda: nn.BatchNorm2d(3), memory=torch.channels_last),
    "2d far from nought": Case(lambda: nn.BatchNorm2d(3), offset=300, near=1e-3),
    "2d in double precision": Case(
        lambda: nn.BatchNorm2d(3).double(), kind=torch.float64, near=1e-12
    ),
    "2d of bfloat16": Case(lambda: nn.BatchNorm2d(3), kind=torch.bfloat16, near=3e-2),
    "2d not affine": Case(lambda: nn.BatchNorm2d(3, affine=False)),
    "2d with a scale that does not learn": Case(_frozen_scale),
    "2d with a mean of all batches": Case(lambda: nn.BatchNorm2d(3, momentum=None)),
    "2d that keeps nothing": Case(lambda: nn.BatchNorm2d(3, track_running_stats=False)),
    "1d": Case(lambda: nn.BatchNorm1d(6), (6,)),
    "1d of sequences": Case(lambda: nn.BatchNorm1d(3), (3, 5)),
    "3d": Case(lambda: nn.BatchNorm3d(2), (2, 3, 4, 2)),
    "timm's": Case(lambda: BatchNormAct2d(3, act_layer=nn.SiLU)),
    "timm's with a drop": Case(
        lambda: BatchNormAct2d(3, drop_layer=nn.Hardtanh, act_layer=nn.ReLU)
    ),
}
ROWS = (7, 8, 2)  # uneven shares, even ones for two processes, an empty one for three
CLASSES, DIM = 4, 16


class Setting(NamedTuple):
    """How a network is trained, and how near to one process it has to be."""

    rows: int
    kind: torch.dtype = torch.float32
    temperature: float = 0.5
    # A bias in front of another batch norm has no gradient but rounding, of which Adam makes full
    # steps with its own eps; so does one process when its batch is reordered.
    eps: float = 1e-3
    near: float = 1e-5


SETTINGS = {
    "uneven shares": Setting(7),
    "even shares for two": Setting(8),
    # Two images and maps of one pixel: only double precision tells the method from its rounding.
    "an empty share for three": Setting(2, kind=torch.float64, near=1e-8),
    "as Adam is by itself": Setting(7, kind=torch.float64, temperature=0.05, eps=1e-8, near=1e-8),
}


class Small(nn.Module):
    """A convolutional network with every kind of batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8))
        self.middle = nn.Conv2d(8, 12, 3, stride=2, bias=False)
        self.norm = BatchNormAct2d(12, act_layer=nn.SiLU)
        self.head = nn.Linear(12, DIM, bias=False)
        self.last = nn.BatchNorm1d(DIM)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.middle(self.stem(x).relu()))
        return self.last(self.head(x.amax(dim=(2, 3))))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "small": Small,
    "test_efficientnet": lambda: timm.create_model("test_efficientnet", num_classes=DIM),
}


def draw(rows: int, *shape: int, seed: int = 0) -> Tensor:
    """The same in every process."""
    return torch.randn(rows, *shape, generator=torch.Generator().manual_seed(100 * rows + seed))


def layer_of(case: Case) -> nn.Module:
    layer = case.layer()
    for number, parameter in enumerate(layer.parameters()):
        with torch.no_grad():
            parameter.copy_(number + 1 + draw(len(parameter), seed=number) / 3)
    return layer


def through(layer: nn.Module, case: Case, rows: int, processes: Processes) -> dict[str, Tensor]:
    """Outputs of the whole and gradients of the share, after two batches."""
    found: dict[str, Tensor] = {}
    for step in range(2):
        whole = (case.offset + (step + 1) * draw(rows, *case.shape, seed=step)).to(case.kind)
        share = whole[processes.share(rows)].contiguous(memory_format=case.memory)
        share.requires_grad_()
        layer.zero_grad()
        output = layer(share)
        gathered = processes.gather(output, rows)
        (gathered * draw(rows, *case.shape, seed=9)).tanh().square().sum().backward()
        found |= {f"output {step}": gathered.detach(), f"x {step}": share.grad}
    of_parameters = {f"{name} gradient": p.grad for name, p in layer.named_parameters()}
    buffers = dict(layer.named_buffers())
    return found | {n: t for n, t in (of_parameters | buffers).items() if t is not None}


def learnt(name: str, setting: Setting, processes: Processes) -> dict[str, Tensor]:
    """A network and its proxies while and after five steps of Adam, as the learner takes them."""
    torch.manual_seed(5)
    rows, kind = setting.rows, setting.kind
    network = NETWORKS[name]().to(kind)
    proxies = NormalizedSoftmaxLoss(CLASSES, DIM, temperature=setting.temperature).to(kind)
    learning = [*network.parameters(), *proxies.parameters()]
    optimizer = torch.optim.Adam(learning, lr=1e-3, eps=setting.eps)
    synchronise_batch_norm(network, processes)
    network.to(memory_format=torch.channels_last)
    wrapped = DistributedDataParallel(network) if processes.count > 1 else network
    found: dict[str, Tensor] = {}
    for step in range(5):
        images = draw(rows, 3, 32, 32, seed=step).to(kind)[processes.share(rows)]
        loss = proxies(processes.gather(wrapped(images), rows), torch.arange(rows) % CLASSES)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            named = [*network.named_parameters(), *proxies.named_parameters()]
            found |= {f"{part} gradient": tensor.grad.clone() for part, tensor in named}
        optimizer.step()
        found[f"loss {step}"] = loss.detach()
    return found | network.state_dict() | proxies.state_dict()


def compiled(processes: Processes) -> bool:
    """Whether a compiled network gives what it gives otherwise."""
    torch.manual_seed(5)
    network = Small()
    synchronise_batch_norm(network, processes)
    other = torch.compile(copy.deepcopy(network), backend="eager")
    images = draw(7, 3, 32, 32)[processes.share(7)]
    outputs = [module(images) for module in (network, other)]
    for output in outputs:
        output.square().sum().backward()
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    return torch.equal(*outputs) and all(torch.equal(a.grad, b.grad) for a, b in pairs)


def together(processes: Processes, _folder: Path) -> dict[str, object]:
    """All of the above, by one start of the processes."""
    layers = {}
    for name, case in CASES.items():
        for rows in ROWS:
            layer = layer_of(case)
            synchronise_batch_norm(layer, processes)
            layers[name, rows] = through(layer, case, rows, processes)
    single = nn.BatchNorm1d(3)
    synchronise_batch_norm(single, processes)
    with pytest.raises(ShapeError) as refused:
        single(draw(1, 3)[processes.share(1)])
    return {
        "layers": layers,
        "networks": {
            (name, how): learnt(name, setting, processes)
            for name in NETWORKS
            for how, setting in SETTINGS.items()
        },
        "compiled": compiled(processes) if processes.count == 2 else True,
        "refused": str(refused.value),
    }


@pytest.fixture(scope="module", params=[2, 3])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """What each of several processes found out."""
    return in_processes(request.param, together, tmp_path_factory.mktemp("processes"))


def near(found: Tensor, expected: Tensor, within: float, what: str) -> None:
    """Equal but for ``within``, of the largest value where that is above 1."""
    assert found.dtype == expected.dtype, what
    scale = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(
        found, expected, rtol=0, atol=within * scale, msg=lambda text: f"{what}: {text}"
    )


class TestLayers:
    @pytest.mark.parametrize("rows", ROWS)
    @pytest.mark.parametrize("name", CASES)
    def test_as_in_one_process(self, answers, name, rows):
        case, count = CASES[name], len(answers)
        expected = through(layer_of(case), case, rows, Processes())
        found = [answer["layers"][name, rows] for answer in answers]
        assert all(one.keys() == expected.keys() for one in found)
        for key, value in expected.items():
            if key.startswith("x "):
                for rank, one in enumerate(found):
                    share = Processes(rank, count).share(rows)
                    near(one[key], count * value[share], case.near * count, key)
            elif key.endswith("gradient"):  # as DistributedDataParallel means them
                near(sum(one[key] for one in found) / count, value, case.near, key)
            else:
                assert all(torch.equal(one[key], found[0][key]) for one in found), key
                near(found[0][key], value, case.near, key)

    def test_a_single_value_is_refused(self, answers):
        for answer in answers:
            assert "needs at least 2 values a channel while training, got 1" in answer["refused"]


class TestNetworks:
    @pytest.mark.parametrize("how", SETTINGS)
    @pytest.mark.parametrize("name", NETWORKS)
    def test_learns_as_in_one_process(self, answers, name, how):
        expected = learnt(name, SETTINGS[how], Processes())
        for answer in answers:
            found = answer["networks"][name, how]
            assert found.keys() == expected.keys()
            for key, tensor in expected.items():
                near(found[key], tensor, SETTINGS[how].near, key)

    @pytest.mark.parametrize("how", SETTINGS)
    @pytest.mark.parametrize("name", NETWORKS)
    def test_no_process_drifts_from_the_others(self, answers, name, how):
        for key, tensor in answers[0]["networks"][name, how].items():
            others = [answer["networks"][name, how][key] for answer in answers]
            assert all(torch.equal(other, tensor) for other in others), key

    def test_a_compiled_one_gives_the_same(self, answers):
        assert all(answer["compiled"] for answer in answers)


class TestConversion:
    @pytest.fixture(params=NETWORKS)
    def network(self, request: pytest.FixtureRequest) -> nn.Module:
        torch.manual_seed(0)
        return NETWORKS[request.param]().eval()

    def test_one_process_keeps_what_it_has(self, network):
        before = [type(module) for module in network.modules()]
        synchronise_batch_norm(network, Processes())
        assert [type(module) for module in network.modules()] == before

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_names_and_tensors_stay_the_same_ones(self, network, device):
        held = {**network.state_dict(keep_vars=True)}
        synchronise_batch_norm(network, Processes(0, 2, torch.device(device)))
        after = network.state_dict(keep_vars=True)
        assert list(after) == list(held)
        assert all(after[name] is tensor for name, tensor in held.items())

    def test_accelerators_get_pytorchs_own(self):
        network = Small()
        act = network.norm.act
        synchronise_batch_norm(network, Processes(1, 2, torch.device("cuda")))
        kinds = [type(layer) for layer in (network.stem[1], network.norm, network.last)]
        assert kinds == [nn.SyncBatchNorm, SyncBatchNormAct, nn.SyncBatchNorm]
        assert network.norm.act is act

    def test_evaluation_is_as_before_and_sends_nothing(self, network):
        images = draw(4, 3, 32, 32)
        expected = network(images)
        synchronise_batch_norm(network, Processes(0, 2))  # without a group, sending would fail
        assert torch.equal(network(images), expected)

    def test_a_frozen_layer_in_a_network_that_learns(self):
        network, plain = Small(), Small()
        plain.load_state_dict(network.state_dict())
        synchronise_batch_norm(network, Processes(0, 2))
        for each in (network, plain):
            each.train()
            for layer in (each.stem, each.norm, each.last):
                layer.eval()
            each(draw(4, 3, 32, 32)).square().sum().backward()
        for ours, theirs in zip(network.parameters(), plain.parameters(), strict=True):
            assert torch.equal(ours.grad, theirs.grad)

    def test_untracked_layers_judge_by_the_batch_as_before(self):
        layer, x = nn.BatchNorm2d(3, track_running_stats=False).eval(), draw(4, 3, 5, 5)
        expected = layer(x)
        synchronise_batch_norm(layer, Processes(0, 2))
        assert torch.equal(layer(x), expected)

    def test_twice_is_as_once(self, network):
        synchronise_batch_norm(network, Processes(0, 2))
        kinds = [type(module) for module in network.modules()]
        synchronise_batch_norm(network, Processes(1, 3))
        assert [type(module) for module in network.modules()] == kinds
        assert {m.processes for m in network.modules() if hasattr(m, "processes")} == {
            Processes(1, 3)
        }

    def test_an_average_of_it(self, network):
        images = draw(4, 3, 32, 32)
        synchronise_batch_norm(network, Processes(0, 2))
        average = AveragedModel(network, avg_fn=lambda mean, new, _: mean.lerp(new, 0.5))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(0.9)
        average.update_parameters(network)
        average.update_parameters(network)
        assert average.module.state_dict().keys() == network.state_dict().keys()
        assert average.eval()(images).shape == (4, DIM)
        assert torch.equal(copy.deepcopy(network)(images), network(images))

    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_layers_with_statistics_of_their_own_are_refused(self, device):
        network = nn.Sequential(nn.BatchNorm2d(4), nn.Sequential(SplitBatchNorm2d(4)))
        with pytest.raises(ConfigError, match=r"layer 1\.0 of the network, a SplitBatchNorm2d"):
            synchronise_batch_norm(network, Processes(0, 2, torch.device(device)))
        assert type(network[0]) is nn.BatchNorm2d

    def test_a_lone_layer_cannot_become_pytorchs(self):
        with pytest.raises(TypeError, match="with batch norms in it"):
            synchronise_batch_norm(nn.BatchNorm2d(3), Processes(0, 2, torch.device("cuda")))
