"""``msedge models reduce`` and ``refit``: a run's checkpoint gets another projection."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from msedge.cli.app import app
from msedge.errors import DataError
from msedge.models.card import read_card
from msedge.models.checkpoint import load_checkpoint
from msedge.training.trainer import train


@pytest.fixture
def reduce(tiny_config, listener, tmp_path):
    config = tiny_config()
    checkpoint = train(config, listener).files.model

    def call(root=config.data_root, dim="8", how="reduce"):
        arguments = ["models", how, checkpoint, "--data-root", root]
        arguments += ["--dim", dim] if how == "reduce" else []
        arguments += ["--data-name", config.data_name, "--out", tmp_path / "narrow.safetensors"]
        return CliRunner().invoke(app, list(map(str, arguments)))

    return call


def test_writes_a_checkpoint(reduce, tmp_path):
    result = reduce()
    assert result.exit_code == 0, result.output
    network, card = load_checkpoint(tmp_path / "narrow.safetensors")
    assert (card.dim, network.projection.out_features) == (8, 8)
    assert "16 to 8 dimensions, mAP@all on unseen classes " in result.stdout
    assert f"{card.metrics['mAP@all']:.1f}" in result.stdout


def test_a_second_projection(reduce, tmp_path):
    result = reduce(how="refit")
    assert result.exit_code == 0, result.output
    network, card = load_checkpoint(tmp_path / "narrow.safetensors")
    assert (card.dim, card.pooling, network.projection.out_features) == (32, "both", 32)
    assert "16 to 32 dimensions, mAP@all on unseen classes " in result.stdout


@pytest.mark.parametrize("how", ["reduce", "refit"])
def test_other_data_than_its_run_s(reduce, tmp_path, tiny_root, how):
    root = shutil.copytree(tiny_root, tmp_path / "data")
    (root / "tiny" / "train" / "photo" / "train 0" / "0.png").unlink()
    result = reduce(root, how=how)
    assert isinstance(result.exception, DataError)
    assert "was trained on other files than those of" in str(result.exception)
    assert not (tmp_path / "narrow.safetensors").exists()


def test_the_card_s_own_width(reduce, tmp_path):
    result = reduce(dim="16")
    assert "between 1 and 15, not to 16" in str(result.exception)
    with pytest.raises(Exception, match="no checkpoint"):
        read_card(tmp_path / "narrow.safetensors")
