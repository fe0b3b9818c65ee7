"""The recipes for large pretrained networks can be read, and name what exists."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from msedge.models.adaptation import AdaptName
from msedge.models.backbones import timm
from msedge.training.config import TrainConfig, read_yaml, resolve

RECIPES = sorted((Path(__file__).parents[2] / "configs" / "recipes").glob("*.yaml"))


def test_there_are_recipes():
    assert [path.stem for path in RECIPES] == ["clip-vit-b32", "dinov2-vit-s14", "siglip-vit-b16"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
class TestRecipe:
    def test_can_be_read(self, path):
        settings = read_yaml(path)
        config = resolve(settings)
        assert {name: getattr(config, name) for name in settings} == settings

    def test_names_weights_that_timm_knows_where_to_find(self, path):
        name = str(read_yaml(path)["backbone"])
        assert name in timm.list_pretrained(name.split(".")[0])
        assert timm.get_pretrained_cfg(name).hf_hub_id

    def test_adapts_little_and_asks_no_classifier(self, path):
        config = resolve(read_yaml(path))
        assert config.adapt != "full"
        assert config.distillation == 0
        assert timm.get_pretrained_cfg(config.backbone).num_classes in (0, 512)  # CLIP: projection

    def test_image_size_is_whole_patches(self, path):
        config = resolve(read_yaml(path))
        patch = int(config.backbone.split("patch")[1].split("_")[0])
        assert config.image_size % patch == 0


def test_configuration_offers_the_ways_there_are():
    assert get_args(TrainConfig.model_fields["adapt"].annotation) == get_args(AdaptName)
