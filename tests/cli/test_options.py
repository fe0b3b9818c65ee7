"""Every setting has an option in both spellings, and says what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer
from typer.testing import CliRunner

from msedge.cli.app import app
from msedge.cli.options import with_config_options
from msedge.training.config import TrainConfig

FIELDS = tuple(TrainConfig.model_fields)
SPELLINGS = {
    "-": {},
    "_": {"backbone": "backbone_type", "dim": "proj_dim"},
}
SWITCHES = tuple(n for n, field in TrainConfig.model_fields.items() if field.annotation is bool)
Caught = list[tuple[dict[str, Any], Path | None]]


def application(caught: Caught, separator: str) -> typer.Typer:
    def run(given: dict[str, Any], file: Path | None) -> None:
        """Do it."""
        caught.append((given, file))

    made = typer.Typer(pretty_exceptions_enable=False)
    made.command()(
        with_config_options(
            run,
            separator=separator,
            names=SPELLINGS[separator],
            defaults={"data_name": "mine"},
            first=("epochs",),
        )
    )
    return made


def option(name: str, separator: str) -> str:
    return "--" + SPELLINGS[separator].get(name, name).replace("_", separator)


def example(name: str) -> tuple[list[str], Any]:
    """Something to type for a field, and the value that it means."""
    kind = TrainConfig.model_fields[name].annotation
    kinds = [k for k in get_args(kind) if k is not type(None)] or [kind]
    if get_origin(kind) is Literal:
        return [str(get_args(kind)[-1])], get_args(kind)[-1]
    if kinds[0] is bool:
        return [], True
    if get_origin(kind) is tuple:
        return ["64"], [64]
    return {
        int: (["7"], 7),
        float: (["0.25"], 0.25),
        str: (["text"], "text"),
        Path: (["some/where"], Path("some/where")),
    }[kinds[0]]


@pytest.mark.parametrize("separator", SPELLINGS)
class TestEverySetting:
    @pytest.mark.parametrize("name", FIELDS)
    def test_has_an_option(self, name, separator):
        caught: Caught = []
        typed, value = example(name)
        arguments = [option(name, separator), *typed]
        result = CliRunner().invoke(application(caught, separator), arguments)
        assert result.exit_code == 0, result.output
        assert caught == [({name: value}, None)]

    def test_all_at_once_make_a_configuration(self, separator):
        caught: Caught = []
        valid = {"image_size": "64", "batch_size": "14", "composed_size": "64"}
        arguments = []
        for name in FIELDS:
            typed = [valid[name]] if name in valid else example(name)[0]
            arguments += [option(name, separator), *typed]
        result = CliRunner().invoke(application(caught, separator), arguments)
        assert result.exit_code == 0, result.output
        config = TrainConfig(**caught[0][0])
        assert (config.image_size, config.resume, config.averaging) == (64, True, 0.25)

    @pytest.mark.parametrize("name", SWITCHES)
    def test_what_can_be_switched_on_can_be_switched_off(self, name, separator):
        """As against a file, or against a default that is on."""
        caught: Caught = []
        off = f"--no{separator}{name.replace('_', separator)}"
        result = CliRunner().invoke(application(caught, separator), [off])
        assert result.exit_code == 0, result.output
        assert caught == [({name: False}, None)]

    def test_nothing_typed_gives_nothing(self, separator):
        """So that a file's settings are not overruled by defaults."""
        caught: Caught = []
        assert CliRunner().invoke(application(caught, separator), []).exit_code == 0
        assert caught == [({}, None)]

    def test_config_file(self, separator):
        caught: Caught = []
        CliRunner().invoke(application(caught, separator), ["--config", "a/run.yaml"])
        assert caught == [({}, Path("a/run.yaml"))]

    def test_help_is_the_fields_descriptions(self, separator):
        result = CliRunner().invoke(application([], separator), ["--help"], env={"COLUMNS": "400"})
        for name, field in TrainConfig.model_fields.items():
            start = f"│ {option(name, separator)} "
            (line,) = (line for line in result.output.splitlines() if line.startswith(start))
            assert field.description in line
        assert "(default: mine)" in result.output
        assert not any(f"(default: {value})" in result.output for value in (True, False))
        assert "(default: None)" not in result.output

    @pytest.mark.parametrize("typed", ["hedge", "EDGE", ""])
    def test_unknown_choice_lists_the_known_ones(self, separator, typed):
        result = CliRunner().invoke(
            application([], separator), ["--fusion", typed], env={"COLUMNS": "200"}
        )
        assert result.exit_code == 2
        assert all(name in result.output for name in ("none", "edge", "energy"))

    def test_first_fields_stand_first(self, separator):
        output = CliRunner().invoke(application([], separator), ["--help"]).output
        more = output.index("More options")
        assert output.index("--epochs") < more < output.index(option("data_root", separator))


def test_other_spelling_is_not_taken() -> None:
    assert CliRunner().invoke(application([], "_"), ["--batch-size", "8"]).exit_code == 2
    assert CliRunner().invoke(application([], "-"), ["--batch_size", "8"]).exit_code == 2


def test_msedge_train_has_them_all() -> None:
    result = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "400"})
    assert result.exit_code == 0
    for name in FIELDS:
        assert f"{option(name, '-')} " in result.output
    for name in SWITCHES:
        assert f"--no-{name.replace('_', '-')} " in result.output
