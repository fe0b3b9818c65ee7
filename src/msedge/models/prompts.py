"""Learned prompt tokens that a vision transformer reads beside the patches of an image.

Source: VPT-shallow (Jia et al., ECCV 2022): a few vectors that do not depend on the image are
added to the sequence before the first block; with everything else frozen they change what the
network attends to. Only timm's ``VisionTransformer`` takes them, and with it the image towers of
CLIP and SigLIP, DINO's networks and DeiT.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from msedge.errors import ConfigError
from msedge.models.torchvision_cure import ensure_torchvision

ensure_torchvision()

from timm.models.vision_transformer import VisionTransformer  # noqa: E402


class PromptTokens(nn.Module):
    """Adds its tokens to a sequence, between the network's own prefix and the patches.

    It stands where timm drops patches: after the position embedding (prompts have no position)
    and before the norm in front of the blocks, which CLIP's towers have.

    Attributes:
        tokens: ``(1, P, D)``, learned.
    """

    def __init__(self, patch_drop: nn.Module, *, count: int, width: int, prefix: int) -> None:
        """Make tokens of nought; :func:`add_prompts` draws them.

        Args:
            patch_drop: what stood there; it is called first.
            count: prompts P.
            width: D of the network's tokens.
            prefix: tokens of the network's own (class, registers) before the patches.
        """
        super().__init__()
        self.patch_drop = patch_drop
        self.tokens = nn.Parameter(torch.zeros(1, count, width))
        self._prefix = prefix

    def forward(self, x: Tensor) -> Tensor:
        """Lengthen ``(B, prefix + N, D)`` to ``(B, prefix + P + N, D)``."""
        x = self.patch_drop(x)
        batch = x.shape[0]  # len(x) would be frozen in an exported graph
        tokens = self.tokens.to(x.dtype).expand(batch, -1, -1)
        return torch.cat([x[:, : self._prefix], tokens, x[:, self._prefix :]], dim=1)


def add_prompts(network: Any, count: int) -> None:
    """Give a timm vision transformer prompt tokens, which it leaves out of its feature maps.

    Args:
        network: timm's network; its other tensors keep their names.
        count: prompts, at least 1.

    Raises:
        ConfigError: the network takes no prompts, has some already, or ``count`` is not positive.
    """
    if count < 1:
        raise ConfigError(f"prompts need at least one token, got {count}")
    if not isinstance(network, VisionTransformer) or network.dynamic_img_size:
        # Of any size, timm would count the prompts among the tokens that have a position.
        kind = getattr(network, "dynamic_img_size", False) and "one of any size"
        raise ConfigError(
            "prompts need one of timm's vision transformers of a fixed input size, got "
            f"{kind or type(network).__name__}; choose another vit_* backbone, or adapt norm"
        )
    if prompt_count(network):
        raise ConfigError(f"the network has {prompt_count(network)} prompts already")
    prompts = PromptTokens(
        network.patch_drop,
        count=count,
        width=network.embed_dim,
        prefix=network.num_prefix_tokens,
    )
    patch = math.prod(network.patch_embed.patch_size)
    bound = math.sqrt(6 / (3 * patch + network.embed_dim))  # VPT's: Xavier of the patch embedding
    nn.init.uniform_(prompts.tokens, -bound, bound)
    network.patch_drop = prompts.to(next(network.parameters()).device)
    # timm cuts so many tokens off before it folds the others into a map, and before it pools
    network.num_prefix_tokens += count


def prompt_count(network: nn.Module) -> int:
    """How many prompt tokens a timm network has; 0 for one without."""
    prompts = getattr(network, "patch_drop", None)
    return prompts.tokens.shape[1] if isinstance(prompts, PromptTokens) else 0
