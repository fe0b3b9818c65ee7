"""A run done again, killed and resumed, or refused: the same figures, and nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from msedge.errors import ConfigError, DataError
from msedge.training.config import TrainConfig
from msedge.training.run_files import RunFiles
from msedge.training.trainer import train
from same_run import KilledError, assert_same_run, killed, steps_of

MakeConfig = Callable[..., TrainConfig]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class TestRepeats:
    def test_record_repeats_the_run(self, tiny_config, listener, tmp_path):
        first = train(tiny_config(select="seen"), listener)
        record = json.loads(first.files.record.read_text())
        assert record["finished"] is True
        again = tiny_config(**record["config"], save_root=tmp_path / "again")
        assert_same_run(first.files, train(again, listener).files)

    def test_same_seed_same_bits(self, everything, listener, tmp_path):
        runs = [train(everything(save_root=tmp_path / name), listener) for name in "ab"]
        assert_same_run(runs[0].files, runs[1].files)

    def test_where_it_lies_and_what_it_caches_change_no_bit(
        self, tiny_config, listener, tiny_root, tmp_path
    ):
        first = train(tiny_config(), listener)
        root = shutil.copytree(tiny_root, tmp_path / "moved")
        for name in ("filled", "read"):  # the file of decoded images
            moved = tiny_config(data_root=root, save_root=tmp_path / name, cache=True)
            assert_same_run(first.files, train(moved, listener).files)
        assert (root / ".msedge-cache").is_dir()
        less = tiny_config(data_root=root, save_root=tmp_path / "less", cache=True, cache_gb=0)
        assert_same_run(first.files, train(less, listener).files)

    def test_another_seed_is_another_run(self, tiny_config, listener, tmp_path):
        one, other = (
            train(tiny_config(seed=seed, save_root=tmp_path / str(seed)), listener).files
            for seed in (0, 1)
        )
        assert one.results.read_bytes() != other.results.read_bytes()
        name = "projection.weight"
        assert not torch.equal(load_file(one.model)[name], load_file(other.model)[name])


def kill_in_the_second_epoch(monkeypatch, listener):
    def progress(what: str, done: int, *_: object) -> None:
        if (what, done) == ("epoch 2", 1):
            raise KilledError

    monkeypatch.setattr(listener, "progress", progress)


def kill_before_the_second_is_written(monkeypatch, listener):
    def row(row: Any, selected: bool) -> None:  # noqa: ARG001
        if row.epoch == 2:
            raise KilledError

    monkeypatch.setattr(listener, "row", row)


def kill_before_the_second_state(monkeypatch, listener):  # noqa: ARG001
    write = RunFiles.write_state

    def write_state(self: RunFiles, memory: Any, data: str) -> None:
        if len(memory.rows) == 2:
            raise KilledError
        write(self, memory, data)

    monkeypatch.setattr(RunFiles, "write_state", write_state)


def kill_in_the_first_epoch(monkeypatch, listener):
    def progress(what: str, done: int, *_: object) -> None:
        if (what, done) == ("epoch 1", 1):
            raise KilledError

    monkeypatch.setattr(listener, "progress", progress)


KILLS = {  # and how many epochs are known afterwards
    kill_in_the_first_epoch: 0,
    kill_in_the_second_epoch: 1,
    kill_before_the_second_is_written: 1,
    kill_before_the_second_state: 1,
}


class TestResume:
    """A real SIGKILL is in ``tests/cli/test_paper.py``; here are exact moments and refusals."""

    @pytest.mark.parametrize("kill", KILLS)
    def test_ends_as_if_it_had_not_been_killed(self, kill, everything, listener, tmp_path):
        whole = train(everything(save_root=tmp_path / "whole"), listener)
        killed(everything(), kill, listener)
        resumed = train(everything(resume=True), listener)
        going_on = f"going on after epoch {KILLS[kill]} of the killed run"
        assert (going_on in listener.said) == (KILLS[kill] > 0)
        assert_same_run(whole.files, resumed.files)
        assert steps_of(whole.files) == steps_of(resumed.files)
        assert not resumed.files.state.exists()

    def test_channels_last_networks_too(self, tiny_config, listener, tmp_path):
        """Plain 3x3 convolutions, whose memory order matters to the optimiser's arithmetic."""
        changes = {"backbone": "test_resnet", "epochs": 3, "warmup": 0}
        whole = train(tiny_config(**changes, save_root=tmp_path / "whole"), listener)
        killed(tiny_config(**changes), kill_in_the_second_epoch, listener)
        assert_same_run(whole.files, train(tiny_config(**changes, resume=True), listener).files)

    def test_without_a_state_it_starts_anew(self, tiny_config, listener):
        result = train(tiny_config(resume=True), listener)
        assert [row.epoch for row in result.rows] == [1, 2]

    def test_a_finished_run_is_left_alone(self, tiny_config, listener):
        """Not trained again, and told as it was when it ended."""
        first = train(tiny_config(epochs=3, select="seen"), listener)
        before = contents(tiny_config().save_root)
        listener.rows.clear()
        again = train(tiny_config(epochs=3, select="seen", resume=True), listener)
        assert listener.said[-1] == "nothing to resume: this run is finished"
        assert listener.rows == []
        assert again == replace(first, files=again.files)
        assert again.after == first.after
        assert contents(tiny_config().save_root) == before

    def test_without_resume_it_starts_anew(self, tiny_config, listener, tmp_path):
        whole = train(tiny_config(save_root=tmp_path / "whole"), listener)
        killed(tiny_config(), kill_in_the_second_epoch, listener)
        assert_same_run(whole.files, train(tiny_config(), listener).files)

    def test_other_settings_are_refused(self, tiny_config, listener):
        killed(tiny_config(), kill_in_the_second_epoch, listener)
        before = contents(tiny_config().save_root)
        with pytest.raises(ConfigError, match="seed: 0 there, 1 here"):
            train(tiny_config(resume=True, seed=1), listener)
        # --overwrite lifts the guard of the finished files, not that of the state.
        with pytest.raises(ConfigError, match=r"killed run in .* had other settings \(seed: 0"):
            train(tiny_config(resume=True, overwrite=True, seed=1), listener)
        assert contents(tiny_config().save_root) == before

    def test_changed_images_are_refused(self, tiny_config, listener, tiny_root, tmp_path):
        root = shutil.copytree(tiny_root, tmp_path / "data")
        killed(tiny_config(data_root=root), kill_in_the_second_epoch, listener)
        (root / "tiny" / "train" / "photo" / "train 0" / "3.png").unlink()
        before = contents(tiny_config().save_root)
        with pytest.raises(ConfigError, match="the images have changed since"):
            train(tiny_config(data_root=root, resume=True), listener)
        assert contents(tiny_config().save_root) == before

    def test_damaged_state(self, tiny_config, listener):
        killed(tiny_config(), kill_in_the_second_epoch, listener)
        state = RunFiles(tiny_config()).state
        state.write_bytes(state.read_bytes()[:-100])
        with pytest.raises(DataError, match=r"cannot be read .*remove it to start anew"):
            train(tiny_config(resume=True), listener)


class TestGuard:
    def test_other_settings_leave_the_files_alone(self, tiny_config, listener):
        train(tiny_config(), listener)
        before = contents(tiny_config().save_root)
        with pytest.raises(ConfigError, match=r"seed: 0 there, 7 here.*--overwrite"):
            train(tiny_config(seed=7), listener)
        assert contents(tiny_config().save_root) == before

    def test_overwrite_replaces_them(self, tiny_config, listener, tmp_path):
        train(tiny_config(), listener)
        replaced = train(tiny_config(seed=7, overwrite=True), listener)
        alone = train(tiny_config(seed=7, save_root=tmp_path / "alone"), listener)
        assert_same_run(replaced.files, alone.files)

    def test_same_settings_may_run_again(self, tiny_config, listener):
        first = train(tiny_config(), listener)
        before = first.files.results.read_bytes()
        train(tiny_config(), listener)
        assert first.files.results.read_bytes() == before
