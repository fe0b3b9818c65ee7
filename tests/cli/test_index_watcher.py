from __future__ import annotations

import os
import subprocess
import sys

import pytest

from msedge.cli import index_watcher as module
from msedge.cli.index_watcher import IndexTerminal, pace_text


class Clock:
    """Stands in for the time module."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


def test_lines_now_and_then_where_there_is_no_terminal(capsys, clock):
    with IndexTerminal() as watcher:
        watcher.progress(0, 3000)
        for second in range(1, 31):
            clock.now = 100.0 + second
            watcher.progress(second * 100, 3000)
            watcher.committed(second)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "photos to read: 3,000",
        "  1,100 of 3,000 photos, 100.0 a second, 19 s left",
        "  2,200 of 3,000 photos, 100.0 a second, 8 s left",
    ]


@pytest.mark.usefixtures("clock")
def test_nothing_to_read_is_nothing_to_say(capsys):
    with IndexTerminal() as watcher:
        watcher.progress(0, 0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("done", "total", "seconds", "text"),
    [
        (0, 10, 5.0, ""),
        (5, 10, 0.5, ""),
        (10, 10, 4.0, "2.5 a second, 0 s left"),
        (100, 100_000, 10.0, "10.0 a second, 2.8 h left"),
        (100, 10_000, 10.0, "10.0 a second, 16 min left"),
    ],
)
def test_pace(done, total, seconds, text):
    assert pace_text(done, total, seconds) == text


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals")
def test_a_bar_moves_in_a_terminal():
    import pty

    ours, theirs = pty.openpty()
    program = (
        "import time; from msedge.cli.index_watcher import IndexTerminal\n"
        "with IndexTerminal() as watcher:\n"
        "    watcher.progress(0, 40); time.sleep(1.2); watcher.progress(20, 40); time.sleep(0.3)\n"
    )
    env = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run([sys.executable, "-c", program], stderr=theirs, env=env, timeout=60)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert done.returncode == 0
    assert b"20/40" in shown
    assert b"a second" in shown
