"""An optimiser that is packed and unpacked goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from msedge.training.optimizer_state import pack_optimizer, unpack_optimizer

SHAPES = ((3,), (4, 2), (4, 3, 3, 3))  # a bias, a matrix, a convolution
Parameters = list[nn.Parameter]


def make(*, fused: bool = False) -> tuple[Parameters, torch.optim.Adam]:
    """Three parameters with an optimiser; the convolution lies channels-last in memory."""
    torch.manual_seed(0)
    tensors = [torch.randn(shape) for shape in SHAPES]
    tensors[2] = tensors[2].to(memory_format=torch.channels_last)
    parameters = [nn.Parameter(tensor) for tensor in tensors]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.1}]
    return parameters, torch.optim.Adam(groups, fused=fused)


def step(parameters: Parameters, optimizer: torch.optim.Adam) -> None:
    optimizer.zero_grad()
    sum((p.cos() * p).sum() for p in parameters).backward()
    optimizer.step()


def through_a_file(tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """As a run's state is written and read."""
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, folder / "state.safetensors")
    return load_file(folder / "state.safetensors")


@pytest.mark.parametrize("fused", [False, True])
class TestOptimizerState:
    def test_goes_on_to_the_bit(self, fused, tmp_path):
        parameters, optimizer = make(fused=fused)
        for _ in range(3):
            step(parameters, optimizer)
        twins, twin = make(fused=fused)
        with torch.no_grad():
            for parameter, other in zip(twins, parameters, strict=True):
                parameter.copy_(other)
        unpack_optimizer(twin, through_a_file(pack_optimizer(optimizer), tmp_path))
        step(parameters, optimizer)
        step(twins, twin)
        assert all(torch.equal(a, b) for a, b in zip(parameters, twins, strict=True))

    def test_moments_lie_in_memory_as_their_parameters(self, fused, tmp_path):
        """Fused kernels walk through both without looking at strides."""
        parameters, optimizer = make(fused=fused)
        step(parameters, optimizer)
        unpack_optimizer(optimizer, through_a_file(pack_optimizer(optimizer), tmp_path))
        for parameter, state in zip(parameters, optimizer.state.values(), strict=True):
            moments = state["exp_avg"], state["exp_avg_sq"]
            assert [moment.stride() for moment in moments] == [parameter.stride()] * 2
            assert not any(moment.requires_grad for moment in moments)

    def test_parameters_without_a_step_yet(self, fused):
        """During the warm-up the backbone has no moments."""
        parameters, optimizer = make(fused=fused)
        step(parameters[1:], optimizer)
        assert {name.split(".")[0] for name in pack_optimizer(optimizer)} == {"1", "2"}
        _, twin = make(fused=fused)
        unpack_optimizer(twin, pack_optimizer(optimizer))
        assert set(twin.state_dict()["state"]) == {1, 2}

    def test_a_state_before_the_first_step_is_empty(self, fused):
        parameters, optimizer = make(fused=fused)
        step(parameters, optimizer)
        assert len(pack_optimizer(optimizer)) == 3 * len(("step", "exp_avg", "exp_avg_sq"))
        unpack_optimizer(optimizer, {})
        assert pack_optimizer(optimizer) == {}

    def test_rates_are_the_optimiser_s_own(self, fused):
        """They follow from the configuration, not from the state."""
        parameters, optimizer = make(fused=fused)
        step(parameters, optimizer)
        _, twin = make(fused=fused)
        twin.param_groups[0]["lr"] = 0.25
        unpack_optimizer(twin, pack_optimizer(optimizer))
        assert [group["lr"] for group in twin.param_groups] == [0.25, 0.1]


class TestExceptions:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("3.exp_avg", "of parameter 3, and there are 3"),
            ("-1.exp_avg", "of parameter -1"),
            ("exp_avg", "not enough values"),
            ("x.exp_avg", "invalid literal"),
        ],
    )
    def test_of_no_parameter(self, name, reason):
        with pytest.raises(ValueError, match=reason):
            unpack_optimizer(make()[1], {name: torch.zeros(3)})

    def test_of_another_shape(self):
        with pytest.raises(RuntimeError, match="size"):
            unpack_optimizer(make()[1], {"1.exp_avg": torch.zeros(4, 3)})
