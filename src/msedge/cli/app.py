"""``msedge``: the commands, and how errors reach the person.

A user's error is one line a problem on standard error and exit status 2; ``--debug`` shows where
it arose. Commands import what they need when they run, so ``msedge --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import msedge
from msedge.cli.benchmark import benchmark_command
from msedge.cli.data import data_app
from msedge.cli.evaluate import evaluate_command
from msedge.cli.export import export_command
from msedge.cli.extras import as_missing_extra
from msedge.cli.gallery import gallery_app
from msedge.cli.index import index_command
from msedge.cli.lint import lint_command
from msedge.cli.models import models_app
from msedge.cli.names import names_app
from msedge.cli.protocols import protocols_app
from msedge.cli.search import search_command
from msedge.cli.serve import serve_command
from msedge.cli.streams import as_refusal, steady_streams
from msedge.errors import MSEdgeError
from msedge.memory import as_out_of_memory

DEBUG_VARIABLE = "MSEDGE_DEBUG"

app = typer.Typer(
    name="msedge",
    help="Draw, and find photos; train and judge the networks that do it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("index")(index_command)
app.command("search")(search_command)
app.command("serve")(serve_command)
app.add_typer(gallery_app)
app.add_typer(data_app)
app.add_typer(protocols_app)
app.add_typer(models_app)
app.add_typer(names_app)


@app.command(
    "train",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def train(context: typer.Context) -> None:
    """Train on seen classes, judge on unseen ones, and keep weights, vectors and a figure."""
    # its options come from the configuration, whose import would slow down every other command
    from msedge.cli.train import train_command

    whole = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    whole.command()(train_command)
    whole(context.args, prog_name=context.command_path, standalone_mode=False)


app.command("benchmark")(benchmark_command)
app.command("evaluate")(evaluate_command)
app.command("lint")(lint_command)
app.command("export")(export_command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"msedge {msedge.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Draw, and find photos; train and judge the networks that do it."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def run(application: typer.Typer) -> None:
    """Run an application; a user's error becomes its message and exit status 2."""
    try:
        with steady_streams():
            _run_knowing_extras(application)
    except KeyboardInterrupt:
        print("msedge: stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        told = _as_told(error)
        if told is None or os.environ.get(DEBUG_VARIABLE):
            raise
        for line in str(told).splitlines():
            print(f"msedge: {line}", file=sys.stderr)
        raise SystemExit(told.exit_status) from None


def _as_told(error: Exception) -> MSEdgeError | None:
    """What a person is told of an error; None where it is a defect of ours."""
    if isinstance(error, MSEdgeError):
        return error
    if (out_of_memory := as_out_of_memory(error)) is not None:
        return out_of_memory
    return as_refusal(error) if isinstance(error, OSError) else None


def _run_knowing_extras(application: typer.Typer) -> None:
    """Run an application; where it lacks an extra, that is the error."""
    try:
        application()
    except ModuleNotFoundError as error:
        missing = as_missing_extra(error)
        if missing is None:
            raise
        raise missing from error


def main() -> None:
    """The entry point of ``msedge``."""
    run(app)
