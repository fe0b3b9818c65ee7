"""The bar is on standard error, and takes what the package calls it with."""

from __future__ import annotations

import pytest

from msedge.cli.progress import progress_bar


def test_nothing_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes the stream for a terminal
    with progress_bar("Counting") as progress:
        for done in range(1, 4):
            progress(done, 3)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Counting" in shown.err
    assert "3/3" in shown.err
