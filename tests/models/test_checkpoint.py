"""Checkpoints: what is written comes back, and anything else is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import cards
from msedge.errors import DataError, WeightsError
from msedge.models import checkpoint
from msedge.models.card import FORMAT, read_card
from msedge.models.checkpoint import load_checkpoint, save_checkpoint
from msedge.models.network import MSEdge

CARD = cards.CARD.model_copy(
    update={
        "image_size": 64,
        "convention": "map-all",
        "metrics": {"mAP@all": 12.345678901234567},
        "licence": "Apache-2.0; of naïve drawings ✎",
    }
)


def network(fusion: str = "edge", seed: int = 0) -> MSEdge:
    torch.manual_seed(seed)
    built = MSEdge("test_resnet", dim=8, fusion=fusion, image_size=64)
    built(torch.rand(4, 3, 64, 64))  # so that the batch statistics are its own
    return built.eval()


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "best.safetensors"
    save_checkpoint(path, network(), CARD)
    return path


def rewrite(path: Path, *, tensors=None, **metadata: str | None) -> None:
    """Write the checkpoint again with other tensors, or with other metadata (None takes it out)."""
    kept = {"format": FORMAT, "card": CARD.model_dump_json()} | metadata
    kept = {key: value for key, value in kept.items() if value is not None}
    save_file(load_file(path) if tensors is None else tensors, path, kept)


def card_with(**changes: object) -> str:
    return json.dumps(json.loads(CARD.model_dump_json()) | changes)


class TestSmoke:
    def test_the_card_comes_back(self, saved):
        assert read_card(saved) == CARD

    def test_a_card_without_a_protocol(self, tmp_path):
        card = CARD.model_copy(update={"protocol": None, "metrics": {}})
        save_checkpoint(tmp_path / "own.safetensors", network(), card)
        assert read_card(tmp_path / "own.safetensors") == card

    def test_makes_the_folder(self, tmp_path):
        path = tmp_path / "runs" / "first" / "best.safetensors"
        save_checkpoint(path, network(), CARD)
        assert [entry.name for entry in path.parent.iterdir()] == ["best.safetensors"]

    def test_reading_the_card_leaves_the_tensors_alone(self, saved, monkeypatch):
        monkeypatch.setattr(checkpoint, "load_file", lambda *_: pytest.fail("tensors were read"))
        assert read_card(saved) == CARD


class TestExceptions:
    @pytest.mark.parametrize("read", [read_card, load_checkpoint])
    @pytest.mark.parametrize("name", ["absent.safetensors", "."])
    def test_no_such_file(self, tmp_path, read, name):
        with pytest.raises(WeightsError, match=r"no checkpoint at .*; train one with msedge train"):
            read(tmp_path / name)

    @pytest.mark.parametrize("read", [read_card, load_checkpoint])
    @pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "pickle"])
    def test_a_damaged_file(self, saved, read, damage):
        content = saved.read_bytes()
        if damage == "pickle":
            torch.save(network().state_dict(), saved)
        else:
            kept = {"empty": b"", "garbage": b"\xff" * 100, "cut": content[: len(content) // 2]}
            saved.write_bytes(kept[damage])
        with pytest.raises(WeightsError, match="cannot be read as safetensors") as caught:
            read(saved)
        assert str(saved) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("written", [None, "pt"])
    def test_anothers_safetensors(self, saved, written):
        rewrite(saved, format=written)
        with pytest.raises(WeightsError, match="is not a checkpoint of MSEdge") as caught:
            load_checkpoint(saved)
        assert f"format {written!r}, expected {FORMAT!r}" in str(caught.value)

    @pytest.mark.parametrize(
        ("card", "where"),
        [
            (None, "the whole: Invalid JSON"),
            ("{", "the whole: Invalid JSON"),
            ("[]", "the whole: "),
            ("{}", "backbone: Field required"),
            (card_with(dim=0), "dim: Input should be greater than 0"),
            (card_with(epoch="three"), "epoch: Input should be a valid integer"),
            (card_with(mean=[0.5, 0.5]), r"mean\.2: Field required"),
            (card_with(surprise=1), "surprise: Extra inputs are not permitted"),
        ],
    )
    @pytest.mark.parametrize("read", [read_card, load_checkpoint])
    def test_a_damaged_card(self, saved, read, card, where):
        rewrite(saved, card=card)
        with pytest.raises(WeightsError, match=f"the card in .* is damaged: {where}") as caught:
            read(saved)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "changes", [{"dim": 9}, {"fusion": "none"}, {"fusion": "energy"}, {"backbone": "test_vit"}]
    )
    def test_tensors_that_do_not_fit_the_card(self, saved, changes):
        rewrite(saved, card=card_with(**changes))
        with pytest.raises(WeightsError, match=r"the tensors in .* do not fit its card") as caught:
            load_checkpoint(saved)
        assert "\n" not in str(caught.value)

    def test_a_missing_tensor(self, saved):
        tensors = load_file(saved)
        del tensors["projection.bias"]
        rewrite(saved, tensors=tensors)
        with pytest.raises(WeightsError, match=r"do not fit its card: .*projection\.bias"):
            load_checkpoint(saved)

    @pytest.mark.parametrize("changes", [{"fusion": "sum"}, {"backbone": "test_renset"}])
    def test_a_card_that_names_no_network(self, saved, changes):
        rewrite(saved, card=card_with(**changes))
        with pytest.raises(WeightsError, match="names no network of ours: ") as caught:
            load_checkpoint(saved)
        assert str(saved) in str(caught.value)

    def test_a_failing_save_leaves_the_old_file(self, saved, monkeypatch):
        before = saved.read_bytes()

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoint, "save", fail)
        with pytest.raises(DataError, match="No space left"):
            save_checkpoint(saved, network(seed=1), CARD)
        assert saved.read_bytes() == before
        assert list(saved.parent.iterdir()) == [saved]

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(DataError, match=r"cannot write .*; choose a folder"):
            save_checkpoint(tmp_path / "file" / "best.safetensors", network(), CARD)


class TestNumbers:
    @pytest.mark.parametrize("fusion", ["none", "edge", "energy"])
    def test_embeddings_come_back_bit_for_bit(self, tmp_path, fusion):
        path, written = tmp_path / "best.safetensors", network(fusion)
        save_checkpoint(path, written, CARD.model_copy(update={"fusion": fusion}))
        torch.manual_seed(1)
        read, card = load_checkpoint(path)
        assert card.fusion == fusion
        assert not read.training
        images = torch.rand(3, 3, 64, 64)
        assert torch.equal(read(images), written(images))

    def test_every_tensor_comes_back(self, saved):
        tensors, expected = load_file(saved), network().state_dict()
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], expected[name]) for name in expected)

    def test_tensors_out_of_order_in_memory_are_written_too(self, tmp_path):
        built = network().to(memory_format=torch.channels_last)
        save_checkpoint(tmp_path / "best.safetensors", built, CARD)
        read, _ = load_checkpoint(tmp_path / "best.safetensors")
        expected = network().state_dict()
        assert all(torch.equal(t, expected[name]) for name, t in read.state_dict().items())

    def test_a_new_save_takes_the_place_of_the_old(self, saved):
        save_checkpoint(saved, network(seed=1), CARD.model_copy(update={"epoch": 4}))
        read, card = load_checkpoint(saved)
        assert card.epoch == 4
        expected = network(seed=1).projection.weight
        assert torch.equal(read.projection.weight, expected)


class TestHalf:
    def test_floats_are_rounded_and_counts_kept(self, tmp_path):
        path = tmp_path / "half.safetensors"
        save_checkpoint(path, network(), CARD, half=True)
        written, whole = load_file(path), network().state_dict()
        assert written.keys() == whole.keys()
        assert {tensor.dtype for tensor in written.values()} == {torch.float16, torch.int64}
        for name, tensor in whole.items():
            assert torch.equal(
                written[name], tensor.half() if tensor.is_floating_point() else tensor
            )
        assert read_card(path) == CARD

    def test_it_is_read_as_float32(self, tmp_path):
        path, whole = tmp_path / "half.safetensors", network()
        save_checkpoint(path, whole, CARD, half=True)
        read, _ = load_checkpoint(path)
        assert {tensor.dtype for tensor in read.state_dict().values()} == {
            torch.float32, torch.int64,
        }  # fmt: skip
        assert torch.equal(read.projection.weight, whole.projection.weight.half().float())
        images = torch.rand(3, 3, 64, 64)
        difference = (read(images) - whole(images)).norm(dim=1).max()
        assert 0 < difference < 1e-2

    @pytest.mark.parametrize("value", [70_000.0, -70_000.0, float("nan")])
    def test_what_does_not_fit_is_refused(self, saved, value):
        before, large = saved.read_bytes(), network()
        large.projection.bias.data[3] = value
        with pytest.raises(WeightsError, match=r"projection\.bias does not fit into float16"):
            save_checkpoint(saved, large, CARD, half=True)
        assert saved.read_bytes() == before
