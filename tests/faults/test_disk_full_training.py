"""A disk that fills up at any point of a training: one line, and the run goes on from there.

The results folder lies on a small disk with so many kB left, from none to enough for all of it.
"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from msedge.errors import DataError
from msedge.training.run_files import RunFiles
from msedge.training.trainer import train
from training_runs import losses

_EVERY = pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
_STEP = 450  # kB between two sizes; weights of the tiny network take 1,600, the state 5,000


def came_to(config):
    """All that a run leaves but times of day."""
    files = RunFiles(config)
    record = json.loads(files.record.read_text())
    return {
        "results": files.results.read_text(),
        "vectors": load_file(files.vectors)["embeddings"].tolist(),
        "losses": losses(config),
        "finished": record["finished"],
    }


def readable(files: RunFiles) -> None:
    """Whatever files there are, they are whole."""
    for path in (files.model, files.vectors, files.state):
        if path.exists():
            load_file(path)
    if files.record.exists():
        json.loads(files.record.read_text())
    if files.results.exists():
        assert files.results.read_text().endswith("\n")


class TestResults:
    @_EVERY
    def test_a_run_goes_on_where_the_disk_was_full(
        self, disk, tiny_config, tmp_path, listener, every
    ):
        wanted_config = tiny_config(save_root=tmp_path / "large")
        train(wanted_config, listener)
        wanted, weights = came_to(wanted_config), load_file(RunFiles(wanted_config).model)
        config = tiny_config(save_root=disk.root / "runs")
        files, outcomes = RunFiles(config), set()
        for kilobytes in [*range(0, 14_000, _STEP * every), 20_000]:
            disk.empty()
            disk.leave(kilobytes)
            try:
                train(config, listener)
                line = ""
            except DataError as error:
                line = str(error)
            outcomes.add(bool(line))
            if line:
                assert len(line.splitlines()) == 1
                assert "No space left" in line
                assert str(disk.root) in line
            readable(files)
            disk.make_room()
            train(config.model_copy(update={"resume": True}), listener)
            assert came_to(config) == wanted
            found = load_file(files.model)
            assert all(torch.equal(found[name], weights[name]) for name in weights)
            hidden = {name for name in disk.names() if "/." in name}
            assert hidden == set()
            assert not files.state.exists()
        assert outcomes == {True, False}


class TestCaches:
    def test_a_run_goes_on_without_decoded_images_where_none_can_be_kept(
        self, disk, tiny_config, make_dataset, tmp_path, listener
    ):
        root = make_dataset(disk.root / "data")
        train(tiny_config(data_root=root, save_root=tmp_path / "without"), listener)
        config = tiny_config(data_root=root, save_root=tmp_path / "with", cache=True)
        disk.leave(16)
        listener.said.clear()
        train(config, listener)
        (line,) = [line for line in listener.said if "No space left" in line]
        assert "decoded images" in line
        without = RunFiles(tiny_config(data_root=root, save_root=tmp_path / "without"))
        assert RunFiles(config).results.read_text() == without.results.read_text()

    def test_a_folder_for_them_that_was_named_has_to_do(self, disk, tiny_config, listener):
        disk.leave(0)
        config = tiny_config(cache=True, cache_dir=disk.root / "cache")
        with pytest.raises(DataError, match=r"No space left.*--no-cache"):
            train(config, listener)
        assert not RunFiles(config).state.exists()
