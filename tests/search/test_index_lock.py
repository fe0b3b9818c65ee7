from __future__ import annotations

import subprocess
import sys

import pytest

from msedge.errors import DataError
from msedge.search.index_lock import sole_indexer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")


def test_one_at_a_time_and_nothing_is_left_behind(tmp_path):
    gallery = tmp_path / "g.msedge"
    with sole_indexer(gallery):
        with pytest.raises(DataError, match="another process is indexing"), sole_indexer(gallery):
            pass
        with sole_indexer(tmp_path / "other.msedge"):
            pass
    assert list(tmp_path.iterdir()) == []
    with sole_indexer(gallery):
        pass


def test_a_killed_holder_lets_go(tmp_path):
    program = (
        "import os, sys; from pathlib import Path\n"
        "from msedge.search.index_lock import sole_indexer\n"
        "with sole_indexer(Path(sys.argv[1])): os.kill(os.getpid(), 9)\n"
    )
    gallery = tmp_path / "g.msedge"
    done = subprocess.run([sys.executable, "-c", program, str(gallery)], timeout=60)
    assert done.returncode == -9
    assert [path.name for path in tmp_path.iterdir()] == ["g.msedge-lock"]
    with sole_indexer(gallery):
        pass


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataError, match="choose another place with --gallery"),
        sole_indexer(tmp_path / "file" / "g.msedge"),
    ):
        pass
