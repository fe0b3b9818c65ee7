"""Narrower embeddings: what is kept, what is judged, and that inner products survive."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from msedge.data.layouts import read_dataset
from msedge.errors import ConfigError
from msedge.models.checkpoint import load_checkpoint
from msedge.training.reduction import principal_directions, reduce_dim
from msedge.training.trainer import train


@pytest.fixture
def run(tiny_config, listener):
    """A trained network of 16 dimensions, with its card and dataset."""
    config = tiny_config(gallery_edges=0.3, frame_sketches=True)
    network, card = load_checkpoint(train(config, listener).files.model)
    return network, card, read_dataset(config.data_root, config.data_name)


class TestReduceDim:
    def test_the_card_tells_the_new_width_and_its_own_metrics(self, run):
        network, card, dataset = run
        reduced = reduce_dim(network, card, dataset, 2)
        assert (reduced.dim, network.projection.out_features) == (2, 2)
        assert reduced.metrics.keys() == card.metrics.keys()
        assert reduced.metrics != card.metrics  # two directions of sixteen lose something
        assert reduced.model_copy(update={"dim": 16, "metrics": card.metrics}) == card

    def test_leaving_out_nothing_that_matters_keeps_the_cosines(self, run):
        network, card, dataset = run
        images = torch.rand(6, 3, card.image_size, card.image_size)
        with torch.inference_mode():
            before = network(images)
            reduced = reduce_dim(network, card, dataset, 15)
            after = network(images)
        assert_allclose(before @ before.T, after @ after.T, atol=5e-3)
        assert reduced.metrics["mAP@all"] == pytest.approx(card.metrics["mAP@all"], abs=2.0)

    def test_tells_how_far_it_is(self, run):
        moves = []
        reduce_dim(*run, 4, lambda *move: moves.append(move))
        assert [move for move in moves if move[1] == move[2]] == [
            ("training classes", 32, 32),
            ("unseen classes", 24, 24),
        ]

    @pytest.mark.parametrize("dim", [0, 16, 17])
    def test_a_width_that_is_no_reduction(self, run, dim):
        with pytest.raises(ConfigError, match=f"between 1 and 15, not to {dim}"):
            reduce_dim(*run, dim)


class TestPrincipalDirections:
    def test_are_those_of_a_singular_value_decomposition(self):
        vectors = np.random.default_rng(0).standard_normal((40, 6)) * [5, 4, 3, 2, 1, 0.5]
        found = principal_directions(vectors, 3)
        expected = np.linalg.svd(vectors, full_matrices=False)[2][:3]
        assert_allclose(np.abs(np.sum(found * expected, axis=1)), 1.0, atol=1e-9)
        assert_allclose(found @ found.T, np.eye(3), atol=1e-12)

    def test_too_few_vectors(self):
        with pytest.raises(ConfigError, match="3 images cannot show 4 directions"):
            principal_directions(np.eye(3, 8), 4)
