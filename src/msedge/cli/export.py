"""``msedge export``: any model as one ONNX file, in the precision that is wanted.

``msedge models export`` is the same command. Tested in ``tests/cli/test_export.py``.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from msedge.models.card import Card
    from msedge.models.onnx_conversion import Conversion
    from msedge.search.calibration import CalibrationPhotos


class Precision(StrEnum):
    """What the weights are rounded to."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def export_command(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A checkpoint's path, or the name of a model that comes with the package.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.onnx", help="Where to write.")],
    precision: Annotated[
        Precision,
        typer.Option(
            help="float16 halves the file; int8 makes it smaller still, about twice as fast, and "
            "needs photos to calibrate on."
        ),
    ] = Precision.FLOAT32,
    gallery: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Calibrate and check on the photos of this gallery."),
    ] = None,
    photos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Calibrate and check on the photos in this folder."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of photos.")] = 0,
) -> None:
    """Write a model as one ONNX file, and check that it says what the model says."""
    from msedge.models.bank import bank_of, bank_path, save_bank
    from msedge.models.onnx_conversion import card_of_source, convert
    from msedge.models.shipped import find_model

    source = find_model(checkpoint)
    card = card_of_source(source)
    bank = bank_of(source, card)
    chosen = _chosen(precision, gallery, photos, card, seed)
    if chosen is None:
        conversion = convert(source, out, precision=precision.value)
    else:
        conversion = convert(
            source,
            out,
            precision=precision.value,
            calibration=chosen.calibration,
            held_out=chosen.held_out,
        )
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {_rounded(precision, chosen)}")
    if bank is not None and bank_path(out).resolve() != bank_path(source).resolve():
        save_bank(bank_path(out), bank)
        typer.echo(f"{bank_path(out)}: the names and hubs of the model")
    typer.echo(_distance(precision, conversion, chosen))


def _chosen(
    precision: Precision, gallery: Path | None, photos: Path | None, card: Card, seed: int
) -> CalibrationPhotos | None:
    """The photos to calibrate and check on; None where none are named, and none are needed."""
    from msedge.errors import ConfigError

    if gallery is not None and photos is not None:
        raise ConfigError("photos come from --gallery or from --photos, not from both; choose one")
    if gallery is None and photos is None:
        if precision is Precision.INT8:
            raise ConfigError("int8 needs photos to calibrate on; give --gallery or --photos")
        return None
    from msedge.cli.watcher import TerminalWatcher
    from msedge.search.calibration import choose_photos

    paths = _listed(gallery, photos)
    with TerminalWatcher() as watcher:
        chosen = choose_photos(
            paths,
            max(card.photo_sizes, default=card.image_size),
            keep_shape=bool(card.photo_sizes),
            seed=seed,
            progress=lambda done, total: watcher.progress("reading photos", done, total),
        )
        if chosen.unreadable:
            watcher.say(f"files that cannot be read, and were passed over: {chosen.unreadable}")
        if precision is Precision.INT8:
            count = len(chosen.calibration.pixels)
            watcher.say(f"calibrating on {count} photos; this takes a minute or so")
    return chosen


def _listed(gallery: Path | None, photos: Path | None) -> list[Path]:
    if gallery is not None:
        from msedge.search.stores import open_store

        with open_store(gallery) as opened:
            return [photo.path for photo in opened.photos()]
    from msedge.search.sources import find

    return [Path(file.path) for file in find([photos] if photos else []).files]


def _rounded(precision: Precision, chosen: CalibrationPhotos | None) -> str:
    if precision is Precision.INT8 and chosen is not None:
        return f"int8, calibrated on {len(chosen.calibration.pixels)} photos and their edges"
    return precision.value


def _distance(
    precision: Precision, conversion: Conversion, chosen: CalibrationPhotos | None
) -> str:
    from msedge.models.onnx_agreement import BOUNDS

    found, bound = conversion.agreement, BOUNDS[precision.value]
    if chosen is None:
        images = f"{found.images} random images (--photos DIR: on real ones)"
    else:
        others = "other " if precision is Precision.INT8 else ""
        images = f"{len(chosen.held_out.pixels)} {others}photos and their edges"
    return (
        f"cosine distance from {conversion.reference} on {images}: {found.mean:.1e} on average, "
        f"{found.worst:.1e} at worst (allowed {bound.mean:g} and {bound.worst:g})"
    )
