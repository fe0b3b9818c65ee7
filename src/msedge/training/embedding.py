"""Images through the network: the vectors of a whole set, and how well they retrieve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from msedge.data.datasets import ImageSet
from msedge.data.layouts import DOMAINS
from msedge.data.transforms import to_unit_range
from msedge.data.vectors import Vectors
from msedge.evaluation.evaluate import Metrics, evaluate
from msedge.models.edges import edge_view
from msedge.training.frozen_cache import FrozenCache

CUTOFFS = (10, 25, 100, 200)  # the paper's two, and two that small sets can reach
_PHOTO = DOMAINS.index("photo")
Progress = Callable[[int, int], None]


@torch.inference_mode()
def embed(
    network: nn.Module,
    images: ImageSet,
    *,
    device: torch.device,
    batch_size: int = 64,
    edge_weight: float = 0.0,
    frozen: FrozenCache | None = None,
    progress: Progress | None = None,
) -> Vectors:
    """The unit vectors of a set of images, in its order.

    Args:
        network: maps ``(B, 3, S, S)`` in [0, 1] to ``(B, D)``; left in evaluation mode.
        images: what to embed.
        device: where the network is.
        batch_size: images at a time.
        edge_weight: how much of the vector of its edge view is added to that of a photo; the sum
            is brought back to length 1.
        frozen: what the network's frozen blocks say of these images, and first of their edge
            views where these are asked for; then no image is read.
        progress: called with images done and images in all.

    Returns:
        Embeddings ``(N, D)`` with labels, domains, class names and paths.
    """
    network.eval()
    parts = []
    read = images.batches if frozen is None else images.rows
    for batch in read(batch_size, shuffle=False):
        photos = torch.nonzero(batch.domains == _PHOTO)[:, 0]
        viewed = photos if edge_weight else photos[:0]
        if frozen is None:
            pixels = to_unit_range(batch.images.to(device))
            shown = torch.cat([pixels, edge_view(pixels[viewed])]) if len(viewed) else pixels
            vectors = network(shown.contiguous(memory_format=torch.channels_last)).float()
        else:
            first = torch.zeros(len(viewed), dtype=torch.int64)
            unmirrored = torch.zeros(len(batch.rows) + len(viewed), dtype=torch.bool)
            vectors = network(frozen.features(batch.rows, viewed, first, unmirrored)).float()
        vectors, views = vectors.split([len(batch.rows), len(viewed)])
        if len(viewed):
            both = vectors[viewed] + edge_weight * views
            vectors[viewed] = functional.normalize(both, dim=1)
        parts.append(vectors.cpu())
        if progress is not None:
            progress(int(batch.rows[-1]) + 1, len(images))
    return Vectors(
        embeddings=torch.cat(parts).numpy(),
        labels=images.labels.numpy().astype(np.int64),
        domains=images.domains.numpy().astype(np.int64),
        classes=images.classes,
        paths=tuple(str(record.path) for record in images.records),
    )


def judge(vectors: Vectors, progress: Progress | None = None) -> Metrics:
    """Every sketch asks, all photos are ranked; the ``standard`` metrics.

    Args:
        vectors: embeddings of both domains.
        progress: called with queries done and queries in all.
    """
    queries, gallery = vectors.of("sketch"), vectors.of("photo")
    return evaluate(
        vectors.embeddings[queries],
        vectors.embeddings[gallery],
        vectors.labels[queries],
        vectors.labels[gallery],
        at=CUTOFFS,
        progress=progress,
    ).metrics()


def in_percent(metrics: Metrics) -> dict[str, float]:
    """The paper's four figures, then P@10 and P@25, in percent."""
    small = {f"P@{k}": 100 * metrics.p_at[k] for k in CUTOFFS if k < 100}
    return {**metrics.headline(), **small}
