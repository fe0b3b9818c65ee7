"""The runs of a plan: each cell of the matrix with its whole configuration and its folder.

Tested in ``tests/benchmark/test_cells.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from msedge.benchmark.plan import Block, DatasetPlan, Plan, entry, shown
from msedge.data.images import one_line
from msedge.errors import ConfigError
from msedge.storage import atomic_path
from msedge.training.config import TrainConfig, read_yaml

Place = tuple[str | int, ...]
_Layer = tuple[Place, Mapping[str, Any]]
_Choice = tuple[str | None, list[_Layer]]  # a variant's name, and layers of settings

RESERVED = {
    "seed": "name seeds in `seeds`",
    "data_root": "name it in `datasets`",
    "data_name": "name it in `datasets`",
    "save_root": "give --save-root",
    "resume": "killed runs are always gone on with",
    "overwrite": "remove the folder of a run to do it anew",
}
"""Settings that the benchmark gives itself, and what to do instead of naming them."""


@dataclass(frozen=True)
class RowKey:
    """What tells a row of the table from the others: a variant, and a value on each axis."""

    variant: str | None
    axes: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """The row in words: ``edge, backbone resnet50, dim 512``."""
        values = [f"{name} {value}" for name, value in self.axes]
        return ", ".join([*([self.variant] if self.variant else []), *values]) or "as configured"


@dataclass(frozen=True)
class Cell:
    """One run of the matrix.

    Attributes:
        dataset: what it trains and is judged on.
        row: the row of the table that it belongs to.
        config: the whole configuration; its ``save_root`` is the cell's folder.
    """

    dataset: DatasetPlan
    row: RowKey
    config: TrainConfig

    @property
    def folder(self) -> Path:
        """Where the run writes; no other run does."""
        return self.config.save_root

    @property
    def label(self) -> str:
        """The run in words."""
        return one_line(f"{self.dataset.data_name}, {self.row.label}, seed {self.config.seed}")

    def file(self, end: str) -> Path:
        """A file of the run, such as ``run.json``."""
        return self.folder / f"{self.config.prefix}_{end}"

    def write_config(self) -> Path:
        """Write the configuration, every setting spelled out, and return its path.

        Raises:
            DataError: the file cannot be written.
        """
        path = self.folder / "config.yaml"
        settings = self.config.model_dump(mode="json", exclude={"resume", "overwrite"})
        with atomic_path(path) as temporary:
            temporary.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        return path


def expand(plan: Plan, save_root: Path) -> tuple[Cell, ...]:
    """All runs of a plan, the first seed of every row before the second of any.

    Settings come from layers, later ones winning: the file of ``config``, the plan's ``settings``,
    the block's, the variant's, and the values on the axes. A block's axis or variant takes the
    place of the plan's of the same name.

    Args:
        plan: what to run.
        save_root: the benchmark's folder.

    Raises:
        ConfigError: a setting is unknown, cannot be used, or is given by two that contradict each
            other; the message names its place in the plan.
    """
    shared: list[_Layer] = [(("settings",), plan.settings)]
    _check_names(shared)
    if plan.config is not None:
        given = {n: v for n, v in read_yaml(plan.config).items() if n not in RESERVED}
        shared.insert(0, (("config",), given))
    cells = [
        _cell(dataset, shared, choice, axes, seed, save_root)
        for seed in plan.seeds
        for dataset in plan.datasets
        for choice, axes in _rows(plan)
    ]
    _check_apart(cells)
    return tuple(cells)


def value_text(value: object) -> str:
    """A setting's value as text; what a setting takes where it is not given is ``default``."""
    return "default" if value is None else str(value)


def _rows(plan: Plan) -> Iterator[tuple[_Choice, list[_Layer]]]:
    """For each row its variant with the block's settings, and its values on the axes."""
    for index, block in enumerate(plan.blocks):
        here: Place = ("blocks", index) if "blocks" in plan.model_fields_set else ()
        axes = _merged(plan, block, here, "axes")
        variants = _merged(plan, block, here, "variants")
        own: _Layer = ((*here, "settings"), block.settings)
        chosen: list[_Choice] = [(n, [own, (p, dict(s))]) for n, (p, s) in variants.items()]
        _check_names([own, *((place, settings) for place, settings in variants.values())])
        _check_names((place[:-1], {name: None}) for name, (place, _) in axes.items())
        _check_axes(axes, variants)
        values = [[(place, {name: v}) for v in vs] for name, (place, vs) in axes.items()]
        for choice in chosen or [(None, [own])]:
            for taken in product(*values):
                yield choice, list(taken)


def _merged(plan: Plan, block: Block, here: Place, kind: str) -> dict[str, tuple[Place, Any]]:
    """The plan's axes or variants with the block's over them, each with its place."""
    merged = {name: ((kind, name), given) for name, given in getattr(plan, kind).items()}
    own = {name: ((*here, kind, name), given) for name, given in getattr(block, kind).items()}
    return {**merged, **own}


def _cell(
    dataset: DatasetPlan,
    shared: list[_Layer],
    choice: _Choice,
    axes: list[_Layer],
    seed: int,
    save_root: Path,
) -> Cell:
    variant, chosen = choice
    places: dict[str, Place] = {}
    settings: dict[str, Any] = {}
    for place, given in (*shared, *chosen, *axes):
        settings.update(given)
        places.update({n: place if place[-1] == n else (*place, n) for n in given})
    own = {"data_root": dataset.data_root, "data_name": dataset.data_name, "seed": seed}
    try:
        config = TrainConfig(**(settings | own))
    except ValidationError as error:
        raise ConfigError(_told(error, places, settings)) from error
    taken = tuple((name, value_text(getattr(config, name))) for _, given in axes for name in given)
    row = RowKey(variant, taken)
    folder = save_root / dataset.data_name / _folder_name(row) / f"seed-{seed}"
    return Cell(dataset, row, config.model_copy(update={"save_root": folder}))


def _told(error: ValidationError, places: Mapping[str, Place], given: Mapping[str, Any]) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    place = entry(places.get(name, ("settings", name) if name else ("settings",)))
    if first["type"] == "extra_forbidden":
        return f"{place}: {_unknown(name)}"
    value = f"{shown(given[name])} " if name in given else ""
    return f"{place}: {value}cannot be used: {first['msg'].removeprefix('Value error, ')}"


def _unknown(name: str) -> str:
    return f"no setting is named {name!r}; there are {', '.join(TrainConfig.model_fields)}"


def _check_names(layers: Iterable[_Layer]) -> None:
    for place, settings in layers:
        for name in settings:
            if name in RESERVED:
                raise ConfigError(f"{entry((*place, name))}: not a setting here; {RESERVED[name]}")
            if name not in TrainConfig.model_fields:
                raise ConfigError(f"{entry((*place, name))}: {_unknown(name)}")


def _check_axes(axes: Mapping[str, Any], variants: Mapping[str, tuple[Place, Any]]) -> None:
    for place, settings in variants.values():
        for name in settings:
            if name in axes:
                both = f"{entry((*place, name))} and {entry(axes[name][0])}"
                raise ConfigError(f"{both} both say what {name} is; keep one")


def _check_apart(cells: Iterable[Cell]) -> None:
    """Refuse two runs in one folder."""
    there: dict[str, Cell] = {}
    for cell in cells:
        twin = there.setdefault(str(cell.folder).casefold(), cell)
        if twin is not cell:
            same = twin.config.what_decides() == cell.config.what_decides()
            how = "twice" if same else "twice with different settings; make an axis or a variant of"
            what = "; name each value once" if same else " what differs"
            raise ConfigError(f"the plan holds {cell.label!r} {how}{what}")


def _folder_name(row: RowKey) -> str:
    parts = [*([row.variant] if row.variant else [])]
    parts += [f"{name}={value}" for name, value in row.axes]
    name = re.sub(r"[^\w.=+,-]+", "-", ",".join(parts)) or "run"
    return name.lstrip(".")[:200] or "run"
