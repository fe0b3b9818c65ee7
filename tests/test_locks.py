from __future__ import annotations

import subprocess
import sys

import pytest

from made_photos import names
from msedge.errors import DataError
from msedge.locks import is_held, is_indexed_into, sole_indexer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


@pytest.fixture
def gallery(tmp_path):
    return tmp_path / "g.msedge"


def test_one_at_a_time_and_nothing_is_left_behind(gallery):
    assert not is_indexed_into(gallery)
    with sole_indexer(gallery):
        assert is_indexed_into(gallery)
        with pytest.raises(DataError, match="another process is indexing"), sole_indexer(gallery):
            pass
        with sole_indexer(gallery.with_name("other.msedge")):
            pass
    assert not is_indexed_into(gallery)
    assert names(gallery.parent) == set()
    with sole_indexer(gallery):
        pass


def test_a_killed_holder_lets_go(gallery):
    program = (
        "import os, sys; from pathlib import Path\n"
        "from msedge.locks import sole_indexer\n"
        "with sole_indexer(Path(sys.argv[1])): os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(gallery)], timeout=60)
    assert done.returncode == -9
    assert names(gallery.parent) == {"g.msedge-lock"}
    assert not is_held(gallery.with_name("g.msedge-lock"))
    assert names(gallery.parent) == {"g.msedge-lock"}
    with sole_indexer(gallery):
        pass


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="choose another place with --gallery"),
        sole_indexer(tmp_path / "file" / "g.msedge"),
    ):
        pass


def test_a_link_in_its_place_makes_no_file_elsewhere(gallery, tmp_path):
    gallery.with_name("g.msedge-lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="cannot write to the folder"), sole_indexer(gallery):
        pass
    assert not (tmp_path / "elsewhere").exists()
