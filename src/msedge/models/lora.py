"""Low-rank additions to the attention layers of a transformer.

Source: LoRA (Hu et al., ICLR 2022). A frozen weight W gets an addition of a small rank r,
``W + (alpha / r) B A``, of which only A and B learn. Folded into W afterwards, it costs nothing.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from msedge.errors import ConfigError

_SCALE = 2.0  # alpha / r with alpha = 2 r, so that a rank can be changed and the rates kept
_ATTENTION = "attn"  # timm's name of a block's attention
_PROJECTIONS = ("qkv", "q", "k", "v", "kv", "q_proj", "k_proj", "v_proj", "proj")


class LoRALinear(nn.Linear):
    """A linear layer with a low-rank addition; weight and bias keep their names.

    Attributes:
        lora_a: ``(rank, in_features)``, from the input to the rank.
        lora_b: ``(out_features, rank)``, nought at the start.
    """

    def __init__(self, base: nn.Linear, rank: int) -> None:
        """Take over the weight and the bias of ``base`` themselves, not copies."""
        super().__init__(base.in_features, base.out_features, base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.lora_a = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.lora_b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        low = functional.linear(x, self.lora_a)
        return super().forward(x) + _SCALE * functional.linear(low, self.lora_b)

    def folded_weight(self) -> Tensor:
        """The weight of the plain layer that gives the same, ``(out_features, in_features)``."""
        return (self.weight + _SCALE * self.lora_b @ self.lora_a).detach()


def add_lora(network: nn.Module, rank: int) -> list[nn.Parameter]:
    """Give the projections of every attention a low-rank addition.

    Fused query, key and value projections get one addition for the three.

    Args:
        network: timm's network; its own tensors keep their names.
        rank: of the additions, at least 1.

    Returns:
        The parameters of the additions.

    Raises:
        ConfigError: the network has no attention that can be adapted, has additions already, or
            ``rank`` is not positive.
    """
    if rank < 1:
        raise ConfigError(f"a low-rank addition needs a rank of at least 1, got {rank}")
    if _lora_layers(network):
        raise ConfigError("the network has low-rank additions already; merge them first")
    added: list[nn.Parameter] = []
    for attention, name, linear in _projections(network):
        layer = LoRALinear(linear, rank)
        setattr(attention, name, layer)
        added += [layer.lora_a, layer.lora_b]
    if not added:
        raise ConfigError(
            f"{type(network).__name__} has no attention with linear projections, so lora has "
            "nothing to add to; choose a transformer (vit_*), or adapt norm or head"
        )
    return added


def merge(network: nn.Module) -> None:
    """Fold the additions into the weights in place, so that the network is a plain one again."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LoRALinear):
                setattr(parent, name, _plain(layer))


def merged_state(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of the network as :func:`merge` would leave it; the network stays as it is."""
    tensors: dict[str, Tensor] = dict(network.state_dict())
    for name, layer in _lora_layers(network).items():
        tensors[f"{name}.weight"] = layer.folded_weight()
        del tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
    return tensors


def _lora_layers(network: nn.Module) -> dict[str, LoRALinear]:
    return {n: layer for n, layer in network.named_modules() if isinstance(layer, LoRALinear)}


def _projections(network: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    found = []
    for path, attention in network.named_modules():
        if path.split(".")[-1] != _ATTENTION:
            continue
        # With biases apart (BEiT, Swin v2), timm reads qkv.weight and never calls the layer.
        bypassed = getattr(attention, "q_bias", None) is not None
        for name, layer in attention.named_children():
            linear = type(layer) is nn.Linear and name in _PROJECTIONS
            if linear and not (bypassed and name == "qkv"):
                found.append((attention, name, layer))
    return found


def _plain(layer: LoRALinear) -> nn.Linear:
    plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
    learns = layer.weight.requires_grad
    plain.weight = nn.Parameter(layer.folded_weight(), requires_grad=learns)
    plain.bias = layer.bias
    return plain.train(layer.training)
