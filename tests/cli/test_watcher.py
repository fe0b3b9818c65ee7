"""Lines where there is no terminal, a moving bar where there is one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from msedge.cli import watcher as module
from msedge.cli.watcher import SilentWatcher, TerminalWatcher
from msedge.training.run_files import EpochRow

ROW = EpochRow(3, 1.23456, {"mAP@200": 45.678, "P@100": 9.0}, 0.5, 61.6)


class Clock:
    """Stands in for the time module."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


class TestLines:
    def test_silent_without_news(self, capsys):
        with TerminalWatcher():
            pass
        assert capsys.readouterr() == ("", "")

    def test_news_goes_to_standard_error(self, capsys):
        with TerminalWatcher() as watcher:
            watcher.say("hello")
        assert capsys.readouterr() == ("", "hello\n")

    def test_brackets_are_not_markup(self, capsys):
        with TerminalWatcher() as watcher:
            watcher.say("skipped: [bold]a[/bold] [red]")
        assert capsys.readouterr().err == "skipped: [bold]a[/bold] [red]\n"

    def test_progress_now_and_then(self, capsys, clock):
        with TerminalWatcher() as watcher:
            for done in range(100):
                clock.now += 1
                watcher.progress("epoch 1", done, 100, "loss 2.5")
        assert capsys.readouterr().err.splitlines() == [
            f"  epoch 1: {done} of 100 loss 2.5" for done in (20, 41, 62, 83)
        ]

    def test_progress_of_something_short_is_silent(self, capsys, clock):
        with TerminalWatcher() as watcher:
            clock.now += 19
            watcher.progress("ranking", 5, 5)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(("selected", "mark"), [(True, "  (best so far)"), (False, "")])
    def test_an_epoch_is_a_line(self, capsys, monkeypatch, selected, mark):
        monkeypatch.setenv("COLUMNS", "200")
        with TerminalWatcher() as watcher:
            watcher.row(ROW, selected)
        line = f"epoch 3: loss 1.235  mAP@200 45.7  P@100 9.0{mark}  62 s\n"
        assert capsys.readouterr().err == line

    def test_errors_pass_through(self):
        with pytest.raises(KeyError), TerminalWatcher():
            raise KeyError


class TestSilent:
    def test_says_nothing(self, capsys):
        with SilentWatcher() as watcher:
            watcher.say("hello")
            watcher.progress("epoch 1", 1, 4, "loss 2.5")
            watcher.row(ROW, True)
        assert capsys.readouterr() == ("", "")

    def test_errors_pass_through(self):
        with pytest.raises(KeyError), SilentWatcher():
            raise KeyError


_IN_A_TERMINAL = """
from msedge.cli.watcher import TerminalWatcher
with TerminalWatcher() as watcher:
    watcher.progress("epoch 1", 1, 4, "loss 2.500")
    watcher.say("some news")
    watcher.progress("epoch 1", 3, 4, "loss 1.250")
"""


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal of POSIX")
def test_a_bar_that_moves_in_a_terminal() -> None:
    ours, theirs = os.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_A_TERMINAL], stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # Linux's way to say that the other end was closed
        pass
    finally:
        os.close(ours)
    assert process.wait() == 0
    text = shown.decode()
    assert "some news" in text
    assert "epoch 1" in text
    assert "3/4" in text
    assert "loss 1.250" in text
