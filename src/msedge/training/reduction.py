"""A trained network with a narrower embedding, for small files and galleries.

A network trained wide retrieves better than one trained narrow, and most of a wide embedding's
energy lies in few directions. The projection is turned so that only these remain: a truncated
singular value decomposition of the training images' vectors (Eckart and Young, Psychometrika
1936), which keeps their inner products best. No mean is subtracted, so that cosines stay cosines.
``docs/results.md`` has what it costs; tested in ``tests/training/test_reduction.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from msedge.data.datasets import ImageSet
from msedge.data.layouts import Dataset, Split
from msedge.data.vectors import Vectors
from msedge.errors import ConfigError
from msedge.models.card import Card
from msedge.models.network import MSEdge
from msedge.training.embedding import embed, in_percent, judge

Progress = Callable[[str, int, int], None]

_MOST_IMAGES = 4000  # of the training set, evenly taken; many more than there are directions


def reduce_dim(
    network: MSEdge, card: Card, dataset: Dataset, dim: int, progress: Progress | None = None
) -> Card:
    """Narrow a network's embedding in place, and judge it anew.

    The directions are found on the training classes alone; the metrics are those of the unseen
    ones, as after training.

    Args:
        network: on the CPU.
        card: of the network.
        dataset: what it was trained and judged on.
        dim: the new width.
        progress: called with what is embedded, images done, and images in all.

    Returns:
        The card of the narrowed network.

    Raises:
        ConfigError: ``dim`` is not below the network's, or there are fewer images than that.
        DataError: an image cannot be read.
    """
    if not 1 <= dim < card.dim:
        raise ConfigError(
            f"the embedding has {card.dim} dimensions; reduce it to between 1 and {card.dim - 1}, "
            f"not to {dim}"
        )
    step = -(-len(dataset.train.records) // _MOST_IMAGES)
    seen = Split(dataset.train.records[::step], dataset.train.classes)
    found = embed_split(network, card, seen, "training classes", progress).embeddings
    _turn(network, principal_directions(found, dim))
    vectors = embed_split(network, card, dataset.val, "unseen classes", progress)
    return card.model_copy(update={"dim": dim, "metrics": in_percent(judge(vectors))})


def principal_directions(embeddings: npt.NDArray[np.floating], dim: int) -> npt.NDArray[np.float64]:
    """The directions that hold most of the energy of some vectors.

    Args:
        embeddings: ``(N, D)``.
        dim: how many directions, at most ``D`` and at most ``N``.

    Returns:
        ``(dim, D)``, orthonormal rows, the strongest first.

    Raises:
        ConfigError: there are fewer vectors than directions.

    Example:
        >>> principal_directions(np.array([[3.0, 0.0], [0.0, 1.0]]), 1).round(3).tolist()
        [[1.0, 0.0]]
    """
    if len(embeddings) < dim:
        raise ConfigError(
            f"{len(embeddings)} images cannot show {dim} directions; give at least as many images"
        )
    matrix = embeddings.astype(np.float64)
    _, vectors = np.linalg.eigh(matrix.T @ matrix)
    strongest = vectors[:, ::-1][:, :dim].T
    largest = strongest[np.arange(dim), np.abs(strongest).argmax(axis=1)]
    return np.ascontiguousarray(strongest * np.sign(largest)[:, None])  # signs by no chance


def _turn(network: MSEdge, directions: npt.NDArray[np.float64]) -> None:
    old, turn = network.projection, torch.from_numpy(directions)
    new = nn.Linear(old.in_features, len(turn))
    with torch.no_grad():
        new.weight.copy_(turn @ old.weight.double())
        new.bias.copy_(turn @ old.bias.double())
    network.projection = new


def embed_split(
    network: nn.Module, card: Card, split: Split, what: str, progress: Progress | None
) -> Vectors:
    """The vectors of a split's images, read as the card says.

    Args:
        network: maps ``(B, 3, S, S)`` in [0, 1] to ``(B, D)``, on the CPU.
        card: of the network.
        split: whose images are read.
        what: what they are called where ``progress`` tells of them.
        progress: called with that, images done, and images in all.
    """
    images = ImageSet(
        split.records,
        split.classes,
        size=card.image_size,
        frame_sketches=card.frame_sketches,
    )

    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress(what, done, total)

    return embed(
        network,
        images,
        device=torch.device("cpu"),
        edge_weight=card.gallery_edges,
        photo_sizes=card.photo_sizes,
        progress=tell,
    )
