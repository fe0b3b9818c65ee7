"""``msedge train``: train, judge, and draw what was found."""

from __future__ import annotations

import os
from pathlib import Path

from msedge.cli.options import MAIN_FIELDS, Settings, with_config_options


def run_training(defaults: Settings, given: Settings, file: Path | None) -> None:
    """Train with settings from three layers and show the outcome.

    Args:
        defaults: in place of the configuration's own.
        given: on the command line; they win over the file.
        file: a YAML configuration.

    Raises:
        MSEdgeError: the settings, the data or the weights cannot be used.
    """
    from msedge.cli.ranks import is_first_process
    from msedge.cli.watcher import SilentWatcher, TerminalWatcher
    from msedge.training.config import SAMPLE, read_yaml, resolve

    config = resolve(defaults, read_yaml(file) if file else {}, given)
    first = is_first_process()
    with TerminalWatcher() if first else SilentWatcher() as watcher:
        if config.data_name == SAMPLE and not (config.data_root / SAMPLE).exists():
            from msedge.data.sample import write_sample

            write_sample(
                config.data_root, progress=lambda n, all_: watcher.progress("drawing", n, all_)
            )
        watcher.say("loading PyTorch")
        # Connections of a process that has failed break with pages of warnings, unlike its error.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from msedge.cli.outcome import show_outcome
        from msedge.training.supervision import FailedElsewhereError
        from msedge.training.trainer import train

        try:
            result = train(config, watcher)
        except FailedElsewhereError as error:  # and told there
            raise SystemExit(error.exit_status) from error
    if first:
        show_outcome(result)


def _train(given: Settings, file: Path | None) -> None:
    """Train on seen classes, judge on unseen ones, and keep weights, vectors and a figure."""
    run_training({}, given, file)


train_command = with_config_options(_train, separator="-", names={}, defaults={}, first=MAIN_FIELDS)
