"""How a network in training does: the vectors and figures of its judges."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from msedge.data.datasets import ImageSet
from msedge.data.layouts import read_dataset
from msedge.training import judging as module
from msedge.training.embedding import embed, in_percent, judge
from msedge.training.judging import Judge
from msedge.training.learner import Learner
from msedge.training.processes import Processes

CPU = torch.device("cpu")
Made = tuple[Judge, Learner, list[tuple[str, int, int]]]


@pytest.fixture
def unseen(tiny_root) -> ImageSet:
    split = read_dataset(tiny_root, "tiny").val
    return ImageSet(split.records, split.classes, size=32)


@pytest.fixture
def make(tiny_config, images) -> Callable[..., Made]:
    """A judge, its learner, and what is told."""

    def judge_of(**changes) -> Made:
        torch.manual_seed(0)
        config = tiny_config(**changes)
        learner = Learner(config, Fabric(accelerator="cpu"), images, None)
        moves: list[tuple[str, int, int]] = []
        made = Judge(
            config,
            learner,
            device=CPU,
            processes=Processes(),
            progress=lambda *move: moves.append(move),
        )
        return made, learner, moves

    return judge_of


class TestVectors:
    def test_are_those_of_the_network(self, make, unseen):
        made, learner, moves = make()
        found = made.vectors("unseen classes", unseen)
        expected = embed(learner.network, unseen, device=CPU)
        np.testing.assert_array_equal(found.embeddings, expected.embeddings)
        assert (found.classes, found.paths) == (expected.classes, expected.paths)
        assert moves == [("unseen classes", 24, 24)]

    def test_are_those_of_the_running_mean(self, make, unseen):
        made, learner, _ = make(averaging=0.9, warmup=0)
        list(learner.epoch(1))
        found = made.vectors("unseen classes", unseen).embeddings
        mean = embed(learner.judged(), unseen, device=CPU).embeddings
        last = embed(learner.network, unseen, device=CPU).embeddings
        np.testing.assert_array_equal(found, mean)
        assert not np.allclose(found, last, atol=1e-3)

    def test_change_as_it_learns(self, make, unseen):
        made, learner, _ = make(warmup=0)
        before = made.vectors("unseen classes", unseen).embeddings
        list(learner.epoch(1))
        assert not np.allclose(made.vectors("unseen classes", unseen).embeddings, before)

    def test_with_edge_views_of_photos(self, make, unseen):
        made, learner, _ = make(gallery_edges=0.5)
        found = made.vectors("unseen classes", unseen)
        expected = embed(learner.network, unseen, device=CPU, edge_weight=0.5)
        np.testing.assert_array_equal(found.embeddings, expected.embeddings)
        plain = embed(learner.network, unseen, device=CPU)
        sketches, photos = found.of("sketch"), found.of("photo")
        np.testing.assert_allclose(
            found.embeddings[sketches], plain.embeddings[sketches], atol=1e-6
        )
        assert not np.allclose(found.embeddings[photos], plain.embeddings[photos], atol=1e-3)


class TestFrozenBlocks:
    @pytest.mark.parametrize("edges", [0.0, 0.5])
    def test_run_once_for_each_set(self, make, unseen, images, monkeypatch, edges):
        kept: list[ImageSet] = []
        cache = module.FrozenCache

        def count(network, of, **options):
            kept.append(of)
            return cache(network, of, **options)

        monkeypatch.setattr(module, "FrozenCache", count)
        made, learner, _ = make(cache_frozen=True, frozen_blocks=2, gallery_edges=edges)
        for _ in range(2):
            found = made.vectors("unseen classes", unseen)
            made.vectors("held-out classes", images)
            expected = embed(learner.network, unseen, device=CPU, edge_weight=edges)
            np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=5e-3)
            list(learner.epoch(1))
        assert kept == [unseen, images]

    def test_are_not_kept_unless_asked_for(self, make, unseen, monkeypatch):
        monkeypatch.setattr(module, "FrozenCache", None)
        make(frozen_blocks=2)[0].vectors("unseen classes", unseen)


class TestFigures:
    def test_are_metrics_in_percent(self, make, unseen):
        made, _, moves = make()
        vectors = made.vectors("unseen classes", unseen)
        moves.clear()
        assert made.figures(vectors) == in_percent(judge(vectors))
        assert moves[-1] == ("ranking", 12, 12)
