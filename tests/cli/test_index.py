from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from encoders import ColourEncoder
from msedge.cli.index import index_command
from msedge.errors import DataError, WeightsError
from msedge.search.encoder import OnnxEncoder
from msedge.search.gallery import Gallery
from msedge.search.indexing import index as index_photos
from msedge.search.stores import open_store
from photo_files import write_photo

APP = typer.Typer()
APP.command("index")(index_command)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.jpg", number, size=(60, 40))
    return tmp_path / "photos"


def run(*arguments, exit_code=0):
    done = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if exit_code is None:
        raise done.exception
    assert done.exit_code == exit_code, (done.output, done.exception)
    return done


class TestIndex:
    def test_a_folder_becomes_a_gallery_in_the_working_directory(self, root, tmp_path):
        done = run(root)
        assert "3 new, 0 changed, 0 moved, 0 removed, 0 unchanged, 0 skipped" in done.stdout
        assert "photos/s" in done.stdout
        assert "photos.msedge holds 3 photos" in done.stdout
        encoder = OnnxEncoder.load()
        with open_store(tmp_path / "photos.msedge") as file:
            assert file.count() == 3
            assert file.model.fingerprint == encoder.fingerprint
            assert {each.vector.shape for each in next(file.blocks()).photos} == {(encoder.dim,)}

    def test_again_nothing_is_new(self, root):
        run(root)
        (root / "0.jpg").rename(root / "moved.jpg")
        (root / "1.jpg").unlink()
        done = run(root)
        assert "0 new, 0 changed, 1 moved, 1 removed, 1 unchanged, 0 skipped" in done.stdout
        assert "photos/s" not in done.stdout

    def test_json(self, root):
        (root / "bad.jpg").write_bytes(b"no photo")
        found = json.loads(run(root, "--gallery", "g.msedge", "--json").stdout)
        assert (found["gallery"], found["new"], found["photos"]) == ("g.msedge", 3, 3)
        (skip,) = found["skipped"]
        assert skip["path"] == str(root / "bad.jpg")
        assert "content" in skip["reason"]

    def test_the_first_skips_are_shown_and_all_in_json(self, root):
        for number in range(25):
            (root / f"bad{number:02}.jpg").write_bytes(b"no photo")
        (root / os.fsdecode(b"bad\xff\n.jpg")).write_bytes(b"no photo")
        done = run(root)
        assert done.stdout.count("\nskipped ") + done.stdout.startswith("skipped ") == 20
        assert "and 6 more skipped; --json lists all" in done.stdout
        assert len(json.loads(run(root, "--json").stdout)["skipped"]) == 26

    def test_patterns_and_hidden_names(self, root):
        write_photo(root / ".hidden.jpg", 8)
        write_photo(root / "raw" / "a.png", 9)
        found = json.loads(run(root, "--json", "--hidden").stdout)
        assert found["photos"] == 5
        found = json.loads(run(root, "--json", "--exclude", "raw", "--exclude", "0*").stdout)
        assert (found["photos"], found["removed"]) == (2, 3)

    def test_a_missing_folder_is_one_line(self, root):
        with pytest.raises(DataError, match="nothing was changed"):
            run(root, root / "none", exit_code=None)

    def test_an_emptied_folder_is_believed_when_told(self, root):
        run(root)
        for path in root.iterdir():
            path.unlink()
        with pytest.raises(DataError, match="--allow-empty"):
            run(root, exit_code=None)
        assert "holds 0 photos" in run(root, "--allow-empty").stdout

    def test_other_weights_are_refused_with_the_way_out_and_rebuilt(self, root, tmp_path):
        gallery = tmp_path / "photos.msedge"
        index_photos([root], gallery, ColourEncoder())
        with pytest.raises(WeightsError, match=r"--gallery OTHER.*--rebuild"):
            run(root, "--model", "msedge-lite", exit_code=None)
        assert "3 new" in run(root, "--rebuild").stdout
        assert "3 unchanged" in run(root).stdout

    def test_a_gallery_of_an_earlier_edition_answers_and_is_told_how_to_move(self, root, tmp_path):
        earlier = OnnxEncoder.load("msedge-lite-1")
        index_photos([root], tmp_path / "photos.msedge", replace(earlier, name="msedge-lite"))
        write_photo(root / "3.jpg", 3, size=(60, 40))
        done = run(root)
        assert "1 new" in done.stdout
        assert "an earlier edition, msedge-lite-1; `msedge index --rebuild`" in done.stderr
        with Gallery.open(tmp_path / "photos.msedge") as gallery:
            assert len(gallery.search(root / "3.jpg")) == 4
        assert "4 new" in run(root, "--rebuild").stdout
        assert not run(root).stderr
        with Gallery.open(tmp_path / "photos.msedge") as gallery:
            assert gallery.model.fingerprint == OnnxEncoder.load().fingerprint
            assert len(gallery.search(root / "3.jpg")) == 4

    def test_no_photos_named(self):
        assert "Missing argument" in run(exit_code=2).output


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
class TestStopping:
    PROGRAM = (
        "import typer\n"
        "from msedge.cli.app import run\n"
        "from msedge.cli.index import index_command\n"
        "app = typer.Typer()\n"
        "app.command('index')(index_command)\n"
        "run(app)\n"
    )

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_after_the_photos_in_hand(self, root, tmp_path, number):
        for photo in range(300):
            write_photo(root / "more" / f"{photo}.jpg", photo, size=(300, 200))
        command = [sys.executable, "-c", self.PROGRAM, str(root), "--threads", "1"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr.readline() == "photos to read: 303\n"
            time.sleep(0.5)
            process.send_signal(number)
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        new = int(output.splitlines()[0].split()[0])
        assert 0 < new < 303
        assert f"stopped with {303 - new} photos left; the same command goes on" in errors
        with open_store(tmp_path / "photos.msedge") as file:
            assert file.count() == new


class TestApproximateIndex:
    def test_a_small_gallery_gets_one_when_a_recall_is_asked_for(self, root, tmp_path):
        run(root)
        folder = tmp_path / "photos.msedge.approximate"
        assert not folder.exists()
        done = run(root, "--recall", "0.9")
        assert "recall" in done.stdout
        with open_store(tmp_path / "photos.msedge") as file:
            assert file.index_state() is not None
        before = (folder / "about.json").read_bytes()
        assert "recall" not in run(root, "--recall", "0.9").stdout
        assert (folder / "about.json").read_bytes() == before

    def test_it_is_built_anew_when_much_is_new(self, root, tmp_path):
        run(root, "--recall", "0.9")
        write_photo(root / "new.jpg", 77, size=(60, 40))
        document = json.loads(run(root, "--recall", "0.9", "--json").stdout)
        assert document["new"] == 1
        about = json.loads((tmp_path / "photos.msedge.approximate" / "about.json").read_text())
        assert about["about"]["count"] == 4

    def test_a_large_gallery_gets_one_without_being_asked(self, root, tmp_path, monkeypatch):
        monkeypatch.setattr("msedge.search.stores.store.APPROXIMATE_FROM", 3)
        run(root, "--recall", "1")
        assert not (tmp_path / "photos.msedge.approximate").exists()
        run(root)
        assert (tmp_path / "photos.msedge.approximate" / "about.json").exists()
