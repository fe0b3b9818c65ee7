"""``msedge models``: what comes with the package, what a checkpoint says of itself, and ONNX files.

Tested in ``tests/cli/test_models.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msedge.cli.export import export_command
from msedge.cli.reduce import reduce_command, refit_command

if TYPE_CHECKING:
    from msedge.models.card import DataSource
    from msedge.models.shipped import ModelFiles

models_app = typer.Typer(
    name="models",
    help="Show the models that come with the package, and make such files of your own.",
    invoke_without_command=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the complete card.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A shipped model's name, or the path of a checkpoint or ONNX file."
    ),
]


@models_app.callback()
def _without_command(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the models that come with the package; without a command, list them."""
    if context.invoked_subcommand is None:
        list_command(as_json)
    elif as_json:
        raise typer.BadParameter(f"put --json after `{context.invoked_subcommand}`")


@models_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the models that come with the package."""
    from msedge.models.shipped import shipped_models

    models = shipped_models()
    if as_json:
        _print_json([_document(model) for model in models])
    elif models:
        from msedge.cli.model_card import show_models

        show_models(models)
    else:
        typer.echo("No model comes with this installation.")


@models_app.command("show")
def show_command(model: Model, as_json: AsJson = False) -> None:
    """Print a model's whole card: what it is, learnt from, was judged on, is for, and its terms."""
    from msedge.models.shipped import describe_model

    described = describe_model(model)
    if as_json:
        _print_json(_document(described))
    else:
        from msedge.cli.model_card import show_card

        show_card(described)


models_app.command("export")(export_command)  # as `msedge export`
models_app.command("reduce")(reduce_command)
models_app.command("refit")(refit_command)


@models_app.command("ship")
def ship_command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Of a run.")],
    name: Annotated[str, typer.Option("--name", help="What the model is called.")],
    intended_use: Annotated[
        str, typer.Option("--intended-use", help="What it is for, and for whom.")
    ],
    limits: Annotated[
        str, typer.Option("--limits", help="Where it fails, and what it must not be used for.")
    ],
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar='"NAME|WHAT|LICENCE"',
            help="Images behind the weights: their source, what of it was used, and its terms; "
            "once for each source.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write to.")],
    judged_on: Annotated[
        str, typer.Option("--judged-on", help="The queries and the gallery behind the metrics.")
    ] = "",
) -> None:
    """Write a run's weights as float16, with a complete card, and an ONNX file that reads them."""
    sources = data_sources(data)
    from msedge.models.shipping import ship

    shipment = ship(
        checkpoint,
        out,
        name=name,
        intended_use=intended_use,
        limits=limits,
        data=sources,
        judged_on=judged_on,
    )
    for path in (shipment.model.checkpoint, shipment.model.onnx):
        if path is not None:
            typer.echo(f"{path}: {_megabytes(path.stat().st_size)}")
    typer.echo(_agreement(shipment.difference))


def data_sources(texts: list[str]) -> tuple[DataSource, ...]:
    """Sources as they are typed, each ``name|what|licence``; a ConfigError for anything else."""
    from msedge.errors import ConfigError
    from msedge.models.card import DataSource

    sources = []
    for text in texts:
        parts = [part.strip() for part in text.split("|")]
        if len(parts) != 3 or not all(parts):
            raise ConfigError(
                f'--data {text!r} is not a source; expected "name|what|licence", all three filled'
            )
        sources.append(DataSource(name=parts[0], what=parts[1], licence=parts[2]))
    return tuple(sources)


def _document(model: ModelFiles) -> dict[str, Any]:
    return {
        "name": model.name,
        "checkpoint": None if model.is_graph_alone else str(model.checkpoint),
        "onnx": None if model.onnx is None else str(model.onnx),
        "bytes": model.size,
        "card": model.card.model_dump(mode="json"),
    }


def _print_json(document: object) -> None:
    typer.echo(json.dumps(document, indent=2))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _agreement(difference: float) -> str:
    return f"largest difference from PyTorch on random images: {difference:.1e} (vectors of 1)"
