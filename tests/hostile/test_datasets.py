"""Hostile images in a dataset: told before or in the first epoch, or left out if asked for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from hostile_images import COSTLY, corpus, some
from training_runs import Run

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def _that_are(fate: str, files):
    """Files of a fate that count as images of a dataset, by their names."""
    return [
        file
        for file in files
        if file.fate == fate
        and not file.large
        and file.kind not in COSTLY
        and file.name.endswith(_SUFFIXES)
    ]


@pytest.fixture
def dataset(tiny_root, tmp_path):
    """A copy of the tiny dataset that a test may damage."""
    shutil.copytree(tiny_root, tmp_path / "data")
    return tmp_path / "data"


def _words(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.strip()]


class TestTraining:
    def test_a_file_of_the_unseen_classes_is_told_before_the_first_epoch(
        self, dataset, tiny_config
    ):
        bad = dataset / "tiny" / "val" / "photo" / "val 1" / "2.png"
        bad.write_bytes(bad.read_bytes()[:60])
        with Run(tiny_config(data_root=dataset)) as run:
            assert run.wait() == 2
            last = _words(run.stderr)[-1]
        assert last.startswith(f"msedge: cannot read image {bad}: ")
        assert "epoch" not in run.stderr

    def test_all_that_cannot_be_read_are_left_out_each_in_a_line(self, dataset, tiny_config):
        files = _that_are("refused", some(6))
        assert len(files) > 15
        folder = dataset / "tiny" / "train" / "photo" / "train 1"
        for number, file in enumerate(files):
            (folder / f"{number:03}-{file.name}").write_bytes(file.make())
        os.mkfifo(folder / "pipe.jpg")
        with Run(tiny_config(data_root=dataset, skip_unreadable=True, epochs=1)) as run:
            assert run.wait() == 0, run.stderr
            said = run.stderr
        told = [line for line in said.splitlines() if "skipped: " in line]
        assert len(told) == len(files)
        for number, file in enumerate(files):
            assert sum(f"{number:03}-{file.name}" in line for line in told) == 1, file.name
        assert "Warning" not in said
        assert "Traceback" not in said

    @pytest.mark.slow
    def test_odd_files_that_can_be_read_are_trained_on(self, dataset, tiny_config):
        """As sketches too, which are cut out of their sheets."""
        files = _that_are("read", corpus())
        assert len(files) > 80
        for domain, part in (("photo", files[::2]), ("sketch", files[1::2])):
            folder = dataset / "tiny" / "train" / domain / "train 1"
            for number, file in enumerate(part):
                (folder / f"{number:03}-{file.name}").write_bytes(file.make())
        with Run(tiny_config(data_root=dataset, epochs=1, frame_sketches=True)) as run:
            assert run.wait() == 0, run.stderr
            assert "Warning" not in run.stderr


class TestVerifying:
    def test_each_file_is_a_finding_of_one_line(self, dataset):
        files = _that_are("refused", corpus())
        assert len(files) > 60
        folder = dataset / "tiny" / "train" / "photo" / "train 1"
        for number, file in enumerate(files):
            (folder / f"{number:03}-{file.name}").write_bytes(file.make())
        words = ["data", "verify", "tiny", "--data-root", dataset, "--protocol", "sketchy-21"]
        done = subprocess.run(
            [sys.executable, "-m", "msedge", *words, "--json"], capture_output=True, timeout=300
        )
        assert done.returncode == 1, done.stderr.decode()
        found = json.loads(done.stdout)["findings"]
        unreadable = {
            each["where"]: each["message"] for each in found if each["kind"] == "unreadable"
        }
        assert len(unreadable) == len(files)
        assert all(message.isprintable() for message in unreadable.values())
        assert all(len(message) < 300 for message in unreadable.values())
        assert b"Warning" not in done.stderr
        assert b"Decode" not in done.stderr
