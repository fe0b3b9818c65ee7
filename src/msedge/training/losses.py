"""The metric losses, from pytorch-metric-learning, with one proxy a class.

Both compare an embedding with a learned vector for each seen class, so a batch needs no mining and
sketches and photos of a class are drawn to the same point. ``benchmarks/accuracy.py`` could not
tell them apart; see ``docs/results.md``.
"""

from __future__ import annotations

from typing import cast

from pytorch_metric_learning.losses import NormalizedSoftmaxLoss, ProxyAnchorLoss
from torch import nn

from msedge.errors import ConfigError


def create_loss(name: str, *, classes: int, dim: int, temperature: float = 0.05) -> nn.Module:
    """A loss on embeddings ``(B, dim)`` and labels ``(B,)``; its parameters are the proxies.

    Args:
        name: ``normalized_softmax`` (Zhai and Wu, BMVC 2019) or ``proxy_anchor`` (Kim et al.,
            CVPR 2020).
        classes: number of seen classes.
        dim: width of the embedding.
        temperature: of ``normalized_softmax``: cosines are divided by it. A larger one lets go of
            classes that are told apart already.

    Raises:
        ConfigError: there is no loss of that name.
    """
    if name == "normalized_softmax":
        return cast(nn.Module, NormalizedSoftmaxLoss(classes, dim, temperature=temperature))
    if name == "proxy_anchor":
        return cast(nn.Module, ProxyAnchorLoss(classes, dim))
    raise ConfigError(f"no loss is named {name!r}; choose normalized_softmax or proxy_anchor")
