"""The model card: what a checkpoint says of itself, and how it is read without its tensors.

The weights never travel without what is needed to use them: backbone, width, input size, mean and
deviation, what they were trained and judged on, and what they are for. The last part follows
"Model Cards for Model Reporting" (Mitchell et al., FAT* 2019). Reading a card needs no PyTorch.
Tested in ``tests/models/test_card.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError, safe_open

from msedge.errors import WeightsError
from msedge.quoting import named, plain, quoted

FORMAT = "msedge-checkpoint-1"
_FORMATS = re.compile(r"msedge-checkpoint-\d{1,9}", re.ASCII)

MAX_CHARACTERS = 1_000_000
"""Of a card; those of ours have a few thousand."""

Deviation = Annotated[FiniteFloat, Field(gt=0)]
Precision = Literal["float32", "float16", "int8"]


class DataSource(BaseModel):
    """Images that went into a model, and their terms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="what the source is called")
    what: str = Field(min_length=1, description="what of it was used, and what for")
    licence: str = Field(min_length=1, description="its terms, or that they are not known")


class Card(BaseModel):
    """What a checkpoint says of itself."""

    # A metric that is no number comes back as it was, where JSON's null would not.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    name: str = Field("", description="what the model is called; empty until it is given a name")
    backbone: str = Field(description="timm's name of the backbone")
    dim: int = Field(gt=0, le=65_536, description="width of the embedding")
    fusion: str = Field(description="none, edge or energy")
    pooling: Literal["max", "both"] = Field("max", description="max, or both: the mean as well")
    image_size: int = Field(gt=0, le=2_048, description="pixels on a side that it was trained with")
    photo_sizes: tuple[Annotated[int, Field(ge=32, le=2_048)], ...] = Field(
        (),
        max_length=4,
        description="sides of squares with as many pixels as photos are read at in their own "
        "shape, their vectors averaged; none: squashed to the square of image_size",
    )
    frame_sketches: bool = Field(
        False, description="whether drawings are cut out of their sheets, see data/sketches.py"
    )
    gallery_edges: float = Field(
        0.0,
        ge=0,
        allow_inf_nan=False,
        description="how much of its edge view's vector is added to a photo's",
    )
    precision: Precision = Field(
        "float32", description="what an exported ONNX file's weights were rounded to"
    )
    prompts: int = Field(0, ge=0, le=4_096, description="learned tokens that the backbone reads")
    adapt: str = Field(
        "full", description="what of the backbone learnt; see msedge.models.adaptation"
    )
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = Field(
        description="input mean, RGB in [0, 1]; applied inside"
    )
    std: tuple[Deviation, Deviation, Deviation] = Field(
        description="input deviation; applied inside"
    )
    dataset: str = Field(description="name of the dataset that it was trained on")
    protocol: str | None = Field(description="the zero-shot split, where the dataset names one")
    loss: str = Field(description="the metric loss of its training")
    seed: int = Field(ge=-(2**63), lt=2**63)
    epoch: int = Field(
        ge=0, lt=2**63, description="the epoch whose weights these are; 0 is before training"
    )
    steps: int | None = Field(None, ge=0, lt=2**63, description="updates of the weights until then")
    selection: str = Field(description="how that epoch was chosen")
    selected_on_test_classes: bool = Field(description="true means that the metrics are inflated")
    convention: str = Field(description="definition of AP@k and P@k, see docs/results.md")
    metrics: dict[str, float] = Field(description="on the unseen classes, in percent")
    judged_on: str = Field("", description="the queries and the gallery behind the metrics")
    data_fingerprint: str = Field(description="SHA-256 over the files' names and sizes")
    trained_classes: int = Field(ge=0, lt=2**63, description="classes that training saw")
    sketched_classes: int | None = Field(
        None, ge=0, lt=2**63, description="those of them whose sketches it saw, where that is noted"
    )
    data: tuple[DataSource, ...] = Field((), description="the images behind the weights")
    intended_use: str = Field("", description="what the model is for, and for whom")
    limits: str = Field("", description="where it fails, and what it must not be used for")
    licence: str = Field(description="terms of these weights")
    version: str = Field(description="version of MSEdge that wrote this")


def read_card(path: Path) -> Card:
    """The card of a checkpoint, without its tensors.

    Raises:
        WeightsError: there is no such file, or it is not a checkpoint of ours.
    """
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {named(path)}; train one with msedge train")
    try:
        with safe_open(path, framework="np") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{named(path)} cannot be read as safetensors ({plain(error)})"
        ) from error
    return card_of(metadata, path)


def card_of(metadata: Mapping[str, str], path: Path) -> Card:
    """The card in a file's metadata, a checkpoint's or an exported ONNX file's.

    Args:
        metadata: the file's, with ``format`` and ``card``.
        path: the file, to name it in an error.

    Raises:
        WeightsError: the metadata are not of a file of ours, or the card is damaged.
    """
    found = metadata.get("format")
    if found is not None and found != FORMAT and _FORMATS.fullmatch(found):
        raise WeightsError(
            f"{named(path)} is of format {plain(found)}, and this release knows {FORMAT}: update "
            "msedge, or train again"
        )
    if found != FORMAT:
        raise WeightsError(
            f"{named(path)} is not a checkpoint of MSEdge (format {quoted(found)}, expected "
            f"{FORMAT!r}); for a backbone's weights use --weights"
        )
    text = metadata.get("card", "")
    if len(text) > MAX_CHARACTERS:
        raise WeightsError(
            f"the card in {named(path)} is damaged: it has more than {MAX_CHARACTERS:,} characters"
        )
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = plain(".".join(map(str, first["loc"]))) or "the whole"
        raise WeightsError(
            f"the card in {named(path)} is damaged: {where}: {plain(first['msg'])}"
        ) from error
