"""The data of a plan, looked at before any run starts: is it there, by which protocol, unchanged?

Tested in ``tests/benchmark/test_datasets.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msedge.benchmark.cells import Cell
from msedge.benchmark.plan import DatasetPlan
from msedge.data.images import one_line
from msedge.data.layouts import find_dataset, fingerprint, read_dataset
from msedge.data.prepare import read_marker
from msedge.data.protocols import load_protocol
from msedge.data.sample import write_sample
from msedge.errors import DataError
from msedge.training.config import SAMPLE


class Fingerprints:
    """What the data of each run holds now, read once for all runs that read the same."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._known: dict[tuple[Path, str, int, bool], str] = {}

    def of(self, cell: Cell) -> str | None:
        """The fingerprint of a run's data; None for a run that may leave out unreadable files.

        Raises:
            DataError: the data is not there, or incomplete.
        """
        config = cell.config
        if config.skip_unreadable:
            return None
        key = (
            config.data_root,
            config.data_name,
            config.val_photos_needed,
            config.lone_classes,
        )
        if key not in self._known:
            root, name, photos, lone_classes = key
            dataset = read_dataset(root, name, min_val_photos=photos, lone_classes=lone_classes)
            self._known[key] = fingerprint(dataset)
        return self._known[key]

    def where_there(self, cell: Cell) -> str | None:
        """The same; None where the data cannot be read."""
        try:
            return self.of(cell)
        except DataError:
            return None


def check_datasets(datasets: Sequence[DatasetPlan]) -> None:
    """Refuse data that is missing, or was prepared by another protocol than the plan's.

    The sample set may be missing: :func:`draw_sample` makes it.

    Raises:
        DataError: the first such dataset, and what to do.
        ConfigError: there is no such protocol.
    """
    for index, dataset in enumerate(datasets):
        if _is_to_be_drawn(dataset):
            continue
        root = find_dataset(dataset.data_root, dataset.data_name)
        if dataset.protocol is None:
            continue
        wanted = load_protocol(dataset.protocol)
        marker = read_marker(root)
        if (marker.get("protocol"), marker.get("protocol_hash")) == (wanted.id, wanted.hash):
            continue
        made = marker.get("protocol")
        if made == wanted.id:
            was = f"was prepared by another list of classes of that name than {wanted.id} is now"
        else:
            was = f"was prepared by {one_line(made)}" if made else "notes no protocol"
        raise DataError(
            f"datasets[{index}].protocol: {wanted.id} is expected, but {one_line(root)} {was}; "
            f"prepare it anew with `msedge data prepare --protocol {dataset.protocol}`, or name "
            "another"
        )


def draw_sample(
    datasets: Sequence[DatasetPlan], progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw the sample set where the plan asks for it: once, and not in several runs at a time.

    Raises:
        DataError: it cannot be written.
    """
    for dataset in datasets:
        if _is_to_be_drawn(dataset):
            write_sample(dataset.data_root, progress=progress)


def _is_to_be_drawn(dataset: DatasetPlan) -> bool:
    asked = dataset.data_name == SAMPLE and dataset.protocol is None
    return asked and not (dataset.data_root / SAMPLE).exists()
