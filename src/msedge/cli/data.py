"""``msedge data``: datasets into the training layout. Tested in ``tests/cli/test_data.py``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from msedge.data.prepare import PreparedCounts
    from msedge.data.protocols import Protocol

data_app = typer.Typer(
    name="data", help="Write datasets into the training layout.", no_args_is_help=True
)

DataRoot = Annotated[Path, typer.Option("--data-root", help="Folder that holds datasets.")]


@data_app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="Which archive it is: sketchy.")],
    source: Annotated[
        Path, typer.Option("--source", help="Unpacked archive: the folder that holds 256x256.")
    ],
    protocol: Annotated[
        str, typer.Option("--protocol", help="Split: its id, or a TOML file of your own.")
    ] = "sketchy-21",
    data_root: DataRoot = Path("data"),
    name: Annotated[
        str | None, typer.Option("--name", help="Folder to write (default: the dataset's name).")
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files instead of linking.")
    ] = False,
) -> None:
    """Turn an official archive into DATA_ROOT/NAME/{train,val}/{sketch,photo}/CLASS."""
    from msedge.data.prepare import prepare_sketchy
    from msedge.data.protocols import load_protocol
    from msedge.errors import ConfigError

    if dataset != "sketchy":
        raise ConfigError(f"cannot prepare {dataset!r} yet: expected sketchy")
    chosen = load_protocol(protocol)
    name = dataset if name is None else name
    with _progress_bar("Writing files") as progress:
        counts = prepare_sketchy(source, chosen, data_root, name=name, copy=copy, progress=progress)
    _show_counts(counts, chosen, data_root / name)
    _show_next(name, data_root)


@data_app.command()
def sample(
    data_root: DataRoot = Path("data"),
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other images.")] = 0,
) -> None:
    """Draw a small dataset, to try everything without a download."""
    from msedge.data.sample import write_sample

    with _progress_bar("Drawing") as progress:
        folder = write_sample(data_root, seed=seed, progress=progress)
    typer.echo(f"Written to {folder}.")
    _show_next(folder.name, data_root)


@contextmanager
def _progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _show_counts(counts: PreparedCounts, protocol: Protocol, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    expected = protocol.expected
    table = Table(title=f"{protocol.id}: counts", title_justify="left")
    table.add_column("split")
    for title in ("classes", "sketches", "photos"):
        table.add_column(title, justify="right")
    for split, side in (("train (seen)", counts.train), ("val (unseen)", counts.val)):
        table.add_row(split, f"{side.classes:,}", f"{side.sketches:,}", f"{side.photos:,}")
    whole = (expected.unseen_classes, expected.queries, expected.gallery_unique)
    if any(count is not None for count in whole):
        cells = ("" if count is None else f"{count:,}" for count in whole)
        table.add_row("val of the whole set", *cells, style="dim")
    Console().print(table)
    if counts.dropped:
        typer.echo(f"Left out: {len(counts.dropped):,}, each listed in {folder / 'prepared.json'}.")
        typer.echo(f"  first: {counts.dropped[0]}")


def _show_next(name: str, data_root: Path) -> None:
    command = ["python", "main.py", "--data_name", name, "--data_root", str(data_root)]
    typer.echo(f"Next: {shlex.join(command)}")
