"""Everything that decides a run, in one value.

The descriptions of the fields are the help of the command line (``msedge.cli.options``), and the
resolved values are saved beside the weights, so a run can be read and repeated from its files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from msedge.data.protocols import fewest_judged
from msedge.errors import ConfigError
from msedge.quoting import named, plain, quoted
from msedge.written_files import read_written

SAMPLE = "sample"

MAX_BYTES = 65_536
"""Of a file of settings or a plan; PyYAML takes seconds for more, where it is nested."""

_MOST_NODES, _DEEPEST = 100_000, 50


def _precision(given: object) -> object:
    """YAML reads 32 as a number, and earlier versions called it 32-true."""
    return "32" if str(given) in ("32", "32-true") else given


class TrainConfig(BaseModel):
    """A training run. The defaults are the paper's, on a backbone that needs no hub."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    data_root: Path = Field(Path("data"), description="Datasets root path")
    data_name: str = Field(
        SAMPLE, description="Dataset name: sketchy, tuberlin, sample, or any prepared one"
    )
    min_val_photos: int | None = Field(
        None,
        ge=0,
        description="Judge only unseen classes with at least so many photos "
        "(default: 400 for tuberlin by a published protocol, 0 otherwise)",
    )
    skip_unreadable: bool = Field(
        False, description="List files that cannot be read and go on without them"
    )
    backbone: str = Field(
        "tf_efficientnet_lite0", description="Backbone type: resnet50, vgg16, or any timm name"
    )
    weights: str = Field(
        "imagenet", description="Where the backbone starts: imagenet, none, or a file of tensors"
    )
    dim: int = Field(512, gt=0, le=65_536, description="Projected embedding dim")
    fusion: Literal["none", "edge", "energy"] = Field(
        "edge", description="What guides each stage before pooling"
    )
    image_size: int = Field(224, ge=32, le=2_048, description="Pixels on a side")
    photo_sizes: tuple[Annotated[int, Field(ge=32, le=2_048)], ...] = Field(
        (),
        max_length=4,
        description="Judge and search photos in their own shape, at as many pixels as squares of "
        "these sides have, averaged; once for each side (default: squashed to image_size)",
    )
    loss: Literal["normalized_softmax", "proxy_anchor"] = Field(
        "normalized_softmax", description="Metric loss"
    )
    temperature: float = Field(0.05, gt=0, description="Of the loss normalized_softmax")
    learning_rate: float = Field(1e-5, gt=0, description="Of the backbone")
    head_learning_rate: float | None = Field(
        None, gt=0, description="Of fusion and projection (default: as the backbone)"
    )
    proxy_learning_rate: float = Field(1e-1, gt=0, description="Of the loss's class proxies")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine rises over 20 steps and then falls to nought"
    )
    weight_decay: float = Field(5e-4, ge=0, description="Adam's L2 penalty")
    batch_size: int = Field(
        64, ge=2, le=1_000_000, description="Number of images in each mini-batch"
    )
    epochs: int = Field(
        10, ge=1, le=1_000_000, description="Number of epochs over the model to train"
    )
    warmup: int = Field(
        2, ge=0, le=1_000_000, description="Number of first epochs with the backbone frozen"
    )
    frozen_blocks: int = Field(
        0, ge=0, description="Blocks at the backbone's input that stay as they are throughout"
    )
    adapt: Literal["full", "head", "norm", "lora", "prompts"] = Field(
        "full",
        description="What of the backbone learns: everything, nothing, its norms, low-rank "
        "additions to its attention, or prompt tokens with its norms",
    )
    lora_rank: int = Field(
        8, ge=1, le=1_000_000, description="Rank of the additions of --adapt lora"
    )
    prompt_tokens: int = Field(
        4, ge=1, le=1_000_000, description="How many tokens --adapt prompts learns"
    )
    cache_frozen: bool = Field(
        False, description="Keep what the frozen blocks say of each image; they run once"
    )
    frame_sketches: bool = Field(
        False, description="Cut every drawing out of its sheet, so that it fills the frame"
    )
    train_on: Literal["both", "photos"] = Field(
        "both", description="Sketches and photos, or photos alone, whose edge maps stand for them"
    )
    sketch_classes: int | None = Field(
        None,
        ge=0,
        description="Train on the sketches of so many classes alone, which the seed draws, and on "
        "the photos of all",
    )
    lone_classes: bool = Field(
        False, description="Train on classes with sketches alone or photos alone as well"
    )
    edge_views: float = Field(
        0.0, ge=0, description="Weight of photos' edge maps, embedded as pseudo-sketches"
    )
    edge_kind: Literal["sobel", "lines", "all"] = Field(
        "sobel", description="How a photo's edges are drawn in training; of several, one at random"
    )
    edge_view_share: float = Field(
        0.25, gt=0, le=1, description="Edge maps for each image of a batch, at most"
    )
    gallery_edges: float = Field(
        0.0, ge=0, description="Weight of a photo's edge map in its vector when it is searched"
    )
    composed: float = Field(
        0.0, ge=0, description="Weight of photos made of others: mosaics, and small ones pasted in"
    )
    composed_share: float = Field(
        0.1, gt=0, le=1, description="Photos made of others for each image of a batch"
    )
    composed_size: int = Field(
        320, ge=32, le=2_048, description="Pixels on a side of photos made of others"
    )
    distillation: float = Field(
        0.0, ge=0, description="Weight of the frozen ImageNet classifier's answers"
    )
    averaging: float = Field(
        0.0, ge=0, lt=1, description="Decay of the running mean of the weights; 0 uses the last"
    )
    select: Literal["seen", "last", "test"] = Field(
        "seen",
        description="Choose the checkpoint on classes held out from the seen ones, take the last, "
        "or choose on the test classes (the field's habit; inflates the figures)",
    )
    holdout: float = Field(
        0.1, gt=0, lt=1, description="Share of the seen classes held out for --select seen"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Of initialisation, order and augmentation")
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="What to compute on"
    )
    devices: int = Field(
        0, ge=0, description="Processes on this machine; 0: one for each GPU, or one on the CPU"
    )
    nodes: int = Field(1, ge=1, description="Machines, each started with the same command")
    strategy: Literal["auto", "ddp"] = Field("auto", description="How several processes train")
    precision: Annotated[Literal["32", "bf16-mixed", "16-mixed"], BeforeValidator(_precision)] = (
        Field("32", description="Number format of the training steps")
    )
    compile: bool = Field(False, description="Compile the network (torch.compile)")
    accumulate: int = Field(
        1,
        ge=1,
        le=1_000_000,
        description="Parts of a batch that are shown one after another, to save memory",
    )
    checkpoint_gradients: bool = Field(
        False, description="Compute the backbone twice instead of keeping it, to save memory"
    )
    cache: bool = Field(True, description="Keep decoded images in a file beside the data")
    cache_dir: Path | None = Field(
        None, description="Where they are kept (default: <data_root>/.msedge-cache)"
    )
    cache_gb: float = Field(4.0, ge=0, description="Keep up to so many gigabytes of them")
    keep_dir: Path | None = Field(
        None, description="Keep what frozen blocks and teacher say here, for other runs"
    )
    save_root: Path = Field(Path("result"), description="Result saved root path")
    save_minutes: float = Field(
        10.0, ge=0, description="Save the state so often within an epoch; 0 after every step"
    )
    resume: bool = Field(False, description="Go on from where a killed run stopped")
    overwrite: bool = Field(False, description="Replace the files of a run with other settings")
    tensorboard: bool = Field(False, description="Write the log for TensorBoard as well")
    profile: bool = Field(False, description="Trace some steps and say where their time went")

    @model_validator(mode="after")
    def _names_can_be_opened(self) -> TrainConfig:
        for name, value in self:
            if isinstance(value, str | Path) and "\0" in str(value):
                raise ValueError(f"{name} holds a null character, which no name can; remove it")
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> TrainConfig:
        if self.train_on == "photos" and not self.edge_views:
            raise ValueError("train_on: photos needs edge_views above 0, which stand for sketches")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be shown in {self.accumulate} equal parts; "
                "choose a multiple of accumulate"
            )
        return self

    @property
    def prefix(self) -> str:
        """How the names of the run's files begin: ``<data>_<backbone>_<dim>``."""
        return f"{self.data_name}_{self.backbone.replace('/', '-').replace(':', '-')}_{self.dim}"

    @property
    def val_photos_needed(self) -> int:
        """Photos that an unseen class needs in order to be judged.

        Where none is given, the protocol that the dataset notes decides.
        """
        if self.min_val_photos is not None:
            return self.min_val_photos
        from msedge.data.prepare import read_marker  # which reads images: not needed for --help

        noted = read_marker(self.data_root / self.data_name).get("protocol")
        return fewest_judged(self.data_name, noted)

    def what_decides(self) -> dict[str, Any]:
        """The values that decide a run's figures, without where it lies and what it runs on."""
        return self.model_dump(mode="json", exclude=set(_CIRCUMSTANCES))


_CIRCUMSTANCES = (
    "data_root",
    "save_root",
    "keep_dir",
    "resume",
    "overwrite",
    "skip_unreadable",
    "cache",
    "cache_dir",
    "cache_gb",
    "save_minutes",
    "tensorboard",
    "profile",
    # these move a figure by the rounding of floats alone
    "devices",
    "nodes",
    "strategy",
    "compile",
    "checkpoint_gradients",
)


def recorded_settings(recorded: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that decided a recorded run, as :meth:`TrainConfig.what_decides` names them now.

    A setting that there was not yet gets its default, which is what was done before it. Settings
    that cannot be read so are given back as they are, and none at all stay none.
    """
    if not recorded:
        return recorded
    try:
        return TrainConfig(**recorded).what_decides()
    except (ValidationError, TypeError):
        return recorded


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, by name, not yet checked. No code in it is ever run.

    Raises:
        ConfigError: there is no such file, it is larger than :data:`MAX_BYTES`, or it is not a
            mapping of names to values; or its aliases make more of it than can be meant.
    """
    name = named(path)
    try:
        text = read_written(path, MAX_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {name} ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"the configuration {name} is not YAML: {error}") from error
    try:
        loaded = _loaded(text)
    except RecursionError as error:
        raise ConfigError(f"the configuration {name} is nested too deep; write it flat") from error
    except Exception as error:  # PyYAML raises whatever a value that cannot be leads it to
        reason = plain(" ".join(str(error).split()), 400) or type(error).__name__
        raise ConfigError(f"the configuration {name} is not YAML: {reason}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"the configuration {name} must be lines of 'name: value'")
    return {key if isinstance(key, str) else quoted(key): value for key, value in loaded.items()}


class _Loader(yaml.SafeLoader):
    """PyYAML's, which for brackets within brackets takes time that grows with their square."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803
        if self.flow_level >= _DEEPEST:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)


def _loaded(text: str) -> object:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if _nodes(root, {}) > _MOST_NODES:
            raise ValueError(f"its aliases make more than {_MOST_NODES:,} values of it")
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node is once its aliases are written out; merged mappings among them."""
    if id(node) not in known:
        known[id(node)] = _MOST_NODES + 1  # what an alias to its own inside comes to
        held = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for each in held for part in (each if isinstance(each, tuple) else (each,))]
        known[id(node)] = 1 + sum(_nodes(part, known) for part in parts)
    return known[id(node)]


def resolve(*layers: Mapping[str, Any]) -> TrainConfig:
    """A configuration from layers of settings, later ones winning.

    Raises:
        ConfigError: a name is unknown or a value cannot be used; the first one is told.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged.update(layer)
    try:
        return TrainConfig(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(TrainConfig.model_fields)
            raise ConfigError(f"no setting is named {quoted(name)}; there are {known}") from error
        if not name:  # of several settings together
            raise ConfigError(first["msg"].removeprefix("Value error, ")) from error
        given = merged.get(name)
        told = plain(first["msg"], 300)
        raise ConfigError(f"{plain(name)}: {quoted(given)} cannot be used: {told}") from error
