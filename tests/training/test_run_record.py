"""The record of a run holds what is needed to repeat it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

import msedge
from msedge.data.layouts import Dataset, read_dataset
from msedge.training import run_record
from msedge.training.config import TrainConfig
from msedge.training.run_files import EpochRow
from msedge.training.run_record import describe_run, protocol_of

ROWS = [EpochRow(n, 1.0, {"mAP@all": 50.0}, 50.0, 1.0) for n in (1, 2)]


@pytest.fixture
def dataset(make_dataset, tmp_path: Path) -> Dataset:
    return read_dataset(make_dataset(tmp_path, each=2), "tiny")


def describe(dataset: Dataset, config: TrainConfig, rows: list[EpochRow]) -> dict:
    return describe_run(
        config, dataset, "abc", ["train 1"], ["train 0"], {"mAP@all": 40.0}, rows, 2
    )


class TestSmoke:
    def test_is_plain_values(self, dataset):
        record = describe(dataset, TrainConfig(epochs=2), ROWS)
        assert json.loads(json.dumps(record)) == record

    def test_config_makes_the_run_again(self, dataset):
        config = TrainConfig(epochs=2, seed=5, data_root=dataset.root.parent)
        stored = json.loads(json.dumps(describe(dataset, config, ROWS)))["config"]
        assert TrainConfig(**stored, data_root=config.data_root) == config

    def test_no_folder_of_this_machine_is_in_it(self, dataset):
        config = TrainConfig(data_root=dataset.root.parent, save_root=dataset.root / "out")
        assert str(dataset.root.parent) not in json.dumps(describe(dataset, config, ROWS))


class TestContents:
    def test_data(self, dataset):
        data = describe(dataset, TrainConfig(), ROWS)["data"]
        assert data == {
            "fingerprint": "abc",
            "protocol": None,
            "seen_classes": ["train 0", "train 1", "train 2"],
            "held_out_classes": ["train 1"],
            "sketched_classes": ["train 0"],
            "unseen_classes": ["val 0", "val 1"],
            "unseen_sketches": 4,
            "unseen_photos": 4,
        }

    def test_epochs_and_the_selected_one(self, dataset):
        record = describe(dataset, TrainConfig(), ROWS)
        assert [row["epoch"] for row in record["epochs"]] == [1, 2]
        assert record["selected_epoch"] == 2
        assert record["before_training"] == {"mAP@all": 40.0}

    @pytest.mark.parametrize(("epochs", "finished"), [(2, True), (3, False)])
    def test_says_whether_it_is_finished(self, dataset, epochs, finished):
        assert describe(dataset, TrainConfig(epochs=epochs), ROWS)["finished"] is finished

    def test_machine(self, dataset):
        config = TrainConfig(precision="bf16-mixed", compile=True)
        record = describe_run(config, dataset, "abc", [], [], {}, ROWS, 2, processes=4)
        machine = record["machine"]
        assert (machine["processes"], machine["precision"]) == (4, "bf16-mixed")
        assert machine["compiled"] is True
        assert machine["threads"] == torch.get_num_threads()
        alone = describe(dataset, TrainConfig(), ROWS)["machine"]
        assert (alone["processes"], alone["precision"], alone["compiled"]) == (1, "32", False)

    def test_versions(self, dataset):
        versions = describe(dataset, TrainConfig(), ROWS)["versions"]
        assert versions["msedge"] == msedge.__version__
        assert versions["torch"] is not None
        assert None not in versions.values()

    def test_package_that_is_not_installed(self, dataset, monkeypatch):
        monkeypatch.setattr(run_record, "_DEPENDENCIES", ("no-such-package",))
        assert describe(dataset, TrainConfig(), ROWS)["versions"]["no-such-package"] is None


class TestRevision:
    def test_of_the_checkout(self, dataset):
        here = ["git", "-C", str(Path(run_record.__file__).parent), "rev-parse", "HEAD"]
        asked = subprocess.run(here, capture_output=True, text=True, check=False)
        expected = asked.stdout.strip() if asked.returncode == 0 else None
        assert describe(dataset, TrainConfig(), ROWS)["git_revision"] == expected

    @pytest.mark.parametrize(
        "error",
        [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")],
        ids=["no git", "no checkout"],
    )
    def test_without_git(self, dataset, monkeypatch, error):
        def fails(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(subprocess, "run", fails)
        assert describe(dataset, TrainConfig(), ROWS)["git_revision"] is None


class TestProtocol:
    def test_as_data_prepare_noted_it(self, dataset):
        (dataset.root / "prepared.json").write_text('{"protocol": "sketchy-21"}')
        assert protocol_of(dataset) == "sketchy-21"

    def test_none_where_it_was_not_prepared(self, dataset):
        assert protocol_of(dataset) is None

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"protocol": null}', '"sketchy-21"'])
    def test_none_where_the_note_is_damaged(self, dataset, text):
        (dataset.root / "prepared.json").write_text(text)
        assert protocol_of(dataset) is None
