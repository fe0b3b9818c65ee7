"""Commands that run out of memory: one line, and everything that was stored is whole.

The system refuses memory (a limit of the address space), or its out-of-memory killer ends the
process (a control group).
"""

from __future__ import annotations

import errno
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from indexing_runs import held
from killed_runs import SECONDS, marked
from memory_limits import refused_beyond, small_group, was_killed_for_memory, within
from msedge.memory import as_out_of_memory
from msedge.search.stores import check_gallery
from photo_files import write_photo

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits memory as Linux does"
)

LARGE = (8_000, 7_900)  # 250 MB decoded, and 190 without its alpha
MEASURED = """
import re, sys
from pathlib import Path
from msedge.cli.app import main
try:
    main()
finally:
    print("peak", re.search(r"VmPeak:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def needed(arguments: list[str], folder: Path) -> int:
    """Megabytes of address space that a command takes in peace."""
    done = refused_beyond(10**7, ["-c", MEASURED, *arguments], folder)
    found = re.search(r"^peak (\d+)$", done.stdout, re.MULTILINE)
    assert found, done.stderr
    return int(found[1]) // 1024


def assert_told(done: subprocess.CompletedProcess[str]) -> None:
    """One line of ours, where it was Python that was refused; never a traceback."""
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    if done.returncode == 2:
        own = [line for line in done.stderr.splitlines() if line.startswith("msedge: ")]
        assert len(own) == 1, done.stderr


class TestKnowingIt:
    """By the errors that libraries really raise."""

    @pytest.mark.parametrize(
        "ask",
        [
            lambda: bytearray(2**62),
            lambda: np.empty(2**60, np.uint8),
            lambda: __import__("torch").empty(2**50),
            lambda: __import__("faiss").Float32Vector().resize(2**58),
        ],
        ids=["Python", "NumPy", "PyTorch", "faiss"],
    )
    def test_whoever_says_it(self, ask: Callable[[], object]) -> None:
        with pytest.raises(Exception) as raised:  # noqa: PT011
            ask()
        told = as_out_of_memory(raised.value)
        assert told is not None, repr(raised.value)
        assert str(told).startswith("out of memory")

    def test_the_system(self) -> None:
        assert as_out_of_memory(OSError(errno.ENOMEM, "Cannot allocate memory")) is not None

    @pytest.mark.parametrize(
        "error", [ValueError("no colour"), OSError(errno.ENOSPC, "full"), KeyError("memory")]
    )
    def test_nothing_else(self, error: Exception) -> None:
        assert as_out_of_memory(error) is None


class TestIndexing:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Small photos, and one that is large when it is decoded."""
        for number in range(6):
            write_photo(tmp_path / f"photos/{number}.jpg", number)
        return tmp_path

    def test_a_photo_too_large_for_what_is_left_costs_no_other(self, folder: Path) -> None:
        command = ["index", "photos", "--gallery", "g.msedge", "--threads", "1"]
        least = needed([*command[:3], "first.msedge", *command[4:]], folder)
        Image.new("RGBA", LARGE, (90, 10, 10, 200)).save(folder / "photos/3-large.png")
        done = refused_beyond(least + 20, ["-m", "msedge", *command], folder)
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("skipped")]
        assert line.endswith("photos/3-large.png: too large for the memory that is left")
        assert held(folder / "g.msedge") == held(folder / "first.msedge")
        again = refused_beyond(10**6, ["-m", "msedge", *command], folder)
        assert "1 new, 0 changed, 0 moved, 0 removed, 6 unchanged, 0 skipped" in again.stdout

    def test_killed_by_the_system_it_goes_on_from_there(self, folder: Path) -> None:
        command = ["-m", "msedge", "index", "photos", "--gallery", "g.msedge", "--threads", "1"]
        refused_beyond(10**6, command, folder)
        before = held(folder / "g.msedge")
        Image.new("RGBA", LARGE, (90, 10, 10, 200)).save(folder / "photos/3-large.png")
        with small_group(110) as group:
            ended = subprocess.run(
                within(group, command), cwd=folder, capture_output=True, timeout=SECONDS,
                check=False, env=marked("memory"),
            )  # fmt: skip
            if not was_killed_for_memory(group):
                pytest.skip(f"it took less than the limit here: status {ended.returncode}")
        assert ended.returncode in (-9, 137)
        assert held(folder / "g.msedge") == before
        assert {each.name for each in check_gallery(folder / "g.msedge")} <= {"log"}
        again = refused_beyond(10**6, command, folder)
        assert "1 new, 0 changed, 0 moved, 0 removed, 6 unchanged, 0 skipped" in again.stdout
        assert check_gallery(folder / "g.msedge") == []
        left = {path.name for path in folder.iterdir()}
        assert left == {"photos", "g.msedge"}


def _features(folder: Path) -> list[str]:
    rng = np.random.default_rng(0)
    for name, count in (("q", 1000), ("p", 8000)):
        labels = np.array([f"class {n % 20}" for n in range(count)])
        vectors = rng.normal(size=(count, 64)).astype(np.float32)
        np.savez(folder / f"{name}.npz", x=vectors, y=labels)
    return ["evaluate", "q.npz", "p.npz", "--per-query", "rows.csv"]


def _training(folder: Path) -> list[str]:
    for side in ("train", "val"):
        for domain in ("sketch", "photo"):
            for label in range(4):
                for number in range(16):
                    write_photo(
                        folder / f"tiny/{side}/{domain}/{side} {label}/{number}.png",
                        100 * label + number, size=(256, 256),
                    )  # fmt: skip
    settings = {
        "data_root": ".", "data_name": "tiny", "backbone": "test_efficientnet", "weights": "none",
        "dim": 16, "image_size": 512, "batch_size": 128, "epochs": 1, "warmup": 0, "cache": False,
        "accelerator": "cpu", "select": "last", "save_root": "result",
    }  # fmt: skip
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    return ["train", "--config", "settings.yaml"]


class TestOneLine:
    """At any limit; below some, libraries end the process before Python hears of it."""

    @pytest.mark.parametrize("share", [0.8, 0.95])
    def test_evaluate(self, share: float, tmp_path: Path) -> None:
        command = _features(tmp_path)
        least = needed(command, tmp_path)
        (tmp_path / "rows.csv").write_text("of yesterday")
        done = refused_beyond(int(share * least), ["-m", "msedge", *command], tmp_path)
        assert_told(done)
        if done.returncode:
            assert (tmp_path / "rows.csv").read_text() == "of yesterday"
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"q.npz", "p.npz", "rows.csv"}

    @pytest.mark.slow
    @pytest.mark.parametrize("share", [0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.85, 0.9, 0.98])
    def test_evaluate_at_many_limits(self, share: float, tmp_path: Path) -> None:
        self.test_evaluate(share, tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize("share", [0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98])
    def test_index(self, share: float, tmp_path: Path) -> None:
        for number in range(20):
            write_photo(tmp_path / f"photos/{number}.jpg", number, size=(1000, 800))
        command = ["index", "photos", "--threads", "2", "--gallery"]
        least = needed([*command, "first.msedge"], tmp_path)
        whole = held(tmp_path / "first.msedge")
        done = refused_beyond(int(share * least), ["-m", "msedge", *command, "g.msedge"], tmp_path)
        assert_told(done)
        if (tmp_path / "g.msedge").exists():
            assert held(tmp_path / "g.msedge").items() <= whole.items()
            assert check_gallery(tmp_path / "g.msedge", repair=True) is not None
        assert refused_beyond(10**6, ["-m", "msedge", *command, "g.msedge"], tmp_path).stdout
        assert held(tmp_path / "g.msedge") == whole

    @pytest.mark.slow
    @pytest.mark.parametrize("more", [100, 300])
    def test_train(self, more: int, tmp_path: Path) -> None:
        command = ["-m", "msedge", *_training(tmp_path)]
        loaded = needed(["train", "--config", "nowhere.yaml"], tmp_path)
        least = needed_to_load_torch(tmp_path)
        done = refused_beyond(max(loaded, least) + more, command, tmp_path)
        assert_told(done)
        assert done.returncode == 2
        assert "msedge: out of memory" in done.stderr
        assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def needed_to_load_torch(folder: Path) -> int:
    """Megabytes of address space before a training has begun."""
    code = MEASURED.replace("main()", "import msedge.training.trainer", 1)
    done = refused_beyond(10**7, ["-c", code], folder)
    return int(done.stdout.split()[-1]) // 1024
