"""The card of a checkpoint says what it is, whence it comes, and how it was chosen."""

from __future__ import annotations

import pytest
import torch
from lightning_fabric import Fabric

import msedge
from msedge.models.card import Card
from msedge.training.learner import Learner
from msedge.training.run_card import SELECTION, describe_checkpoint
from msedge.training.run_data import read_run_data
from msedge.training.run_files import EpochRow

ROW = EpochRow(3, 2.5, {"mAP@all": 12.5}, 0.25, 3.0)


@pytest.fixture
def describe(tiny_config, images):
    """The card after the third epoch of a run."""

    def card(**changes) -> Card:
        torch.manual_seed(0)
        config = tiny_config(epochs=4, **changes)
        data = read_run_data(config, say=lambda _: None, progress=lambda *_: None)
        learner = Learner(config, Fabric(accelerator="cpu"), images, None)
        return describe_checkpoint(config, ROW, data, learner)

    return card


def test_what_the_network_is(describe):
    card = describe(fusion="energy", dim=8, gallery_edges=0.5, frame_sketches=True)
    assert (card.backbone, card.dim, card.fusion) == ("test_efficientnet", 8, "energy")
    assert (card.image_size, card.frame_sketches, card.gallery_edges) == (32, True, 0.5)
    assert (card.adapt, card.version) == ("full", msedge.__version__)
    assert len(card.mean) == len(card.std) == 3


def test_prompts_that_it_has_learnt(describe):
    card = describe(backbone="test_vit3", adapt="prompts", prompt_tokens=2)
    assert (card.adapt, card.prompts) == ("prompts", 2)


def test_where_it_comes_from(describe):
    card = describe(seed=4)
    assert (card.dataset, card.protocol, card.seed) == ("tiny", None, 4)
    assert (card.epoch, card.steps, card.metrics) == (3, 3 * 4, ROW.metrics)
    assert len(card.data_fingerprint) == 64


@pytest.mark.parametrize(("changes", "count"), [({}, 4), ({"sketch_classes": 1}, 1)])
def test_how_many_classes_it_saw_drawn(describe, changes, count):
    card = describe(select="last", **changes)
    assert (card.trained_classes, card.sketched_classes) == (4, count)


@pytest.mark.parametrize("select", SELECTION)
def test_how_it_was_chosen(describe, select):
    card = describe(select=select)
    assert card.selection == SELECTION[select]
    assert card.selected_on_test_classes is (select == "test")
    assert card.trained_classes == (2 if select == "seen" else 4)
