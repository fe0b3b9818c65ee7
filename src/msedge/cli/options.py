"""Command-line options made from the fields of :class:`~msedge.training.config.TrainConfig`.

The fields' descriptions are the help, so that it cannot drift. ``msedge train`` spells them with
hyphens (``--batch-size``); the paper's command line with underscores and two names of its own
(``--backbone_type``, ``--proj_dim``).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from msedge.training.config import TrainConfig

Settings = dict[str, Any]
MAIN_FIELDS = (
    "data_root",
    "data_name",
    "backbone",
    "dim",
    "batch_size",
    "epochs",
    "warmup",
    "save_root",
)
"""The settings that the paper's page names, in its order."""


def with_config_options(
    run: Callable[[Settings, Path | None], None],
    *,
    separator: str,
    names: Mapping[str, str],
    defaults: Mapping[str, Any],
    first: tuple[str, ...],
) -> Callable[..., None]:
    """A typer command with an option for every field of the configuration.

    Args:
        run: called with the settings that were given, by field, and the file of ``--config``.
        separator: between the words of an option's name.
        names: options that are not spelled like their field.
        defaults: shown in the help where they are not the configuration's own.
        first: fields that the help lists first; the others stand under "More options".

    Returns:
        A function for ``typer.Typer.command``.
    """
    fields = sorted(TrainConfig.model_fields.items(), key=lambda item: _place(item[0], first))
    parameters = [
        _parameter(
            name,
            field,
            option=_spelled(names.get(name, name), field, separator),
            shown_default=defaults.get(name, field.default),
            panel=None if name in first else "More options",
        )
        for name, field in fields
    ]
    config = typer.Option(
        "--config", help="YAML file of settings; options given here win over it", show_default=False
    )
    parameters.append(_keyword("config", Annotated[Path | None, config]))

    def command(**given: Any) -> None:
        file = given.pop("config")
        run({name: value for name, value in given.items() if value not in (None, [])}, file)

    command.__doc__ = run.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def _place(name: str, first: tuple[str, ...]) -> int:
    return first.index(name) if name in first else len(first)


def _spelled(name: str, field: FieldInfo, separator: str) -> str:
    """The option of a field; what can be switched on can be switched off, as against a file."""
    word = name.replace("_", separator)
    return f"--{word}/--no{separator}{word}" if field.annotation is bool else f"--{word}"


def _parameter(
    name: str, field: FieldInfo, *, option: str, shown_default: object, panel: str | None
) -> inspect.Parameter:
    told = shown_default not in (None, ()) and not isinstance(shown_default, bool)
    help_text = f"{field.description} (default: {shown_default})" if told else field.description
    kind: Any = field.annotation
    if get_origin(kind) is UnionType:
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is tuple:  # given once for each of its values
        kind = list[int]
    return _keyword(
        name,
        Annotated[
            kind | None,
            typer.Option(option, help=help_text, rich_help_panel=panel, show_default=False),
        ],
    )


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )
