"""Adapting little: which parameters of a pretrained network learn, and which stay as they are.

Large pretrained networks lose what they know when all of their weights are trained on a few
classes: CLIP falls from .723 mAP@200 with prompts and norms to .102 (Sain et al., CVPR 2023). The
ways here leave the backbone's weights alone and learn a small part of them, or an addition.

The image towers of CLIP and SigLIP are meant as timm builds them (``vit_base_patch32_clip_*``,
``vit_base_patch16_siglip_*``): the same weights as open_clip's, with the feature maps that a
pyramid needs, so open_clip is no dependency.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from msedge.errors import ConfigError
from msedge.models.backbones import Backbone
from msedge.models.lora import add_lora
from msedge.models.network import MSEdge
from msedge.models.prompts import PromptTokens, add_prompts, prompt_count
from msedge.models.torchvision_cure import ensure_torchvision

ensure_torchvision()

from timm.layers import norm as timm_norms  # noqa: E402

AdaptName = Literal["full", "head", "norm", "lora", "prompts"]

_NORMS = (
    _NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    timm_norms.RmsNorm,
    timm_norms.RmsNormFp32,
    timm_norms.RmsNorm2d,
    timm_norms.RmsNorm2dFp32,
    timm_norms.SimpleNorm,
    timm_norms.SimpleNormFp32,
    timm_norms.SimpleNorm2d,
    timm_norms.SimpleNorm2dFp32,
)
"""Layers whose scale and shift ``norm`` sets free; timm's variants derive from these."""


def adapt(network: MSEdge, how: str, *, rank: int = 8, prompts: int = 4) -> None:
    """Choose what learns. Call it with the weights loaded and before the optimiser is made.

    Fusion and projection learn always. Parameters that the pyramid never reads (a final norm)
    never do, so that distributed training finds no unused ones.

    Args:
        network: changed in place.
        how: of the backbone learn: ``full``, everything; ``head``, nothing; ``norm``, scale and
            shift of the normalisation layers (Frankle et al., ICLR 2021; Sain et al., CVPR 2023);
            ``lora``, low-rank additions to the attention (Hu et al., ICLR 2022); ``prompts``,
            prompt tokens (Jia et al., ECCV 2022) and the norms.
        rank: of the low-rank additions.
        prompts: how many prompt tokens; a network that has as many keeps them.

    Raises:
        ConfigError: there is no such way, or the backbone does not allow it.
    """
    if how not in get_args(AdaptName):
        raise ConfigError(
            f"no way to adapt is named {how!r}; choose one of {', '.join(get_args(AdaptName))}"
        )
    backbone = network.backbone
    if how == "prompts" and prompt_count(backbone.network) != prompts:
        add_prompts(backbone.network, prompts)
    if how == "full":
        backbone.requires_grad_(True)
    else:
        learning = _learning(backbone, how, rank)
        backbone.requires_grad_(False)
        for parameter in learning:
            parameter.requires_grad_(True)
    for parameter in _unread(backbone, network.image_size):
        parameter.requires_grad_(False)
    keep_frozen(network)


def keep_frozen(network: MSEdge) -> None:
    """Fix the batch statistics (and quiet the dropout) of every part that does not learn.

    Call it after every ``train()``, which would set them free again.
    """
    for module in network.backbone.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def trainable_parameters(network: nn.Module) -> int:
    """How many numbers of the network learn."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def _learning(backbone: Backbone, how: str, rank: int) -> list[nn.Parameter]:
    if how == "lora":
        return add_lora(backbone.network, rank)
    learning: list[nn.Parameter] = []
    kinds = {"head": (), "norm": _NORMS, "prompts": (*_NORMS, PromptTokens)}[how]
    for module in backbone.modules():
        if isinstance(module, kinds):
            learning += module.parameters(recurse=False)
    if not learning and how != "head":
        raise ConfigError(
            f"backbone {backbone.name!r} has no batch, layer, group or RMS norm to adapt; "
            "adapt head, or choose another backbone"
        )
    return learning


def _unread(backbone: Backbone, image_size: int) -> list[nn.Parameter]:
    """The learning parameters that no stage depends on, found by asking for their gradients."""
    learning = [p for p in backbone.parameters() if p.requires_grad]
    if not learning:
        return []
    training = {module: module.training for module in backbone.modules()}
    backbone.eval()
    with torch.enable_grad():
        images = torch.zeros(1, 3, image_size, image_size, device=backbone.mean.device)
        total = torch.stack([stage.sum() for stage in backbone(images)]).sum()
    gradients = torch.autograd.grad(total, learning, allow_unused=True)
    for module, mode in training.items():
        module.training = mode
    return [p for p, gradient in zip(learning, gradients, strict=True) if gradient is None]
