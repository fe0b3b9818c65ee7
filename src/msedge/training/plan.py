"""What each step of an epoch is shown: which images, which of them mirrored, whose edge views.

A plan is a function of the seed and the epoch's number alone. So every one of several processes
draws the same, and a run that goes on in the middle of an epoch passes over the steps that are
done and meets what it would have met.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from msedge.data.layouts import DOMAINS

_PHOTO = DOMAINS.index("photo")
_SEEDS_APART = 100_003  # a prime: no epoch of one seed is an epoch of the next
_SEEDS = 2**63


class BatchPlan(NamedTuple):
    """A batch, all processes together.

    Attributes:
        rows: ``(B,)`` int64, the images, as rows of the training set.
        mirrored: ``(B,)`` bool, which are turned from left to right, with their edge views.
        viewed: ``(V,)`` int64, positions in ``rows`` of the photos whose edge views are shown.
        kinds: ``(V,)`` int64, which kind of view each is.
    """

    rows: Tensor
    mirrored: Tensor
    viewed: Tensor
    kinds: Tensor


class Share(NamedTuple):
    """What one process shows its network of a batch: some of its images, then some of its views.

    Attributes:
        rows: ``(R,)`` int64, the images to read, as rows of the training set; those at the end
            are read for their views alone.
        mirrored: ``(R,)`` bool, which to turn from left to right.
        shown: how many of them are shown themselves.
        viewed: ``(W,)`` int64, positions in ``rows`` of the photos whose views are shown.
        kinds: ``(W,)`` int64, which kind of view each is.
    """

    rows: Tensor
    mirrored: Tensor
    shown: int
    viewed: Tensor
    kinds: Tensor


def plan_epoch(
    domains: Tensor,
    *,
    seed: int,
    epoch: int,
    batch_size: int,
    view_kinds: int,
    most_views: int,
) -> Iterator[BatchPlan]:
    """The batches of an epoch; what does not fill the last one is left out.

    Args:
        domains: ``(N,)`` int64, of the training set's images.
        seed: of the run.
        epoch: its number, from 1.
        batch_size: images a batch, of all processes together.
        view_kinds: how many kinds of edge views there are.
        most_views: edge views a batch, at most; 0 shows none.

    Yields:
        ``N // batch_size`` batches.

    Example:
        >>> plans = plan_epoch(
        ...     torch.ones(7), seed=0, epoch=1, batch_size=3, view_kinds=1, most_views=0
        ... )
        >>> [len(plan.rows) for plan in plans]
        [3, 3]
    """
    random = torch.Generator().manual_seed((seed * _SEEDS_APART + epoch) % _SEEDS)
    # As torch's DataLoader draws: a seed for workers, a seed for the order, then what the batches
    # need. Runs of earlier versions, which used it, are repeated so.
    for_workers, for_order = (
        int(torch.empty((), dtype=torch.int64).random_(generator=random)) for _ in range(2)
    )
    del for_workers
    order = torch.randperm(len(domains), generator=torch.Generator().manual_seed(for_order))
    for start in range(0, len(order) - batch_size + 1, batch_size):
        rows = order[start : start + batch_size]
        viewed = torch.nonzero(domains[rows] == _PHOTO)[:most_views, 0]
        mirrored = torch.rand(batch_size, generator=random) < 0.5
        kinds = torch.zeros(len(viewed), dtype=torch.int64)
        if view_kinds > 1:
            kinds = torch.randint(view_kinds, (len(viewed),), generator=random)
        yield BatchPlan(rows, mirrored, viewed, kinds)


def take_share(plan: BatchPlan, positions: Tensor) -> Share:
    """A process's share of a batch.

    Args:
        plan: the batch.
        positions: ``(P,)`` int64, rising, positions in the batch's ``B`` images followed by its
            ``V`` views.

    Example:
        >>> plan = BatchPlan(
        ...     torch.tensor([7, 8, 9]), torch.tensor([True, False, False]),
        ...     torch.tensor([0, 2]), torch.tensor([0, 0]),
        ... )  # fmt: skip
        >>> share = take_share(plan, torch.tensor([0, 2, 4]))
        >>> share.rows.tolist(), share.shown, share.viewed.tolist()
        ([7, 9], 2, [1])
        >>> share = take_share(plan, torch.tensor([1, 3]))
        >>> share.rows.tolist(), share.shown, share.viewed.tolist()
        ([8, 7], 1, [1])
    """
    count = len(plan.rows)
    own, views = positions[positions < count], positions[positions >= count] - count
    photos = plan.viewed[views]
    place = torch.full((count,), -1)
    place[own] = torch.arange(len(own))
    besides = photos[place[photos] < 0]  # each photo has one view at most, so none comes twice
    place[besides] = len(own) + torch.arange(len(besides))
    read = torch.cat([own, besides])
    return Share(plan.rows[read], plan.mirrored[read], len(own), place[photos], plan.kinds[views])
