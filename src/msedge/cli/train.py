"""``msedge train``: train, judge, and draw what was found."""

from __future__ import annotations

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
    from msedge.cli.watcher import TerminalWatcher
    from msedge.training.config import SAMPLE, read_yaml, resolve

    config = resolve(defaults, read_yaml(file) if file else {}, given)
    with TerminalWatcher() as watcher:
        if config.data_name == SAMPLE and not (config.data_root / SAMPLE).exists():
            from msedge.data.sample import write_sample

            write_sample(
                config.data_root, progress=lambda n, all_: watcher.progress("drawing", n, all_)
            )
        watcher.say("loading PyTorch")
        from msedge.cli.outcome import show_outcome
        from msedge.training.trainer import train

        try:
            result = train(config, watcher)
        except KeyboardInterrupt:
            watcher.say("stopped; --resume goes on after the last whole epoch")
            raise
    show_outcome(result)


def _train(given: Settings, file: Path | None) -> None:
    """Train on seen classes, judge on unseen ones, and keep weights, vectors and a figure."""
    run_training({}, given, file)


train_command = with_config_options(_train, separator="-", names={}, defaults={}, first=MAIN_FIELDS)
