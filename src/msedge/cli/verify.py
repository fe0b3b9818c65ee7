"""``msedge data verify``: what a dataset lacks, and what it should not have.

Tested in ``tests/cli/test_verify.py``.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msedge.cli.progress import progress_bar

if TYPE_CHECKING:
    from msedge.data.verification.verify import Verification


def verify_command(
    name: Annotated[str, typer.Argument(help="The dataset's folder in the data root.")],
    data_root: Annotated[
        Path, typer.Option("--data-root", help="Folder that holds datasets.")
    ] = Path("data"),
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="Split: its id, or a TOML file of your own (default: the one it was prepared by, "
            "or the default of its name).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, classes included.")] = False,
    open_images: Annotated[
        bool,
        typer.Option(
            "--open/--no-open",
            help="Decode every image, to find the unreadable ones: minutes for a whole dataset.",
        ),
    ] = True,
) -> None:
    """Compare a dataset with its protocol: what is missing, surplus, misnamed, twice, unreadable.

    Exit status 0 when everything agrees, 1 when anything differs, 2 for bad input.
    """
    from msedge.data.protocols import load_protocol
    from msedge.data.verification.verify import protocol_of_dataset, verify_dataset

    chosen = protocol_of_dataset(data_root, name) if protocol is None else load_protocol(protocol)
    with progress_bar("Reading files") as progress:
        found = verify_dataset(data_root, name, chosen, open_images=open_images, progress=progress)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1))
    else:
        _show(found)
    if not found.agrees:
        raise typer.Exit(1)


def _show(found: Verification) -> None:
    _show_totals(found)
    for finding in found.findings:
        typer.echo(str(finding))
    for note in found.notes:
        typer.echo(f"note: {note}")
    if not found.opened:
        typer.echo("note: images were not opened, so that unreadable ones are not told (--open)")
    if found.agrees:
        typer.echo(f"{found.name} agrees with {found.protocol.id}.")
        return
    kinds = Counter(finding.kind for finding in found.findings)
    parts = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())
    typer.echo(f"{found.name} differs from {found.protocol.id}: {parts}.")


def _show_totals(found: Verification) -> None:
    from rich.console import Console
    from rich.table import Table

    file = f" ({found.protocol.file})" if found.protocol.file else ""
    title = f"{found.name} against {found.protocol.id}{file}"
    table = Table(title=title, title_justify="left")
    table.add_column("count")
    table.add_column("expected", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for total in found.totals:
        expected = "" if total.expected is None else f"{total.expected:,}"
        verdict = "" if total.expected is None else "agrees" if total.agrees else "differs"
        table.add_row(total.what, expected, f"{total.found:,}", verdict)
    Console(highlight=False, markup=False).print(table)
