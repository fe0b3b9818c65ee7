"""What each step is shown: images, some mirrored, edge views, and photos made of others.

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
_PASTED_SHARES = (1.0, 0.6, 0.4, 0.25)  # of the side that a photo takes which is put into another


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


class Composition(NamedTuple):
    """Photos made of others, those of a batch; :func:`~msedge.data.transforms.compose` makes them.

    Attributes:
        rows: ``(C, 4)`` int64, the photos in each, as rows of the training set. Of a mosaic its
            four; else the one that is pasted, twice, and the one around it, twice; where nothing of
            that is seen, the pasted one alone. So each is a quarter of what there is to be found.
        shares: ``(C,)`` of the side that the pasted photo takes; 0 for a mosaic.
        places: ``(C, 2)`` in [0, 1), where it lies, from the left and from the top.
    """

    rows: Tensor
    shares: Tensor
    places: Tensor


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


def plan_compositions(
    domains: Tensor, *, seed: int, epoch: int, steps: int, count: int
) -> list[Composition]:
    """The photos made of others that each step of an epoch is shown: half of them mosaics.

    Args:
        domains: ``(N,)`` int64, of the training set's images; some must be photos.
        seed: of the run.
        epoch: its number, from 1.
        steps: how many the epoch has.
        count: how many a step is shown.

    Example:
        >>> plans = plan_compositions(torch.ones(7), seed=0, epoch=1, steps=2, count=3)
        >>> [tuple(plan.rows.shape) for plan in plans]
        [(3, 4), (3, 4)]
    """
    # Apart from the seeds of plan_epoch, whose draws stay what they were.
    random = torch.Generator().manual_seed((~(seed * _SEEDS_APART + epoch)) % _SEEDS)
    photos = torch.nonzero(domains == _PHOTO)[:, 0]
    kinds = torch.tensor([*_PASTED_SHARES, *(0.0 for _ in _PASTED_SHARES)])
    plans = []
    for _ in range(steps):
        rows = photos[torch.randint(len(photos), (count, 4), generator=random)]
        shares = kinds[torch.randint(len(kinds), (count,), generator=random)]
        pasted, alone = shares > 0, shares == 1
        rows[pasted] = rows[pasted][:, [0, 0, 3, 3]]
        rows[alone] = rows[alone][:, :1]
        plans.append(Composition(rows, shares, torch.rand(count, 2, generator=random)))
    return plans


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
