"""``msedge data``: datasets into the training layout, and how whole they are.

Tested in ``tests/cli/test_data.py``.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from msedge.cli.progress import progress_bar
from msedge.cli.verify import verify_command

if TYPE_CHECKING:
    from msedge.data.prepare import PreparedCounts
    from msedge.data.protocols import Protocol

data_app = typer.Typer(
    name="data",
    help="Write datasets into the training layout, and verify them.",
    no_args_is_help=True,
)

DataRoot = Annotated[Path, typer.Option("--data-root", help="Folder that holds datasets.")]


@data_app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="Which it is: sketchy, tuberlin or quickdraw.")],
    source: Annotated[
        Path,
        typer.Option(
            "--source", help="The unpacked download; which layout it has is seen by looking."
        ),
    ],
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="Split: its id, or a TOML file of your own (default: sketchy-21, "
            "tuberlin-30-sake, quickdraw-30).",
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    name: Annotated[
        str | None, typer.Option("--name", help="Folder to write (default: the dataset's name).")
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the files instead of linking.")
    ] = False,
    keep_duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-duplicates",
            help="Keep photos that repeat others, as the galleries of old lists have them.",
        ),
    ] = False,
    lone_classes: Annotated[
        Literal["refuse", "leave-out", "take"],
        typer.Option(
            "--lone-classes",
            help="Classes with sketches alone or photos alone: refuse them, leave them out, or "
            "take those that are seen (training needs its own --lone-classes then).",
        ),
    ] = "refuse",
) -> None:
    """Turn a download into DATA_ROOT/NAME/{train,val}/{sketch,photo}/CLASS."""
    from msedge.data.archives import check_dataset
    from msedge.data.prepare import DEFAULT_PROTOCOLS, prepare_dataset
    from msedge.data.protocols import load_protocol

    check_dataset(dataset)
    chosen = load_protocol(DEFAULT_PROTOCOLS[dataset] if protocol is None else protocol)
    name = dataset if name is None else name
    with progress_bar("Writing files") as progress:
        counts = prepare_dataset(
            dataset,
            source,
            chosen,
            data_root,
            name=name,
            copy=copy,
            keep_duplicates=keep_duplicates,
            lone_classes=lone_classes,
            progress=progress,
        )
    _show_counts(counts, chosen, data_root / name, keep_duplicates)
    _show_next(name, data_root, *(["--lone_classes"] if lone_classes == "take" else []))


data_app.command("verify")(verify_command)


@data_app.command()
def sample(
    data_root: DataRoot = Path("data"),
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other images.")] = 0,
) -> None:
    """Draw a small dataset, to try everything without a download."""
    from msedge.data.sample import write_sample

    with progress_bar("Drawing") as progress:
        folder = write_sample(data_root, seed=seed, progress=progress)
    typer.echo(f"Written to {folder}.")
    _show_next(folder.name, data_root)


def _show_counts(
    counts: PreparedCounts, protocol: Protocol, folder: Path, keep_duplicates: bool
) -> None:
    from rich.console import Console
    from rich.table import Table

    expected = protocol.expected
    table = Table(title=f"{protocol.id}: counts", title_justify="left")
    table.add_column("split")
    for title in ("classes", "sketches", "photos"):
        table.add_column(title, justify="right")
    for split, side in (("train (seen)", counts.train), ("val (unseen)", counts.val)):
        table.add_row(split, f"{side.classes:,}", f"{side.sketches:,}", f"{side.photos:,}")
    photos = expected.gallery_lines if keep_duplicates else expected.gallery_unique
    if photos is None:
        photos = expected.gallery_lines
    whole = (len(protocol.unseen), expected.queries, photos)
    if whole[1:] != (None, None):
        cells = ("" if count is None else f"{count:,}" for count in whole)
        table.add_row("val of the whole set", *cells, style="dim")
    Console(highlight=False, markup=False).print(table)
    if counts.dropped:
        typer.echo(f"Left out: {len(counts.dropped):,}, each listed in {folder / 'prepared.json'}.")
        typer.echo(f"  first: {counts.dropped[0]}")


def _show_next(name: str, data_root: Path, *options: str) -> None:
    command = ["python", "main.py", "--data_name", name, "--data_root", str(data_root), *options]
    typer.echo(f"Next: {shlex.join(command)}")
