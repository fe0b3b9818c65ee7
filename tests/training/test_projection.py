"""A projection fitted anew: it tells classes apart, of both sides, and its network is whole."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from msedge.data.layouts import read_dataset
from msedge.errors import ConfigError
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.network import MSEdge
from msedge.training.projection import fit_projection, pooled_features, refit
from msedge.training.trainer import train


@pytest.fixture
def run(tiny_config, listener):
    """A trained network of 16 dimensions, with its card and dataset."""
    config = tiny_config(gallery_edges=0.3, frame_sketches=True)
    network, card = load_checkpoint(train(config, listener).files.model)
    return network, card, read_dataset(config.data_root, config.data_name)


def made(classes=6, each=20, width=12):
    """Features in which a class says little, in channels of unlike sizes, and much is its side."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat_interleave(each)
    is_photo = torch.arange(len(labels)) % 2 == 0
    meant = torch.randn(classes, width, generator=random)[labels]
    noise = 0.5 * torch.randn(len(labels), width, generator=random)
    sides = 3.0 * torch.randn(width, generator=random) * is_photo[:, None]
    return (meant + noise + sides) * torch.logspace(-2, 2, width) + 5, labels, is_photo


def found(vectors, labels, is_photo):
    """The share of sketches whose nearest photo is of their class."""
    units = functional.normalize(vectors, dim=1)
    nearest = (units[~is_photo] @ units[is_photo].T).argmax(dim=1)
    return (labels[is_photo][nearest] == labels[~is_photo]).float().mean().item()


class TestFit:
    def test_classes_are_told_apart_across_sides(self):
        features, labels, is_photo = made()
        projection = fit_projection(features, labels, is_photo, 8, steps=800)
        assert found(features, labels, is_photo) < 0.6
        assert found(projection(features), labels, is_photo) > 0.95

    def test_the_same_seed_gives_the_same_and_leaves_torchs_own_alone(self):
        state = torch.random.get_rng_state()
        first, again, other = (
            fit_projection(*made(), 4, steps=3, seed=seed).weight for seed in (1, 1, 2)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert torch.equal(state, torch.random.get_rng_state())

    @pytest.mark.parametrize("side", [True, False])
    def test_of_one_side_alone(self, side):
        features, labels, _ = made()
        projection = fit_projection(features, labels, torch.full(labels.shape, side), 4, steps=3)
        assert projection.weight.isfinite().all()

    def test_a_channel_that_never_moves(self):
        features, labels, is_photo = made()
        features[:, 3] = 7.0
        assert fit_projection(features, labels, is_photo, 4, steps=3).weight.isfinite().all()


class TestRefit:
    def test_the_card_tells_and_the_file_comes_back(self, run, tmp_path):
        network, card, dataset = run
        changed = refit(network, card, dataset, steps=20)
        assert (changed.dim, changed.pooling) == (32, "both")
        assert changed.metrics.keys() == card.metrics.keys()
        kept = {"dim": 16, "pooling": "max", "metrics": card.metrics}
        assert changed.model_copy(update=kept) == card
        save_checkpoint(tmp_path / "new.safetensors", network, changed)
        again, read = load_checkpoint(tmp_path / "new.safetensors")
        images = torch.rand(2, 3, card.image_size, card.image_size)
        with torch.inference_mode():
            assert read == changed
            torch.testing.assert_close(again(images), network(images))

    def test_both_projections_are_there_at_one_mean_length(self, run):
        network, card, dataset = run
        weight, bias = network.projection.weight.clone(), network.projection.bias.clone()
        refit(network, card, dataset, steps=20)
        features, _, _ = pooled_features(network, card, dataset.train)
        halves = network.projection(features).split(16, dim=1)
        lengths = [half.norm(dim=1).mean().item() for half in halves]
        assert lengths == pytest.approx([1.0, 1.0], abs=1e-4)
        before = features[:, : weight.shape[1]] @ weight.T + bias
        expected = before / before.norm(dim=1).mean()
        torch.testing.assert_close(halves[0], expected, atol=1e-4, rtol=1e-3)

    def test_a_second_time_is_refused(self, run):
        network, card, dataset = run
        changed = refit(network, card, dataset, steps=1)
        with pytest.raises(ConfigError, match="has a second projection already"):
            refit(network, changed, dataset, steps=1)

    def test_photos_are_read_at_each_size(self, run):
        network, card, dataset = run
        counts = {}
        for sizes in ((), (32,), (32, 64)):
            sized = card.model_copy(update={"photo_sizes": sizes})
            features, labels, is_photo = pooled_features(network, sized, dataset.train)
            assert len(features) == len(labels) == len(is_photo)
            counts[sizes] = (int((~is_photo).sum()), int(is_photo.sum()))
        assert counts == {(): (16, 16), (32,): (16, 16), (32, 64): (16, 32)}

    def test_tells_how_far_it_is(self, run):
        moves = []
        refit(*run, steps=2, progress=lambda *move: moves.append(move))
        assert [move for move in moves if move[1] == move[2]] == [
            ("training sketches", 16, 16),
            ("training photos", 16, 16),
            ("projection", 2, 2),
            ("unseen classes", 24, 24),
        ]


def test_pooled_by_both():
    """The greatest of each channel, then its mean; and one place stands for both."""
    network = MSEdge("test_resnet", dim=4, fusion="none", pooling="both").eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        stages = network.stages(images)
        pooled = network.pooled(stages)
        whole, places = network.with_places(images)
    channels = sum(stage.shape[1] for stage in stages)
    assert pooled.shape == (2, 2 * channels)
    torch.testing.assert_close(pooled[:, :channels], torch.cat([s.amax((2, 3)) for s in stages], 1))
    torch.testing.assert_close(pooled[:, channels:], torch.cat([s.mean((2, 3)) for s in stages], 1))
    torch.testing.assert_close(whole, network(images))
    rows = stages[-1].shape[2]
    one = torch.cat([functional.max_pool2d(s, s.shape[2] // rows)[:, :, 0, 0] for s in stages], 1)
    expected = network.projection(torch.cat([one, one], 1))
    torch.testing.assert_close(places[:, :, 0, 0], expected)
