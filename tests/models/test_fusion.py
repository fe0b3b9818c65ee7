"""Fusions: how they start, what they leave alone, and SimAM written out neuron by neuron."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from msedge.errors import ConfigError
from msedge.models.fusion import (
    EdgeFusion,
    EdgeGate,
    EnergyFusion,
    NoFusion,
    create_fusion,
    energy_attention,
)

CHANNELS, SIZES = (8, 16, 32), (8, 4, 2)
NAMES = ["none", "edge", "energy"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def some_stages(batch: int = 2) -> list[Tensor]:
    return [torch.randn(batch, c, s, s) for c, s in zip(CHANNELS, SIZES, strict=True)]


def some_edges(batch: int = 2) -> list[Tensor]:
    return [torch.rand(batch, 1, s, s) for s in SIZES]


def energy_by_hand(stage: np.ndarray, regulariser: float) -> np.ndarray:
    """SimAM, equation 5: the least energy of each neuron; it is weighed by the inverse."""
    weights = np.empty(stage.shape)
    for image, channel in np.ndindex(*stage.shape[:2]):
        neurons = stage[image, channel].astype(np.float64)
        mean = neurons.sum() / neurons.size
        variance = ((neurons - mean) ** 2).sum() / neurons.size
        for at in np.ndindex(*neurons.shape):
            above = 4 * (variance + regulariser)
            below = (neurons[at] - mean) ** 2 + 2 * variance + 2 * regulariser
            weights[image, channel][at] = 1 / (1 + np.exp(-1 / (above / below)))
    return weights


class TestSmoke:
    @pytest.mark.parametrize(
        ("name", "kind"), [("none", NoFusion), ("edge", EdgeFusion), ("energy", EnergyFusion)]
    )
    def test_each_name_has_its_class(self, name, kind):
        assert type(create_fusion(name, CHANNELS)) is kind

    def test_only_edge_fusion_asks_for_edges(self):
        assert [create_fusion(name, CHANNELS).uses_edges for name in NAMES] == [False, True, False]

    def test_none_changes_nothing(self):
        stages = some_stages()
        fused = create_fusion("none", CHANNELS)(stages, [])
        assert all(after is before for after, before in zip(fused, stages, strict=True))


class TestExceptions:
    @pytest.mark.parametrize("name", ["", "Edge", "edges", "simam"])
    def test_an_unknown_name_lists_the_known(self, name):
        with pytest.raises(ConfigError, match=f"named {name!r}; choose one of none, edge, energy"):
            create_fusion(name, CHANNELS)

    @pytest.mark.parametrize("count", [0, 2])
    def test_edges_for_some_stages_are_not_enough(self, count):
        with pytest.raises(ValueError, match="shorter"):
            create_fusion("edge", CHANNELS)(some_stages(), some_edges()[:count])


class TestCardinality:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("batch", [1, 3])
    def test_shapes_stay(self, name, batch):
        stages = some_stages(batch)
        fused = create_fusion(name, CHANNELS)(stages, some_edges(batch))
        assert [stage.shape for stage in fused] == [stage.shape for stage in stages]

    @pytest.mark.parametrize("channels", [1, 3, 16, 100])
    def test_a_gate_takes_any_count_of_channels(self, channels):
        gate = EdgeGate(channels)
        factor = gate.attention(torch.randn(2, channels, 3, 5), torch.rand(2, 1, 3, 5))
        assert factor.shape == (2, channels, 3, 5)


class TestNumbers:
    @pytest.mark.parametrize("channels", [16, 2048])
    def test_a_gate_starts_near_one(self, channels):
        gate = EdgeGate(channels)
        factor = gate.attention(torch.randn(4, channels, 7, 7).relu(), torch.rand(4, 1, 7, 7))
        assert (factor - 1).abs().mean() < 0.01
        assert (factor - 1).abs().max() < 0.06
        assert factor.std() > 0  # near one, and yet each channel has a start of its own

    def test_a_gate_opens_where_its_weights_say(self):
        gate = EdgeGate(2)
        for parameter in gate.parameters():
            torch.nn.init.zeros_(parameter)
        gate.spatial.weight.data[:, 0, 0, 0] = torch.tensor([100.0, -100.0])
        edges = torch.tensor([[1.0, 0.0]]).view(1, 1, 1, 2)
        fused = gate(torch.full((1, 2, 1, 2), 3.0), edges)
        torch.testing.assert_close(fused, torch.tensor([[6.0, 3.0], [0.0, 3.0]]).view(1, 2, 1, 2))

    def test_a_gate_weighs_channels_by_their_means(self):
        gate = EdgeGate(2)
        for parameter in gate.parameters():
            torch.nn.init.zeros_(parameter)
        squeeze, _, widen = gate.channel
        squeeze.weight.data[0] = torch.tensor([0.0, 1.0])  # hears the second channel
        widen.weight.data[0, 0] = 1.0  # tells the first
        stage = torch.tensor([[1.0, 3.0], [0.0, 4.0]]).view(1, 2, 1, 2)
        factor = gate.attention(stage, torch.zeros(1, 1, 1, 2))
        expected = 2 / (1 + np.exp(-2.0))  # the second channel's mean is 2
        np.testing.assert_allclose(factor.detach().numpy().ravel(), [expected] * 2 + [1, 1], 1e-6)

    def test_edge_fusion_gates_each_stage_by_its_own_edges(self):
        fusion, stages, edges = EdgeFusion(CHANNELS), some_stages(), some_edges()
        before = fusion(stages, edges)
        edges[1] = 1 - edges[1]
        after = fusion(stages, edges)
        same = [torch.equal(a, b) for a, b in zip(after, before, strict=True)]
        assert same == [True, False, True]

    @pytest.mark.parametrize("epsilon", [1e-4, 0.1])
    def test_energy_attention_is_simam(self, epsilon):
        stage = torch.randn(2, 3, 4, 5) * 2 + 1
        np.testing.assert_allclose(
            energy_attention(stage, epsilon).numpy(),
            energy_by_hand(stage.numpy(), epsilon),
            atol=1e-6,
        )

    def test_a_flat_channel_has_no_neuron_that_stands_out(self):
        attention = energy_attention(torch.full((1, 2, 3, 3), 7.0))
        torch.testing.assert_close(attention, torch.full((1, 2, 3, 3), 0.5).sigmoid())

    def test_the_last_stage_leads_and_stays(self):
        fusion, stages = EnergyFusion(CHANNELS), some_stages()
        *earlier, last = fusion(stages, [])
        assert last is stages[-1]
        *changed, _ = fusion([*stages[:2], stages[-1] + 1], [])
        for before, after, stage in zip(earlier, changed, stages[:2], strict=True):
            assert not torch.allclose(before, after)
            factor = before / stage
            assert 0.62 < factor.min() < factor.max() <= 1


class TestGradients:
    @pytest.mark.parametrize("name", ["edge", "energy"])
    def test_reach_every_parameter_and_stage(self, name):
        fusion = create_fusion(name, CHANNELS)
        stages = [stage.requires_grad_() for stage in some_stages()]
        sum(stage.square().sum() for stage in fusion(stages, some_edges())).backward()
        for parameter in [*fusion.parameters(), *stages]:
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0

    def test_of_energy_agree_with_differences(self):
        stage = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(energy_attention, stage)
