"""The paper's command line: ``python main.py --data_name tuberlin``.

The eight options of the paper's page with their names and defaults, and every other setting of the
same engine beside them.
"""

from __future__ import annotations

from pathlib import Path

import typer

from msedge.cli.app import run
from msedge.cli.options import MAIN_FIELDS, Settings, with_config_options
from msedge.cli.train import run_training
from msedge.training.config import SAMPLE, read_yaml

_NAMES = {"backbone": "backbone_type", "dim": "proj_dim"}
DEFAULTS: Settings = {"data_name": "sketchy", "backbone": "resnet50"}


def _main(given: Settings, file: Path | None) -> None:
    """MSEdge: Edge is All You Need, multi-scale edge fusion for zero-shot sketch-based retrieval.

    Trains on <data_root>/<data_name>/train, judges on its val, and writes
    <save_root>/<data_name>_<backbone_type>_<proj_dim>_{results.csv, log.jsonl,
    model.safetensors, vectors.safetensors, run.json, retrieval.png}.
    """
    defaults = dict(DEFAULTS)
    asked = (read_yaml(file) if file else {}) | given
    if asked.get("data_name") == SAMPLE:
        del defaults["backbone"]  # the sample works without a hub
    run_training(defaults, given, file)


def main() -> None:
    """Run the paper's command line."""
    application = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    command = with_config_options(
        _main, separator="_", names=_NAMES, defaults=DEFAULTS, first=MAIN_FIELDS
    )
    application.command()(command)
    run(application)
