"""What a benchmark is to run, as its author writes it down in YAML.

Names and values of training settings are checked where they are put together (``cells.py``), since
only whole runs can be. Tested in ``tests/benchmark/test_plan.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from msedge.errors import ConfigError
from msedge.quoting import named, plain, quoted
from msedge.training.config import read_yaml

Settings = Annotated[dict[str, Any], BeforeValidator(lambda given: {} if given is None else given)]
"""Training settings by name; a name with nothing behind it has none."""

Axes = dict[str, Annotated[list[Any], Field(min_length=1)]]
"""Training settings, each with the values that it takes in turn."""

MOST_RUNS = 10_000
"""Of a plan; each takes minutes at least."""

_SHOWN = 60  # characters of a value that cannot be used


def _openable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("it holds a null character")
    return path


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetPlan(_Part):
    """A prepared dataset to train and judge on.

    Attributes:
        data_root: the folder that holds datasets, from where the benchmark is started.
        data_name: the dataset's folder in it.
        protocol: the id of the protocol that it must have been prepared by.
    """

    data_root: Path = Path("data")
    data_name: str = Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")
    protocol: str | None = None


class Block(_Part):
    """A part of the matrix with axes, variants and settings of its own, over the plan's."""

    settings: Settings = {}
    axes: Axes = {}
    variants: dict[str, Settings] = {}


class Plan(_Part):
    """A matrix of training runs: datasets x variants x axes x seeds, for each block.

    Attributes:
        name: of the benchmark, and of its folder.
        config: a YAML file of settings that come first, from where the plan lies.
        settings: of all runs.
        datasets: what is trained and judged on.
        seeds: of each run of a row; figures are means over them.
        axes: settings that take several values.
        variants: named sets of settings.
        blocks: parts of the matrix; without them the plan is one block.
        baselines: variants that the others are compared with; the figure shows the first.
        curve: an axis of numbers, along which the figure is drawn.
    """

    name: str = Field(pattern=r"^\w[\w .+-]*$")
    config: Annotated[Path, AfterValidator(_openable)] | None = None
    settings: Settings = {}
    datasets: list[DatasetPlan] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = Field(min_length=1)
    axes: Axes = {}
    variants: dict[str, Settings] = {}
    blocks: list[Block] = Field([Block()], min_length=1)
    baselines: list[str] = []
    curve: str | None = None


def read_plan(path: Path) -> Plan:
    """Read a plan; the settings of its ``config`` are read in :func:`~.cells.expand`.

    Args:
        path: the YAML file. ``config`` in it is made a path from the working directory.

    Raises:
        ConfigError: there is no such file, or an entry is unknown, missing or of the wrong kind;
            the message names the first one.
    """
    given = read_yaml(path)
    try:
        plan = Plan(**given)
    except ValidationError as error:
        raise ConfigError(f"{named(path)}: {_told(error)}") from error
    problem = _repeated(plan) or _too_many(plan) or _baseline_missing(plan) or _no_curve(plan)
    if problem:
        raise ConfigError(f"{named(path)}: {problem}")
    if plan.config is None:
        return plan
    return plan.model_copy(update={"config": path.parent / plan.config})


def entry(place: Sequence[str | int]) -> str:
    """A place in the plan as its author would write it.

    >>> entry(("blocks", 1, "axes", "dim"))
    'blocks[1].axes.dim'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return plain(text.removeprefix("."))


def shown(value: object) -> str:
    """A value for a message, on one line and not too long."""
    return quoted(value, _SHOWN)


def _told(error: ValidationError) -> str:
    first = error.errors()[0]
    place = entry(first["loc"])
    if first["type"] == "extra_forbidden":
        kinds: dict[str, type[_Part]] = {"blocks": Block, "datasets": DatasetPlan}
        kind = kinds.get(str(first["loc"][0]), Plan) if len(first["loc"]) > 1 else Plan
        return f"no entry is named {place!r}; there are {', '.join(kind.model_fields)}"
    if first["type"] == "missing":
        return f"{place} is missing; give it a value"
    if first["type"] == "string_pattern_mismatch":
        return f"{place}: {shown(first['input'])} cannot be the name of a folder; use plain words"
    return f"{place}: {shown(first['input'])} cannot be used: {plain(first['msg'])}"


def _repeated(plan: Plan) -> str | None:
    names = [dataset.data_name for dataset in plan.datasets]
    given: dict[str, list[str] | list[int]] = {
        "datasets": names,
        "seeds": plan.seeds,
        "baselines": plan.baselines,
    }
    for place, listed in given.items():
        twice = next((value for value, count in Counter[object](listed).items() if count > 1), None)
        if twice is not None:
            return f"{place}: {shown(twice)} stands there twice; keep one"
    return None


def _too_many(plan: Plan) -> str | None:
    rows = 0
    for block in plan.blocks:
        axes = {**plan.axes, **block.axes}.values()
        rows += max(1, len({**plan.variants, **block.variants})) * prod(map(len, axes))
    runs = rows * len(plan.seeds) * len(plan.datasets)
    if runs <= MOST_RUNS:
        return None
    return f"it holds {quoted(runs)} runs, and more than {MOST_RUNS:,} are no plan; take out values"


def _baseline_missing(plan: Plan) -> str | None:
    known = list(dict.fromkeys([*plan.variants, *(n for b in plan.blocks for n in b.variants)]))
    unknown = next((name for name in plan.baselines if name not in known), None)
    if unknown is None:
        return None
    there = f"there are {plain(', '.join(known))}" if known else "add it to variants"
    return f"baselines: no variant is named {shown(unknown)}; {there}"


def _no_curve(plan: Plan) -> str | None:
    if plan.curve is None:
        return None
    for block in plan.blocks:
        values = {**plan.axes, **block.axes}.get(plan.curve)
        if values is None:
            return (
                f"curve: no axis is named {shown(plan.curve)} in every part of it; add it to axes"
            )
        for value in values:
            if type(value) not in (int, float):
                return (
                    f"curve: {shown(value)} of axes.{plain(plan.curve)} is no number; take it out"
                )
    return None
