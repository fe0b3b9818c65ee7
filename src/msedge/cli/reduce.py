"""``msedge models reduce``: a narrower embedding for a trained network.

Tested in ``tests/cli/test_reduce.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def reduce_command(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Of a run.")],
    dim: Annotated[int, typer.Option("--dim", min=1, help="The new width of the embedding.")],
    data_name: Annotated[
        str, typer.Option("--data-name", help="The dataset that it was trained on.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The new checkpoint.")],
    data_root: Annotated[
        Path, typer.Option("--data-root", help="The folder that holds datasets.")
    ] = Path("data"),
) -> None:
    """Narrow a checkpoint's embedding to its strongest directions, and judge it anew."""
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
    from msedge.training.reduction import reduce_dim

    network, card = load_checkpoint(checkpoint)
    with TerminalWatcher() as watcher:
        reduced = reduce_dim(network, card, dataset, dim, watcher.progress)
    save_checkpoint(out, network, reduced)
    before, after = card.metrics.get("mAP@all"), reduced.metrics["mAP@all"]
    told = f"{before:.1f} to {after:.1f}" if before is not None else f"{after:.1f}"
    typer.echo(f"{out}: {card.dim} to {dim} dimensions, mAP@all on unseen classes {told}")
