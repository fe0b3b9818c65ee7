"""``kill -9`` wherever the package writes state: nothing that was stored is lost or half there.

The campaign of all writers: ``pytest -m slow tests/faults/test_killed_writers.py``; it prints its
counts. ``MSEDGE_TEST_SEED`` draws other moments.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from killed_runs import Tally, Writer, check_between, kill_again_and_again
from killed_writers import CLUSTERS, FILES, GALLERIES, NETWORKS

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="looks for processes in /proc"
)

SEED = int(os.environ.get("MSEDGE_TEST_SEED", "1"))
_QUICK = {"index, photos that changed": 4, "gallery copy": 4, "gallery compact": 4,
          "gallery approximate": 3, "gallery reroot": 4, "evaluate --per-query": 4,
          "names add": 3}  # fmt: skip
_MANY = {
    "index": 24, "index, photos that changed": 20, "index --rebuild": 12, "gallery copy": 24,
    "gallery copy, to Lance": 16, "gallery compact": 20, "gallery compact, of Lance": 12,
    "gallery reroot": 20, "gallery reroot, of Lance": 12, "gallery forget": 12,
    "gallery check --repair, bad rows": 16, "gallery check --repair, damage": 12,
    "gallery approximate": 16, "search --html": 10, "evaluate --per-query": 16, "names add": 12,
    "data sample": 16, "data prepare --copy": 16, "train --resume": 6, "benchmark": 3,
    "benchmark, its first process alone": 2, "export": 2, "models ship": 2,
    "index --engine ray, its first process": 3,
}  # fmt: skip
_WRITERS = {each.name: each for each in (*GALLERIES, *FILES, *NETWORKS, *CLUSTERS)}


@pytest.fixture(scope="module")
def tallies() -> dict[str, Tally]:
    """What came of the kills of each writer."""
    return {}


def _writers(kills: dict[str, int]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("writer", [_WRITERS[name] for name in kills], ids=list(kills))


@_writers(_QUICK)
def test_some_kills_lose_nothing(writer: Writer, tmp_path: Path) -> None:
    tally = kill_again_and_again(writer, tmp_path / "run", _QUICK[writer.name], seed=SEED)
    assert tally.kills == _QUICK[writer.name]
    assert tally.completed >= 1


@pytest.mark.slow
class TestCampaign:
    @_writers(_MANY)
    def test_many_kills_lose_nothing(
        self, writer: Writer, tmp_path: Path, tallies: dict[str, Tally]
    ) -> None:
        name = writer.name
        tallies[name] = kill_again_and_again(writer, tmp_path / "run", _MANY[name], seed=SEED)

    def test_there_were_at_least_200(
        self, tallies: dict[str, Tally], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with capsys.disabled():
            print()
            for tally in tallies.values():
                print(tally.line())
            print(f"kills in all: {sum(tally.kills for tally in tallies.values())}")
        if len(tallies) < len(_MANY):
            pytest.skip("only some of the writers were run, or some failed")
        assert sum(tally.kills for tally in tallies.values()) >= 200


class TestTheFrame:
    """It would see what it is to see."""

    def test_half_of_a_file_is_neither(self) -> None:
        before, after = {"a": 1}, {"a": 2, "b": 3}
        check_between(before, {"a": 2}, after, at_once=False, note="")
        with pytest.raises(AssertionError, match="neither the old nor the new"):
            check_between(before, {"a": 2}, after, at_once=True, note="")
        for torn in ({"a": 0}, {}, {"a": 1, "b": 0}):
            with pytest.raises(AssertionError, match="neither"):
                check_between(before, torn, after, at_once=False, note="")

    @pytest.mark.parametrize(
        ("program", "broken"),
        [
            ("open('out/a', 'w').write('x' * n); time.sleep(.5); open('out/a', 'w').write('y')",
             "neither"),
            ("p = f'out/{n}.part'; open(p, 'w').write('y'); time.sleep(.5); os.replace(p, 'out/a')",
             "left, or missing"),
            ("n > 9 and os.fork() or time.sleep(100); open('out/a', 'w').write('y')", "outlive"),
        ],
        ids=["half a file", "a leftover", "a process"],
    )  # fmt: skip
    def test_a_careless_writer_is_found_out(
        self, program: str, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("killed_runs._SECONDS_TO_END", 0.5)
        careless = Writer(
            "careless", ("-c", f"import os, time; n = os.getpid(); {program}; time.sleep(0.5)"),
            lambda folder: (folder / "out/a").write_text("old") and None,
            lambda folder: {"a": (folder / "out/a").read_text()}, alone="fork" in program,
        )  # fmt: skip
        with pytest.raises(AssertionError, match=broken):
            kill_again_and_again(careless, tmp_path / "run", 6, seed=SEED)
