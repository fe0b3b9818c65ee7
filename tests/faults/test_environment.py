"""Surroundings that are not as usual: no locale, no home, nowhere for temporary files, a limit."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from galleries import make_gallery, photo
from msedge.search.stores import open_store

SECONDS = 120  # against hanging
ODD = (
    "naïve 🐱.png",
    os.fsdecode(b"caf\xe9.png"),
    "line\nbreak.png",
    "-dash.png",
    "\u202egnp.a.png",
)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    return make_gallery(folder, {name: photo("red", mark=n) for n, name in enumerate(ODD)})


def msedge(*arguments, without=(), limit=None, **environment):
    """Run a command in other surroundings."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [sys.executable, "-m", "msedge", *map(str, arguments)],
        env=kept | environment,
        preexec_fn=limit,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "POSIX"},
               {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=str,
)  # fmt: skip
def test_odd_names_in_a_locale_that_knows_none_of_them(gallery, tmp_path, locale):
    done = msedge("gallery", "check", "--photos", gallery, **locale)
    assert done.stderr == b""
    assert b"is sound" in done.stdout
    (gallery.parent / "photos" / ODD[0]).rename(tmp_path / "away.png")
    try:
        done = msedge("gallery", "check", "--photos", gallery, **locale)
    finally:
        (tmp_path / "away.png").rename(gallery.parent / "photos" / ODD[0])
    assert done.stderr == b""
    assert done.stdout.count(b"\n") >= 1


@pytest.mark.parametrize("place", ["/nonexistent", "/proc", ""])
def test_nowhere_for_temporary_files_and_no_home(gallery, tmp_path, place):
    copy = tmp_path / "copy.msedge"
    done = msedge("gallery", "copy", gallery, copy, without=("HOME",), TMPDIR=place, TEMP=place)
    assert (done.returncode, done.stderr) == (0, b"")
    with open_store(copy) as file:
        assert file.count() == len(ODD)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("kilobytes", [0, 8, 24, 40, 1000])
def test_a_limit_on_the_size_of_a_file(gallery, tmp_path, kilobytes):
    import resource

    copy = tmp_path / "copy.msedge"
    size = (kilobytes * 1024,) * 2
    done = msedge(
        "gallery", "copy", gallery, copy,
        limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, size),
    )  # fmt: skip
    said = done.stderr.decode()
    if done.returncode:
        assert done.returncode == 2, said
        assert len(said.splitlines()) == 1
        assert said.startswith("msedge: ")
        assert list(tmp_path.iterdir()) == []
    else:
        assert kilobytes == 1000
        with open_store(copy) as file:
            assert file.count() == len(ODD)


def test_a_path_longer_than_the_system_takes(tmp_path):
    for name in ("n" * 300, "/".join(["folder" * 20] * 60)):
        for command in (["gallery", "stats", tmp_path / name], ["index", tmp_path / name]):
            done = msedge(*command)
            assert done.returncode == 2
            assert len(done.stderr.splitlines()) == 1, done.stderr.decode()[-300:]
