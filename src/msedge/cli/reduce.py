"""``msedge models reduce`` and ``refit``: another projection for a trained network.

Tested in ``tests/cli/test_reduce.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from msedge.models.card import Card

Checkpoint = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Of a run.")]
Dim = Annotated[int, typer.Option("--dim", min=1, help="The new width of the embedding.")]
DataName = Annotated[str, typer.Option("--data-name", help="The dataset that it was trained on.")]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The new checkpoint.")]
DataRoot = Annotated[Path, typer.Option("--data-root", help="The folder that holds datasets.")]


def reduce_command(
    checkpoint: Checkpoint,
    dim: Dim,
    data_name: DataName,
    out: Out,
    data_root: DataRoot = Path("data"),
) -> None:
    """Narrow a checkpoint's embedding to its strongest directions, and judge it anew."""
    from msedge.training.reduction import reduce_dim

    _change(checkpoint, data_root, data_name, out, partial(reduce_dim, dim=dim))


def refit_command(
    checkpoint: Checkpoint,
    data_name: DataName,
    out: Out,
    data_root: DataRoot = Path("data"),
) -> None:
    """Fit a second projection beside a checkpoint's own, its backbone as it is; judge it anew."""
    from msedge.training.projection import refit

    _change(checkpoint, data_root, data_name, out, refit)


def _change(
    checkpoint: Path, data_root: Path, data_name: str, out: Path, change: Callable[..., Card]
) -> None:
    from msedge.data.layouts import fingerprint, read_dataset
    from msedge.errors import DataError
    from msedge.models.card import read_card
    from msedge.training.config import resolve

    card = read_card(checkpoint)
    config = resolve({"data_root": data_root, "data_name": data_name})
    dataset = read_dataset(
        data_root, data_name, min_val_photos=config.val_photos_needed, lone_classes=True
    )
    if fingerprint(dataset) != card.data_fingerprint:
        raise DataError(
            f"{checkpoint} was trained on other files than those of {dataset.root}; give the "
            "dataset of its run"
        )
    from msedge.cli.watcher import TerminalWatcher
    from msedge.models.checkpoint import load_checkpoint, save_checkpoint

    network, card = load_checkpoint(checkpoint)
    with TerminalWatcher() as watcher:
        changed = change(network, card, dataset, progress=watcher.progress)
    save_checkpoint(out, network, changed)
    before, after = card.metrics.get("mAP@all"), changed.metrics["mAP@all"]
    told = f"{before:.1f} to {after:.1f}" if before is not None else f"{after:.1f}"
    typer.echo(f"{out}: {card.dim} to {changed.dim} dimensions, mAP@all on unseen classes {told}")
