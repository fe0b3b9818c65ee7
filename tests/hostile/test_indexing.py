"""``msedge index``, in a process of its own, over hostile files and a few good photos."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hostile_files import Folder, write_folder
from hostile_images import COSTLY, Hostile, corpus
from msedge.search.stores import open_store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and odd names")

LIMIT = 600  # seconds, many times what is needed on a busy machine
_PROGRESS = re.compile(r"photos to read: [\d,]+|[\d,]+ of [\d,]+ photos\b.*")


def _msedge(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "msedge", *map(os.fspath, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, timeout=LIMIT, env=environment)


def _index(folder: Path, gallery: Path) -> tuple[dict, subprocess.CompletedProcess[bytes]]:
    done = _msedge("index", folder, "--gallery", gallery, "--json", cwd=gallery.parent)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    return json.loads(done.stdout), done


def _unexpected(stderr: bytes) -> list[str]:
    """Lines that are not of indexing's own progress, such as a decoder's remarks."""
    lines = stderr.decode(errors="replace").splitlines()
    return [line for line in lines if not _PROGRESS.fullmatch(line.strip())]


def _vectors(gallery: Path) -> dict[bytes, bytes]:
    with open_store(gallery) as file:
        return {
            os.fsencode(photo.path): photo.vector.tobytes()
            for block in file.blocks()
            for photo in block.photos
        }


def _check(folder: Folder, tmp_path: Path) -> None:
    clean = tmp_path / "clean.msedge"
    (tmp_path / "only good").mkdir()
    for number, photo in enumerate(folder.good):
        shutil.copy(photo, tmp_path / "only good" / f"{number:03}.jpg")
    _index(tmp_path / "only good", clean)

    summary, done = _index(folder.path, tmp_path / "photos.msedge")
    held = _vectors(tmp_path / "photos.msedge")
    skipped = {os.fsencode(each["path"]): each["reason"] for each in summary["skipped"]}

    expected = _vectors(clean)
    for number, photo in enumerate(folder.good):
        alone = os.fsencode(tmp_path / "only good" / f"{number:03}.jpg")
        assert held[os.fsencode(photo)] == expected[alone], photo
    for path, file in folder.files.items():
        name = os.fsencode(path)
        assert (name in held) != (name in skipped), f"neither held nor told: {path}"
        if file.fate != "either":
            assert (name in held) == (file.fate == "read"), (path, skipped.get(name))
    for path in folder.told:
        assert os.fsencode(path) in skipped, path
        assert os.fsencode(path) not in held
    for path in folder.silent:
        assert os.fsencode(path) not in {*skipped, *held}
    assert len(held) + len(skipped) == len(folder.good) + len(folder.files) + len(folder.told)
    for reason in skipped.values():
        assert reason.isprintable(), reason
        assert 5 < len(reason) < 300, reason
    assert _unexpected(done.stderr) == []


def test_every_hostile_file_is_told_and_good_photos_are_as_without_them(tmp_path):
    files = [file for file in corpus() if not file.large and file.kind not in COSTLY]
    assert len(files) > 400
    folder = write_folder(tmp_path / "photos", files)
    _check(folder, tmp_path)

    again, _ = _index(folder.path, tmp_path / "photos.msedge")
    assert (again["new"], again["changed"], again["removed"]) == (0, 0, 0)

    done = _msedge("index", folder.path, "--gallery", tmp_path / "photos.msedge", cwd=tmp_path)
    lines = done.stdout.decode().splitlines()  # fails unless it is UTF-8
    assert done.returncode == 0
    assert _unexpected(done.stderr) == []
    assert all(line.isprintable() for line in lines), lines
    assert sum(line.startswith("skipped ") for line in lines) == 20
    assert any("more skipped; --json lists all" in line for line in lines)
    assert len(lines) == 23

    (tmp_path / "query.json").write_text('{"strokes": [[[0, 9, 9], [0, 0, 9]], [[3, 5], [6, 2]]]}')
    found = _msedge("search", "query.json", "--gallery", "photos.msedge", "--json", cwd=tmp_path)
    assert found.returncode == 0
    assert json.loads(found.stdout)["hits"]


@pytest.mark.slow
def test_the_whole_corpus_in_one_run(tmp_path):
    folder = write_folder(tmp_path / "photos", corpus())
    _check(folder, tmp_path)


@pytest.mark.slow
def test_the_same_on_ray(tmp_path):
    pytest.importorskip("ray")
    files: list[Hostile] = [file for file in corpus() if not file.large and file.kind not in COSTLY]
    folder = write_folder(tmp_path / "photos", files)
    _index(folder.path, tmp_path / "local.msedge")
    words = ("--engine", "ray", "--workers", "1", "--json")
    done = _msedge("index", folder.path, "--gallery", tmp_path / "ray.lance", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    summary = json.loads(done.stdout)
    assert summary["photos"] == len(_vectors(tmp_path / "local.msedge"))
