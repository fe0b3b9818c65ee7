"""What an epoch shows: repeatable, whole, and the same however many processes share it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from msedge.training.plan import BatchPlan, plan_compositions, plan_epoch, take_share
from msedge.training.processes import Processes


def plans(domains: Tensor, **changes) -> list[BatchPlan]:
    settings = {"seed": 0, "epoch": 1, "batch_size": 4, "view_kinds": 1, "most_views": 0}
    return list(plan_epoch(domains, **(settings | changes)))


def same(one: list[BatchPlan], other: list[BatchPlan]) -> bool:
    """Every tensor of every batch."""
    if len(one) != len(other):
        return False
    return all(
        torch.equal(a, b)
        for batch, twin in zip(one, other, strict=True)
        for a, b in zip(batch, twin, strict=True)
    )


def old_draws(count: int, *, seed: int, epoch: int, batch_size: int) -> list[tuple[Tensor, Tensor]]:
    """Rows and mirroring as versions before this one drew them, through torch's DataLoader."""
    data = list(range(count))
    torch.manual_seed(seed * 100_003 + epoch)
    loader = DataLoader(
        data, batch_size, sampler=RandomSampler(data), drop_last=True, num_workers=0
    )
    return [(rows, torch.rand(batch_size) < 0.5) for rows in loader]


DOMAINS = st.lists(st.integers(0, 1), min_size=1, max_size=40).map(torch.tensor)
SEEDS = st.integers(0, 10**6)
ORDER = [[14, 11, 6, 1], [8, 3, 9, 5], [10, 2, 4, 0], [15, 12, 7, 13]]
MIRRORED = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0]]


class TestSmoke:
    def test_an_epoch_of_full_batches(self):
        batches = plans(torch.ones(11, dtype=torch.int64))
        assert [len(batch.rows) for batch in batches] == [4, 4]

    def test_too_few_for_a_batch(self):
        assert plans(torch.ones(3, dtype=torch.int64)) == []

    def test_without_views(self):
        for batch in plans(torch.ones(8, dtype=torch.int64)):
            assert (len(batch.viewed), len(batch.kinds)) == (0, 0)


class TestRandomness:
    @given(DOMAINS, SEEDS, st.integers(1, 99))
    def test_a_function_of_seed_and_epoch(self, domains, seed, epoch):
        settings = {"seed": seed, "epoch": epoch, "view_kinds": 3, "most_views": 2}
        before = plans(domains, **settings)
        torch.rand(7)
        assert same(before, plans(domains, **settings))

    def test_leaves_the_global_generator_alone(self):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        plans(torch.ones(40, dtype=torch.int64), view_kinds=3, most_views=2)
        assert torch.equal(torch.get_rng_state(), before)

    def test_epochs_and_seeds_differ(self):
        domains = torch.ones(32, dtype=torch.int64)
        orders = {
            tuple(torch.cat([batch.rows for batch in plans(domains, seed=seed, epoch=epoch)]))
            for seed in range(3)
            for epoch in range(1, 4)
        }
        mirrored = {
            tuple(plans(domains, seed=seed, epoch=epoch, batch_size=32)[0].mirrored.tolist())
            for seed in range(3)
            for epoch in range(1, 4)
        }
        assert (len(orders), len(mirrored)) == (9, 9)

    def test_half_is_mirrored_and_kinds_are_even(self):
        (batch,) = plans(
            torch.ones(9000, dtype=torch.int64), batch_size=9000, view_kinds=3, most_views=9000
        )
        assert batch.mirrored.float().mean().item() == pytest.approx(0.5, abs=0.02)
        shares = torch.bincount(batch.kinds) / 9000
        assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.02)

    @pytest.mark.parametrize("seed", [2**62, 2**63 - 1])
    def test_seeds_as_large_as_may_be(self, seed):
        assert len(plans(torch.ones(8, dtype=torch.int64), seed=seed)) == 2


class TestEarlierVersions:
    """Runs of versions that drew through a DataLoader are repeated."""

    @given(st.integers(4, 40), st.integers(0, 50), st.integers(1, 20), st.integers(2, 4))
    def test_draws_what_a_data_loader_drew(self, count, seed, epoch, batch_size):
        domains = torch.zeros(count, dtype=torch.int64)
        now = plans(domains, seed=seed, epoch=epoch, batch_size=batch_size)
        before = old_draws(count, seed=seed, epoch=epoch, batch_size=batch_size)
        assert len(now) == len(before)
        for batch, (rows, mirrored) in zip(now, before, strict=True):
            assert torch.equal(batch.rows, rows)
            assert torch.equal(batch.mirrored, mirrored)

    def test_stays_as_it_was(self):
        """Frozen, so that a PyTorch that draws otherwise is noticed."""
        batches = plans(torch.zeros(16, dtype=torch.int64), seed=0, epoch=1)
        assert [batch.rows.tolist() for batch in batches] == ORDER
        assert [batch.mirrored.int().tolist() for batch in batches] == MIRRORED
        drawn = old_draws(16, seed=0, epoch=1, batch_size=4)
        assert [rows.tolist() for rows, _ in drawn] == ORDER
        assert [mirrored.int().tolist() for _, mirrored in drawn] == MIRRORED

    @given(DOMAINS.filter(lambda domains: len(domains) >= 4), SEEDS)
    def test_kinds_are_drawn_after_the_mirroring_of_each_batch(self, domains, seed):
        now = plans(domains, seed=seed, view_kinds=3, most_views=2)
        torch.manual_seed(seed * 100_003 + 1)
        data = list(range(len(domains)))
        loader = DataLoader(data, 4, sampler=RandomSampler(data), drop_last=True, num_workers=0)
        for batch, rows in zip(now, loader, strict=True):
            assert torch.equal(batch.mirrored, torch.rand(4) < 0.5)
            viewed = torch.nonzero(domains[rows] == 1)[:2, 0]
            assert torch.equal(batch.viewed, viewed)
            assert torch.equal(batch.kinds, torch.randint(3, (len(viewed),)))


class TestViews:
    @given(DOMAINS, st.integers(0, 5), st.integers(1, 3), SEEDS)
    def test_are_of_the_first_photos_of_a_batch(self, domains, most, kinds, seed):
        for batch in plans(domains, seed=seed, view_kinds=kinds, most_views=most):
            photos = [place for place, row in enumerate(batch.rows) if domains[row] == 1]
            assert batch.viewed.tolist() == photos[:most]
            assert len(batch.kinds) == len(batch.viewed)
            assert all(0 <= kind < kinds for kind in batch.kinds.tolist())

    def test_sketches_have_none(self):
        (batch,) = plans(torch.zeros(4, dtype=torch.int64), most_views=4)
        assert len(batch.viewed) == 0


class TestCompositions:
    @given(SEEDS, st.integers(1, 99))
    def test_a_function_of_seed_and_epoch(self, seed, epoch):
        settings = {"seed": seed, "epoch": epoch, "steps": 2, "count": 3}
        made = plan_compositions(torch.ones(9), **settings)
        torch.rand(7)
        assert same(made, plan_compositions(torch.ones(9), **settings))

    def test_epochs_and_seeds_differ(self):
        drawn = {
            tuple(plan_compositions(torch.ones(99), seed=s, epoch=e, steps=1, count=2)[0].rows[0])
            for s in range(3)
            for e in range(1, 4)
        }
        assert len(drawn) == 9

    def test_are_made_of_photos_half_of_them_mosaics(self):
        domains = torch.arange(3000) % 3 % 2  # every third is a photo
        (made,) = plan_compositions(domains, seed=0, epoch=1, steps=1, count=4000)
        assert set(domains[made.rows.flatten()].tolist()) == {1}
        counts = {s: (made.shares == s).float().mean().item() for s in (0, 1, 0.6, 0.4, 0.25)}
        assert counts == pytest.approx(
            {0: 1 / 2, 1: 1 / 8, 0.6: 1 / 8, 0.4: 1 / 8, 0.25: 1 / 8}, abs=0.02
        )
        assert made.places.min() >= 0
        assert made.places.max() < 1

    def test_quarters_are_what_can_be_found(self):
        (made,) = plan_compositions(torch.ones(10_000), seed=0, epoch=1, steps=1, count=400)
        for rows, share in zip(made.rows.tolist(), made.shares.tolist(), strict=True):
            if share == 0:
                assert len(set(rows)) == 4
            elif share == 1:
                assert len(set(rows)) == 1
            else:
                assert rows[0] == rows[1] != rows[2] == rows[3]


class TestShares:
    @given(DOMAINS, SEEDS, st.integers(1, 5), st.integers(2, 12), st.integers(0, 12))
    def test_together_show_everything_once(self, domains, seed, count, batch_size, most):
        batches = plans(domains, seed=seed, batch_size=batch_size, view_kinds=3, most_views=most)
        for batch in batches:
            whole = len(batch.rows) + len(batch.viewed)
            shown: list[tuple[int, ...] | None] = [None] * whole
            for rank in range(count):
                positions = Processes(rank, count).share(whole)
                for position, said in zip(positions, self.said(batch, positions), strict=True):
                    assert shown[position] is None
                    shown[position] = said
            rows, mirrored = batch.rows.tolist(), batch.mirrored.tolist()
            images = list(zip(rows, mirrored, strict=True))
            viewed = zip(batch.viewed.tolist(), batch.kinds.tolist(), strict=True)
            assert shown == images + [(*images[place], kind) for place, kind in viewed]

    @staticmethod
    def said(batch: BatchPlan, positions: Tensor) -> list[tuple[int, ...]]:
        """Row and mirroring of each image that a share shows, and the kind too of each view."""
        share = take_share(batch, positions)
        read = list(zip(share.rows.tolist(), share.mirrored.tolist(), strict=True))
        assert len(set(share.rows.tolist())) == len(read)  # nothing is read twice
        views = zip(share.viewed.tolist(), share.kinds.tolist(), strict=True)
        return read[: share.shown] + [(*read[place], kind) for place, kind in views]

    @given(DOMAINS, SEEDS)
    def test_of_one_process_is_the_plan(self, domains, seed):
        for batch in plans(domains, seed=seed, view_kinds=3, most_views=2):
            share = take_share(batch, torch.arange(len(batch.rows) + len(batch.viewed)))
            assert share.shown == len(batch.rows)
            assert torch.equal(share.rows, batch.rows)
            assert torch.equal(share.mirrored, batch.mirrored)
            assert torch.equal(share.viewed, batch.viewed)
            assert torch.equal(share.kinds, batch.kinds)

    def test_of_nothing(self):
        (batch,) = plans(torch.ones(4, dtype=torch.int64), most_views=1)
        share = take_share(batch, torch.arange(0))
        assert (len(share.rows), share.shown, len(share.viewed)) == (0, 0, 0)

    def test_reads_no_photo_that_it_does_not_need(self):
        (batch,) = plans(torch.ones(4, dtype=torch.int64), most_views=4)
        share = take_share(batch, torch.tensor([0, 4, 6]))  # an image, its view, another's view
        assert share.rows.tolist() == [batch.rows[0], batch.rows[2]]
        assert (share.shown, share.viewed.tolist()) == (1, [0, 1])
