"""How one stage of the backbone is fused with edges, or with energy, before it is pooled.

Every fusion maps the three stages ``(B, C_i, H_i, W_i)`` and their edge maps ``(B, 1, H_i, W_i)``
to three stages of the same shapes, so that an ablation is a configuration and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from msedge.errors import ConfigError

_SMALL = 1e-2
FusionName = Literal["none", "edge", "energy"]


class NoFusion(nn.Module):
    """The plain network: every stage as the backbone made it."""

    uses_edges = False

    def forward(self, stages: list[Tensor], edges: list[Tensor]) -> list[Tensor]:
        """Return the stages unchanged."""
        del edges
        return stages


class EdgeGate(nn.Module):
    """One stage multiplied by where its edges are and which of its channels matter.

    Spatial attention: the edge map through a 1x1 convolution. Channel attention: the mean of each
    channel through a bottleneck (squeeze and excitation, Hu et al., CVPR 2018). Their sum passes a
    sigmoid. Twice the sigmoid is multiplied on, and both branches start near nought, so that
    training starts from the pretrained features and not from a dimmed copy of them.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.spatial = nn.Conv2d(1, channels, kernel_size=1)
        widen = nn.Linear(hidden, channels)
        self.channel = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), widen)
        nn.init.normal_(self.spatial.weight, std=_SMALL)
        nn.init.normal_(widen.weight, std=_SMALL)
        nn.init.constant_(widen.bias, 0.0)
        nn.init.constant_(self.spatial.bias, 0.0)  # type: ignore[arg-type]

    def attention(self, stage: Tensor, edges: Tensor) -> Tensor:
        """The factor of every element, ``(B, C, H, W)``, range (0, 2)."""
        channel = self.channel(stage.mean(dim=(2, 3)))[:, :, None, None]
        return 2 * torch.sigmoid(self.spatial(edges) + channel)

    def forward(self, stage: Tensor, edges: Tensor) -> Tensor:
        """Fuse a stage ``(B, C, H, W)`` with its edges ``(B, 1, H, W)``."""
        return stage * self.attention(stage, edges)


class EdgeFusion(nn.Module):
    """Multi-scale edge fusion: an :class:`EdgeGate` on each stage."""

    uses_edges = True

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.gates = nn.ModuleList(EdgeGate(count) for count in channels)

    def forward(self, stages: list[Tensor], edges: list[Tensor]) -> list[Tensor]:
        """Fuse every stage with the edges at its size."""
        return [
            gate(stage, edge) for gate, stage, edge in zip(self.gates, stages, edges, strict=True)
        ]


def energy_attention(stage: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Parameter-free attention from each neuron's energy.

    Source: SimAM (Yang et al., ICML 2021), equation 5: a neuron that differs from the mean of its
    channel has a low energy and gets a high weight.

    Args:
        stage: ``(B, C, H, W)``.
        epsilon: added to the variance.

    Returns:
        ``(B, C, H, W)``, range (0.62, 1).

    Example:
        >>> energy_attention(torch.rand(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])
    """
    deviation = (stage - stage.mean(dim=(2, 3), keepdim=True)).square()
    variance = deviation.mean(dim=(2, 3), keepdim=True)
    return torch.sigmoid(deviation / (4 * (variance + epsilon)) + 0.5)


class EnergyFusion(nn.Module):
    """Energy-guided fusion: the last stage tells the earlier ones where to look.

    Source: EGFF (Ren et al., Neural Processing Letters 2022). The last stage, brought to an
    earlier stage's channels (3x3 convolution) and size (bilinear), is added to it; the energy
    attention of the rectified sum is multiplied onto the earlier stage. The last stage stays.
    """

    uses_edges = False

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        *earlier, last = channels
        self.guides = nn.ModuleList(nn.Conv2d(last, count, 3, padding=1) for count in earlier)

    def forward(self, stages: list[Tensor], edges: list[Tensor]) -> list[Tensor]:
        """Fuse every earlier stage with the last one."""
        del edges
        *earlier, last = stages
        fused = []
        for guide, stage in zip(self.guides, earlier, strict=True):
            guided = functional.interpolate(
                guide(last), stage.shape[-2:], mode="bilinear", align_corners=False
            )
            fused.append(stage * energy_attention(torch.relu(stage + guided)))
        return [*fused, last]


def create_fusion(name: str, channels: Sequence[int]) -> NoFusion | EdgeFusion | EnergyFusion:
    """The fusion of that name for stages of these channels.

    Raises:
        ConfigError: there is no fusion of that name.
    """
    if name == "none":
        return NoFusion()
    if name == "edge":
        return EdgeFusion(channels)
    if name == "energy":
        return EnergyFusion(channels)
    raise ConfigError(
        f"no fusion is named {name!r}; choose one of {', '.join(get_args(FusionName))}"
    )
