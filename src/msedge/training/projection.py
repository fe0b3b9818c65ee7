"""A trained network with a second projection beside its own, fitted until it has learnt all it can.

A few epochs are enough for a backbone that ImageNet has taught, and too few for a projection, which
starts from nothing. It is cheap to fit by itself: the backbone stays as it is, so that each image
is read once and its pooled stages are kept. A classifier of such features can be learnt anew to
great gain (Kang et al., "Decoupling Representation and Classifier", ICLR 2020, who do so for
balance, as is done here: in each step as many photos as sketches). By itself it finds what training
saw better and what it did not see worse, so that both projections stay, side by side.
``docs/results.md`` has what each brings; tested in ``tests/training/test_projection.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from msedge.data.layouts import DOMAINS, Dataset, Split
from msedge.data.vectors import Vectors
from msedge.errors import ConfigError
from msedge.models.card import Card
from msedge.models.network import MSEdge
from msedge.training.embedding import in_percent, judge
from msedge.training.losses import create_loss
from msedge.training.reduction import embed_split

Progress = Callable[[str, int, int], None]

STEPS = 1_500
_BATCH = 256  # sketches, and as many photos
_RATE, _PROXY_RATE, _DECAY, _TEMPERATURE = 1e-3, 1e-2, 1e-2, 0.1
_CALLED = {"sketch": "training sketches", "photo": "training photos"}
_SCALE_FLOOR = 1e-3  # channels that never move are not blown up


class Pooled(nn.Module):
    """What a network projects, in place of what comes of it."""

    def __init__(self, network: MSEdge) -> None:
        """Take the network."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Pooled stages ``(B, in_features)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        return self.network.pooled(self.network.stages(images))


def refit(
    network: MSEdge,
    card: Card,
    dataset: Dataset,
    *,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Card:
    """Put a second projection beside a network's own, in place, and judge it anew.

    It projects the mean of each channel beside its maximum, and is as wide as the first; over the
    training set both have vectors of one mean length. It is fitted to the training classes alone,
    sketches against photos at each size that the card names; the metrics are those of the unseen
    ones, as after training. :func:`msedge.training.reduction.reduce_dim` makes the whole narrow.

    Args:
        network: on the CPU.
        card: of the network.
        dataset: what it was trained and judged on.
        steps: updates of the projection.
        progress: called with what is done, how much of it, and of how much.

    Returns:
        The card of the network with both projections.

    Raises:
        ConfigError: the network has a second one already.
        DataError: an image cannot be read.
    """
    if network.poolings != 1:
        raise ConfigError("this network has a second projection already: refit that of a training")
    network.poolings = 2
    features, labels, is_photo = pooled_features(network, card, dataset.train, progress)
    first = network.projection
    second = fit_projection(
        features, labels, is_photo, card.dim, steps=steps, seed=card.seed, progress=progress
    )
    network.projection = _side_by_side(first, second, features)
    changed = card.model_copy(update={"dim": 2 * card.dim, "pooling": "both"})
    vectors = embed_split(network, changed, dataset.val, "unseen classes", progress)
    return changed.model_copy(update={"metrics": in_percent(judge(vectors))})


def _side_by_side(first: nn.Linear, second: nn.Linear, features: Tensor) -> nn.Linear:
    """Both in one; the first knows only the first features, which are the maxima."""
    joined = nn.Linear(second.in_features, first.out_features + second.out_features)
    with torch.inference_mode():
        means = torch.zeros(first.out_features, second.in_features - first.in_features)
        weights = (torch.cat([first.weight, means], dim=1), second.weight)
        parts = []
        for weight, bias in zip(weights, (first.bias, second.bias), strict=True):
            length = torch.linalg.vector_norm(features @ weight.T + bias, dim=1).mean()
            parts.append((weight / length, bias / length))
        joined.weight.copy_(torch.cat([weight for weight, _ in parts]))
        joined.bias.copy_(torch.cat([bias for _, bias in parts]))
    return joined


def pooled_features(
    network: MSEdge, card: Card, split: Split, progress: Progress | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """What the network projects of a set's images, photos once for each size that they are read at.

    Returns:
        ``(N, in_features)`` float32; labels ``(N,)``; and which are photos ``(N,)``.
    """
    parts: list[Vectors] = []
    for domain in DOMAINS:
        records = tuple(record for record in split.records if record.domain == domain)
        sizes: list[tuple[int, ...]] = [()]
        if domain == "photo" and card.photo_sizes:
            sizes = [(size,) for size in card.photo_sizes]
        for photo_sizes in sizes:
            plain = card.model_copy(update={"photo_sizes": photo_sizes, "gallery_edges": 0.0})
            what = f"{_CALLED[domain]}{''.join(f' at {size} px' for size in photo_sizes)}"
            some = Split(records, split.classes)
            parts.append(embed_split(Pooled(network), plain, some, what, progress))
    return (
        torch.cat([torch.from_numpy(part.embeddings) for part in parts]),
        torch.cat([torch.from_numpy(part.labels) for part in parts]),
        torch.cat([torch.from_numpy(part.domains) == DOMAINS.index("photo") for part in parts]),
    )


def fit_projection(
    features: Tensor,
    labels: Tensor,
    is_photo: Tensor,
    dim: int,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress | None = None,
) -> nn.Linear:
    """The projection ``(dim, in_features)`` that tells the classes of features apart, by cosines.

    Args:
        features: ``(N, in_features)``, of sketches and of photos.
        labels: ``(N,)``.
        is_photo: ``(N,)``.
        dim: width of the embedding.
        steps: updates, of as many sketches as photos each.
        seed: of the start, and of who is drawn.
        progress: called with what is done, steps done, and steps in all.
    """
    random = torch.Generator().manual_seed(seed)
    mean, scale = features.mean(dim=0), features.std(dim=0) + _SCALE_FLOOR
    classes = int(labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        projection = nn.Linear(features.shape[1], dim)
        loss = create_loss("normalized_softmax", classes=classes, dim=dim, temperature=_TEMPERATURE)
    optimizer = torch.optim.AdamW(
        [
            {"params": projection.parameters(), "lr": _RATE, "weight_decay": _DECAY},
            {"params": loss.parameters(), "lr": _PROXY_RATE, "weight_decay": 0.0},
        ]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    sides = [torch.nonzero(is_photo == side)[:, 0] for side in (False, True)]
    for step in range(steps):
        drawn = [
            side[torch.randint(len(side), (_BATCH,), generator=random)]
            for side in sides
            if len(side)
        ]
        rows = torch.cat(drawn)
        vectors = functional.normalize(projection((features[rows] - mean) / scale), dim=1)
        optimizer.zero_grad()
        loss(vectors, labels[rows]).backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress("projection", step + 1, steps)
    with torch.no_grad():  # of the features as they are
        weight = projection.weight / scale
        projection.bias.sub_(weight @ mean)
        projection.weight.copy_(weight)
    return projection
