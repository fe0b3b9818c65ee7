"""Names and contents of a run's files, and which state may be picked up."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from msedge.errors import ConfigError, DataError
from msedge.training.config import TrainConfig
from msedge.training.run_files import EpochRow, Memory, Progress, RunFiles

METRICS = {"mAP@all": 12.3456789, "P@100": 0.1}
ROWS = (
    EpochRow(1, 2.5, METRICS, 0.25, 3.0),
    EpochRow(2, 1 / 3, {"mAP@all": 100 / 3, "P@100": 7.0}, 1 / 7, 4.0),
)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(data_name="tiny", backbone="resnet50", dim=8, save_root=tmp_path / "result")


@pytest.fixture
def memory() -> Memory:
    tensors = {
        "network/weight": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "optimizer/0.step": torch.tensor(7.0),
    }
    return Memory(tensors, ROWS, METRICS, Progress(3, 1 / 3, 0.5))


def changed(config: TrainConfig, **changes) -> RunFiles:
    return RunFiles(config.model_copy(update=changes))


class TestSmoke:
    def test_names(self, config, tmp_path):
        files = RunFiles(config)
        assert [path.name for path in vars(files).values() if isinstance(path, Path)] == [
            "tiny_resnet50_8_results.csv",
            "tiny_resnet50_8_model.safetensors",
            "tiny_resnet50_8_vectors.safetensors",
            "tiny_resnet50_8_run.json",
            "tiny_resnet50_8_retrieval.png",
            "tiny_resnet50_8_state.safetensors",
            "tiny_resnet50_8_log.jsonl",
            "tiny_resnet50_8_tensorboard",
            "tiny_resnet50_8_trace.json.gz",
            "tiny_resnet50_8_profile.md",
        ]
        assert files.results.parent == tmp_path / "result"

    def test_naming_writes_nothing(self, config, tmp_path):
        RunFiles(config).guard()
        assert not list(tmp_path.iterdir())


class TestResults:
    def test_a_row_an_epoch_with_six_decimals(self, config):
        files = RunFiles(config)
        files.write_results(ROWS, 2, "last epoch")
        assert files.results.read_bytes().decode() == (
            "epoch,loss,mAP@all,P@100,selected_by,selection_value,selected\n"
            "1,2.500000,12.345679,0.100000,last epoch,0.250000,0\n"
            "2,0.333333,33.333333,7.000000,last epoch,0.142857,1\n"
        )

    def test_seconds_are_not_in_it(self, config):
        files = RunFiles(config)
        files.write_results(ROWS, 1, "last epoch")
        before = files.results.read_bytes()
        files.write_results([replace(row, seconds=99.0) for row in ROWS], 1, "last epoch")
        assert files.results.read_bytes() == before

    def test_commas_are_quoted(self, config):
        files = RunFiles(config)
        files.write_results(ROWS, 1, "a, b")
        with files.results.open(newline="") as opened:
            assert [row["selected_by"] for row in csv.DictReader(opened)] == ["a, b"] * 2

    def test_leaves_nothing_else(self, config):
        files = RunFiles(config)
        files.write_results(ROWS, 1, "last epoch")
        assert list(config.save_root.iterdir()) == [files.results]


class TestGuard:
    @pytest.fixture(autouse=True)
    def finished(self, config) -> RunFiles:
        """A run that stands there already."""
        files = RunFiles(config)
        files.write_record({"config": config.what_decides()})
        return files

    def test_same_settings_pass(self, finished):
        assert finished.record.is_file()
        finished.guard()

    def test_same_settings_from_elsewhere_pass(self, config):
        changed(config, data_root=Path("elsewhere"), resume=True).guard()

    def test_other_settings_are_named_on_one_line(self, config, finished):
        with pytest.raises(ConfigError) as caught:
            changed(config, seed=3, epochs=99).guard()
        assert str(caught.value) == (
            f"{finished.record} is of a run with other settings (epochs: 10 there, 99 here; "
            "seed: 0 there, 3 here); choose another --save_root, or replace it with --overwrite"
        )

    def test_many_differences_are_counted(self, config):
        changes = {"seed": 3, "epochs": 99, "warmup": 0, "holdout": 0.2, "averaging": 0.5}
        with pytest.raises(ConfigError, match=r"epochs.*; warmup.*; averaging.*; 2 more\)"):
            changed(config, **changes).guard()

    def test_overwrite_passes(self, config):
        changed(config, seed=3, overwrite=True).guard()

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"config": []}', '{"config": null}'])
    def test_a_damaged_record_is_not_taken_for_ours(self, config, finished, text):
        finished.record.write_text(text)
        with pytest.raises(ConfigError, match="other settings"):
            RunFiles(config).guard()

    def test_a_record_of_an_older_version(self, config, finished):
        """A setting that it did not have was at its default."""
        older = config.what_decides()
        del older["frozen_blocks"], older["accumulate"]
        finished.write_record({"config": older | {"precision": "32-true"}})
        RunFiles(config).guard()
        with pytest.raises(ConfigError, match="frozen_blocks: 0 there, 2 here"):
            changed(config, frozen_blocks=2).guard()

    def test_a_record_of_a_newer_version(self, config, finished):
        """What is known here is still compared."""
        finished.write_record({"config": config.what_decides() | {"seed": 9, "unheard_of": 1}})
        with pytest.raises(ConfigError, match="seed: 9 there, 0 here"):
            RunFiles(config).guard()

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"config": []}', '{"config": {}}'])
    def test_no_damaged_record_is_one_of_the_defaults(self, tmp_path, text):
        files = RunFiles(TrainConfig(save_root=tmp_path))
        files.record.write_text(text)
        with pytest.raises(ConfigError, match="other settings"):
            files.guard()


class TestFinished:
    """A run that is taken for finished is not run again, so all of it must be there."""

    @pytest.fixture
    def record(self, config) -> dict:
        return {
            "finished": True,
            "config": config.what_decides(),
            "data": {"fingerprint": "data"},
        }

    @pytest.fixture
    def files(self, config, record) -> RunFiles:
        files = RunFiles(config)
        files.write_record(record)
        for path in (files.results, files.model, files.vectors):
            path.write_text("")
        return files

    def test_is_found(self, files, record):
        assert files.read_finished("data") == record

    def test_none_where_there_is_none(self, config):
        assert RunFiles(config).read_finished("data") is None

    @pytest.mark.parametrize("name", ["results", "model", "vectors", "record"])
    def test_a_file_is_missing(self, files, name):
        getattr(files, name).unlink()
        assert files.read_finished("data") is None

    def test_of_an_older_version(self, files, record):
        older = {name: v for name, v in record["config"].items() if name != "accumulate"}
        files.write_record(record | {"config": older})
        assert files.read_finished("data") == record | {"config": older}

    def test_other_data_or_settings(self, config, files):
        assert files.read_finished("other data") is None
        assert changed(config, seed=3).read_finished("data") is None

    @pytest.mark.parametrize("change", [{"finished": False}, {"config": None}, {"data": None}])
    def test_not_finished_or_damaged(self, files, record, change):
        files.write_record(record | change)
        assert files.read_finished("data") is None

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}"])
    def test_no_record(self, files, text):
        files.record.write_text(text)
        assert files.read_finished("data") is None


class TestState:
    def test_comes_back_as_it_went(self, config, memory):
        files = RunFiles(config)
        files.write_state(memory, "data")
        found = files.read_state("data")
        assert found is not None
        assert (found.rows, found.before) == (memory.rows, memory.before)
        assert found.progress == memory.progress
        assert found.tensors.keys() == memory.tensors.keys()
        assert all(torch.equal(memory.tensors[n], t) for n, t in found.tensors.items())

    def test_none_where_there_is_none(self, config):
        assert RunFiles(config).read_state("data") is None

    def test_other_settings(self, config, memory):
        RunFiles(config).write_state(memory, "data")
        with pytest.raises(ConfigError, match=r"other settings \(fusion: 'edge' there, 'none' her"):
            changed(config, fusion="none").read_state("data")

    def test_other_data(self, config, memory):
        RunFiles(config).write_state(memory, "data")
        with pytest.raises(ConfigError, match=r"images have changed.*leave out --resume"):
            RunFiles(config).read_state("other data")

    @pytest.mark.parametrize("keep", [0, 4, 100, -1])
    def test_cut_short(self, config, memory, keep):
        files = RunFiles(config)
        files.write_state(memory, "data")
        files.state.write_bytes(files.state.read_bytes()[:keep])
        with pytest.raises(DataError, match=r"cannot be read .*remove it to start anew"):
            files.read_state("data")

    @pytest.mark.parametrize(
        "damage",
        [
            {"format": "other"},
            {"format": "msedge-training-state-1"},  # of whole epochs
            {"config": "{"},
            {"config": "7"},
            {"rows": '[{"epoch": 1}]'},
            {"rows": "7"},
            {"before": "{"},
            {"before": "null"},
            {"progress": "{"},
            {"progress": "7"},
            {"progress": '{"step": 1}'},
        ],
    )
    def test_damaged_metadata(self, config, memory, damage):
        files = RunFiles(config)
        files.write_state(memory, "data")
        metadata = {
            "format": "msedge-training-state-2",
            "config": json.dumps(config.what_decides()),
            "fingerprint": "data",
            "rows": "[]",
            "before": "{}",
            "progress": "{}",
        }
        tensors = load_file(files.state)
        save_file(tensors, files.state, metadata)
        assert files.read_state("data") is not None
        save_file(tensors, files.state, metadata | damage)
        with pytest.raises(DataError, match="cannot be read"):
            files.read_state("data")

    def test_settings_of_an_older_version(self, config, memory):
        files = RunFiles(config)
        files.write_state(memory, "data")
        with safe_open(files.state, framework="pt") as opened:
            metadata = opened.metadata()
        older = json.loads(metadata["config"])
        del older["accumulate"]
        save_file(load_file(files.state), files.state, metadata | {"config": json.dumps(older)})
        assert files.read_state("data") is not None
        with pytest.raises(ConfigError, match="accumulate: 1 there, 2 here"):
            changed(config, accumulate=2).read_state("data")

    def test_a_failed_write_leaves_the_old_one(self, config, memory, monkeypatch):
        files = RunFiles(config)
        files.write_state(memory, "data")
        before = files.state.read_bytes()

        def fails(*_: object) -> None:
            raise OSError("disk full")

        monkeypatch.setattr("msedge.training.run_files.save", fails)
        with pytest.raises((OSError, DataError), match="disk full"):
            files.write_state(memory, "other data")
        assert files.state.read_bytes() == before
        assert list(config.save_root.iterdir()) == [files.state]
