"""``msedge names``: what a model knows by name, names of one's own, and a model's bank of them.

Tested in ``tests/cli/test_names.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from msedge.cli.search_options import DEFAULT_GALLERY, NamesFile

if TYPE_CHECKING:
    from msedge.search.encoder import OnnxEncoder
    from msedge.search.names import Names
    from msedge.search.naming import Seen

names_app = typer.Typer(
    name="names",
    help="Show the names that a model knows, and add your own.",
    invoke_without_command=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Whose names: a model's name or file (default: the gallery's, or the shipped one).",
        show_default=False,
    ),
]
GalleryOf = Annotated[
    Path,
    typer.Option("--gallery", metavar="FILE", help="Whose model's names, where there is one."),
]
Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="Images at a time (default: one a CPU).")
]

_SKIPS_SHOWN = 5


@names_app.callback()
def _without_command(
    context: typer.Context,
    gallery: GalleryOf = DEFAULT_GALLERY,
    model: Model = None,
    names: NamesFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the names that a model knows, and add your own; without a command, list them."""
    if context.invoked_subcommand is None:
        _list(_names(gallery, model, names), as_json=as_json)
    elif model or names or as_json or gallery != DEFAULT_GALLERY:
        raise typer.BadParameter(f"put options after `{context.invoked_subcommand}`")


@names_app.command("add")
def add_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help='Such as "our cat Tom".')],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Photos of it; or one photo.")],
    drawings: Annotated[
        bool, typer.Option("--drawings", help="These are drawings of it, not photos.")
    ] = False,
    synonym: Annotated[
        list[str] | None,
        typer.Option(
            "--synonym",
            metavar="WORD",
            help="What else it is called; can be given again.",
            show_default=False,
        ),
    ] = None,
    gallery: GalleryOf = DEFAULT_GALLERY,
    model: Model = None,
    names: NamesFile = None,
    threads: Threads = None,
) -> None:
    """Add a name of your own, from photos of a thing or from drawings.

    Photos let it be found by its name, drawings let it be guessed from one; run it twice for both.
    What was known of the name's photos (or drawings) before is replaced.
    """
    from msedge.data.images import one_line
    from msedge.search.naming import add_name

    encoder = _encoder(gallery, model)
    file = _own_file(encoder, names)
    seen = add_name(
        file, encoder, name, folder, drawings=drawings, synonyms=synonym or (), workers=threads
    )
    _tell_skipped(seen)
    kind = "drawing" if drawings else "photo"
    several = "s" * (seen.images != 1)
    typer.echo(f"{one_line(name)}: {seen.images:,} {kind}{several}, in {one_line(file)}")


@names_app.command("remove")
def remove_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of your own.")],
    gallery: GalleryOf = DEFAULT_GALLERY,
    model: Model = None,
    names: NamesFile = None,
) -> None:
    """Forget a name of your own."""
    from msedge.cli.index_options import model_for
    from msedge.data.images import one_line
    from msedge.models.bank import identity_of
    from msedge.models.shipped import describe_model
    from msedge.search.names import own_names_file
    from msedge.search.naming import remove_name

    card = describe_model(model_for(model, gallery)).card
    file = own_names_file(identity_of(card), names)
    gone = remove_name(file, identity_of(card), card.dim, name)
    typer.echo(f"{one_line(gone)}: removed from {one_line(file)}")


@names_app.command("make")
def make_command(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A shipped model's name, or a model's file."),
    ],
    drawings: Annotated[
        list[Path],
        typer.Option(
            "--drawings",
            metavar="DIR",
            help="A folder with a folder of drawings for each thing, called by its name, or a "
            "file NAME.ndjson of drawings; can be given again.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Such as net.bank.safetensors.")
    ],
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photos",
            metavar="DIR",
            help="The same of photos; can be given again.",
            show_default=False,
        ),
    ] = None,
    synonyms: Annotated[
        Path | None,
        typer.Option(
            "--synonyms",
            metavar="FILE",
            help="JSON or TOML: for each name a list of what it is called else. Folders called by "
            "a synonym are of the name.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar='"NAME|WHAT|LICENCE"',
            help="What these images are; once for each source.",
            show_default=False,
        ),
    ] = None,
    bank_drawings: Annotated[
        int, typer.Option("--bank-drawings", min=1, help="Drawings that are kept for hubs.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Decides which ones.")] = 0,
    threads: Threads = None,
) -> None:
    """Make a model's bank: drawings for hubs, and the means of everything that has a name.

    Beside the model's file, as NAME.bank.safetensors, it is used by itself.
    """
    from msedge.cli.models import data_sources
    from msedge.cli.progress import progress_bar
    from msedge.data.images import one_line
    from msedge.errors import ConfigError
    from msedge.models.bank import SUFFIX, save_bank
    from msedge.search.encoder import OnnxEncoder
    from msedge.search.naming import make_bank, read_synonyms

    if not out.name.endswith(SUFFIX):  # it might be the model, and no model would use it
        raise ConfigError(f"--out {one_line(out)}: expected a file that ends in {SUFFIX}")
    told = data_sources(data or [])
    words = read_synonyms(synonyms) if synonyms else {}
    encoder = OnnxEncoder.load(model, threads=1)
    with progress_bar("names") as progress:
        made = make_bank(
            encoder,
            drawings=drawings,
            photos=photos or (),
            synonyms=words,
            data=told,
            most=bank_drawings,
            seed=seed,
            workers=threads,
            progress=progress,
        )
    save_bank(out, made.bank)
    _tell_skipped(made.drawings, made.photos)
    for name in made.unused:
        typer.echo(f"msedge: there are synonyms of {one_line(name)} but no folder", err=True)
    size = out.stat().st_size / 1e6
    means = made.bank.name_drawings, made.bank.name_photos
    drawn, taken = (int(rows.any(axis=1).sum()) for rows in means)
    typer.echo(
        f"{one_line(out)}: {len(made.bank.names):,} names, {drawn:,} by drawings "
        f"({made.drawings.images:,}), {taken:,} by photos ({made.photos.images:,}); "
        f"{len(made.bank.drawings):,} drawings for hubs; {size:.1f} MB"
    )


def _encoder(gallery: Path, model: str | None) -> OnnxEncoder:
    from msedge.cli.index_options import model_for
    from msedge.search.encoder import OnnxEncoder

    return OnnxEncoder.load(model_for(model, gallery), threads=1)


def _own_file(encoder: OnnxEncoder, given: Path | None) -> Path:
    from msedge.models.bank import identity_of
    from msedge.search.names import own_names_file

    return own_names_file(identity_of(encoder.card), given)


def _names(gallery: Path, model: str | None, given: Path | None) -> Names:
    """The names of a model, which need not be loaded, and one's own."""
    from msedge.cli.index_options import model_for
    from msedge.models.bank import bank_of, identity_of
    from msedge.models.shipped import describe_model
    from msedge.search.names import Names, own_names_file, read_own_names

    described = describe_model(model_for(model, gallery))
    identity, dim = identity_of(described.card), described.card.dim
    file = own_names_file(identity, given)
    own = read_own_names(file, identity, dim, must_be=given is not None)
    return Names(bank_of(described.checkpoint, described.card), own)


def _list(names: Names, *, as_json: bool) -> None:
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps([asdict(known) for known in names], indent=1))
        return
    if not len(names):
        typer.echo("This model knows no names; add your own with `msedge names add`.")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from msedge.data.images import one_line

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("name", "also", "known by"):
        table.add_column(title, overflow="fold")
    for known in names:
        by = [kind for kind in ("drawings", "photos") if getattr(known, kind)]
        by += ["yours"] * known.own
        also = ", ".join(map(one_line, known.synonyms))
        table.add_row(Text(one_line(known.name)), Text(also), ", ".join(by))
    Console(highlight=False).print(table)


def _tell_skipped(*seen: Seen) -> None:
    """Say on standard error what could not be read."""
    from msedge.data.images import one_line

    skipped = [each for some in seen for each in some.skipped]
    for path, reason in skipped[:_SKIPS_SHOWN]:
        typer.echo(f"msedge: passed over {one_line(path)}: {one_line(reason)}", err=True)
    if len(skipped) > _SKIPS_SHOWN:
        typer.echo(f"msedge: and {len(skipped) - _SKIPS_SHOWN:,} more", err=True)
