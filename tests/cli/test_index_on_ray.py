from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cluster_runs import rows_of
from msedge.cli.index import index_command
from msedge.errors import ConfigError, DataError
from photo_files import write_photo
from shard_files import photo_bytes, write_tar

APP = typer.Typer()
APP.command("index")(index_command)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.jpg", number, size=(60, 40))
    return tmp_path / "photos"


def refused(*words: object) -> str:
    """What a command says that must be refused before anything is made."""
    done = CliRunner().invoke(APP, [str(word) for word in words])
    assert isinstance(done.exception, ConfigError), done.exception
    return str(done.exception)


def msedge(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "msedge", "index", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=cwd, timeout=120,
    )  # fmt: skip


class TestRefusals:
    def test_a_file_of_sqlite_with_the_engine_ray(self, root):
        told = refused(root, "--engine", "ray")
        assert "--gallery photos.lance" in told
        assert "msedge gallery copy" in told

    @pytest.mark.parametrize("engine", [(), ("--engine", "ray")])
    def test_rebuilding_a_dataset(self, root, engine):
        told = refused(root, *engine, "--gallery", "g.lance", "--rebuild")
        assert "--gallery OTHER.lance" in told
        assert list(root.parent.iterdir()) == [root]

    @pytest.mark.parametrize("engine", [(), ("--engine", "ray")])
    def test_an_index_beside_a_dataset(self, root, engine):
        told = refused(root, *engine, "--gallery", "g.lance", "--recall", "0.9")
        assert "msedge gallery approximate" in told

    @pytest.mark.parametrize(
        "option",
        [("--address", "h:1"), ("--workers", "2"), ("--gpus-per-worker", "1")],
    )
    def test_options_of_the_engine_ray_alone(self, root, option):
        assert "--engine ray" in refused(root, *option)

    def test_a_url_of_an_unknown_protocol(self, root):
        assert "cannot reach none://bucket/photos" in refused("none://bucket/photos")
        assert [path for path in root.parent.iterdir() if path.suffix == ".msedge"] == []

    def test_a_gpu_where_there_is_none(self, root, tmp_path):
        done = msedge(
            root, "--engine", "ray", "--gallery", "g.lance", "--gpus-per-worker", "1", cwd=tmp_path
        )
        assert done.returncode == 2
        assert done.stderr.startswith("msedge: ")
        assert len(done.stderr.splitlines()) == 1
        assert "onnxruntime-gpu" in done.stderr

    def test_a_missing_folder_is_told_before_anything_is_started(self, root):
        done = CliRunner().invoke(
            APP, [str(root / "none"), "--engine", "ray", "--gallery", "g.lance"]
        )
        assert isinstance(done.exception, DataError)
        assert not Path("g.lance").exists()


class TestOneMachine:
    """What only this engine could read and write once, the local one does as well."""

    @pytest.mark.parametrize("gallery", ["g.msedge", "g.lance"])
    def test_folders_and_tars_into_a_gallery_of_either_kind(self, root, tmp_path, gallery):
        write_tar(root / "s.tar", {"x.png": photo_bytes(7), "bad.png": b"no photo"})
        done = msedge(root, "--gallery", gallery, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["new"], found["photos"]) == (4, 4)
        assert [skip["path"] for skip in found["skipped"]] == [f"{root}/s.tar/bad.png"]
        done = msedge(root / "s.tar", "--gallery", gallery, cwd=tmp_path)
        assert done.stdout.splitlines()[-1] == f"{gallery} holds 4 photos"


class TestIndex:
    def check_progress(self, errors: str, photos: int) -> None:
        """Nothing but our own words is on standard error."""
        first, *more = errors.splitlines()
        assert first == f"photos to read: {photos}"
        assert all(line.startswith("  ") and f" of {photos} photos" in line for line in more)

    def test_json_and_text_and_nothing_of_ray(self, root, tmp_path):
        write_tar(root / "s.tar", {"x.png": photo_bytes(7), "bad.png": b"no photo"})
        words = (root, "--engine", "ray", "--gallery", "g.lance", "--workers", "1")
        done = msedge(*words, "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["gallery"], found["new"], found["photos"]) == ("g.lance", 4, 4)
        assert [skip["path"] for skip in found["skipped"]] == [f"{root}/s.tar/bad.png"]
        (worker,) = found["workers"]
        assert (worker["photos"], worker["photos_per_second"] > 0) == (4, True)
        self.check_progress(done.stderr, 5)
        (root / "s.tar").unlink()
        write_photo(root / "new.png", 9)
        done = msedge(*words, cwd=tmp_path)
        self.check_progress(done.stderr, 1)
        lines = done.stdout.splitlines()
        assert lines[0].startswith("worker ")
        assert lines[0].partition(": ")[2].startswith("1 photos, ")
        assert lines[1].startswith("1 new, 0 changed, 0 moved, 1 removed, 3 unchanged, 0 skipped")
        assert lines[2] == "g.lance holds 4 photos"
        assert len(rows_of(tmp_path / "g.lance")) == 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_with_what_is_in_hand(self, root, tmp_path, number):
        for photo in range(3000):
            write_photo(root / "more" / f"{photo}.jpg", photo, size=(300, 200))
        words = [root, "--engine", "ray", "--gallery", "g.lance", "--workers", "2"]
        with subprocess.Popen(
            [sys.executable, "-m", "msedge", "index", *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
        ) as process:
            assert process.stderr.readline() == "photos to read: 3,003\n"
            deadline = time.monotonic() + 60
            while not list(tmp_path.glob("g.lance/data/*")) and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(1)
            # Ctrl-C in a terminal is heard by everyone that the command has started.
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "the same command goes on from there" in errors
        new = len(rows_of(tmp_path / "g.lance"))
        assert 0 < new < 3003
        assert f"{new:,} new" in output
