"""A small network that really trains, recorded; its trace read as what it is, JSON."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn

from msedge.errors import DataError
from msedge.training.profiling import Profile
from msedge.training.stopwatch import PHASES, Stopwatch

CPU = torch.device("cpu")
BATCH = 16


class Training:
    """Steps of a small network, with a profile of them in a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        wait: float = 0.0,
        skip: int = 3,
        steps: int = 8,
        device: torch.device = CPU,
        told: torch.device | None = None,  # what the profile takes for the device
    ) -> None:
        torch.manual_seed(0)
        self.trace, self.summary = folder / "tiny_trace.json.gz", folder / "tiny_profile.md"
        self.stopwatch, self.wait, self.device = Stopwatch(), wait, device
        self.network = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(),
            nn.Linear(16 * 30 * 30, 8),
        ).to(device)  # fmt: skip
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.profile = Profile(
            self.trace,
            self.summary,
            self.stopwatch,
            title="tiny",
            device=told or device,
            skip=skip,
            steps=steps,
        )

    def run(self, steps: int) -> None:
        phase = self.stopwatch.phase
        for _ in range(steps):
            with phase("data"):
                time.sleep(self.wait)
                images = torch.randint(256, (BATCH, 3, 32, 32), dtype=torch.uint8)
            with phase("views"):
                images = images.to(self.device).float().div(255)
            with phase("forward"):
                embeddings = self.network(images)
            with phase("loss"):
                loss = embeddings.square().mean()
            with phase("backward"):
                self.optimizer.zero_grad()
                loss.backward()
            with phase("optimizer"):
                self.optimizer.step()
            self.profile.step(BATCH)

    def events(self) -> list[dict]:
        """The spans of the trace."""
        with gzip.open(self.trace, "rt", encoding="utf-8") as opened:
            trace = json.load(opened)
        return [event for event in trace["traceEvents"] if event["ph"] == "X"]

    def table(self, heading: str) -> list[list[str]]:
        """The rows of a table on the page, without its head."""
        section = self.summary.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
        return [line[2:-2].split(" | ") for line in section.splitlines() if line[:1] == "|"][2:]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A run whose recording is over."""
    training = Training(tmp_path_factory.mktemp("run"), wait=0.005)
    training.run(11)
    return training


def own_times(events: list[dict]) -> dict[str, float]:
    """Milliseconds of each operator without what it calls, from the spans of the trace."""
    own: Counter[str] = Counter()
    by_thread: dict[int, list[dict]] = {}
    for event in events:
        if event.get("cat") in ("cpu_op", "user_annotation"):
            by_thread.setdefault(event["tid"], []).append(event)
    for spans in by_thread.values():
        around: list[dict] = []
        for span in sorted(spans, key=lambda each: (each["ts"], -each["dur"])):
            while around and around[-1]["ts"] + around[-1]["dur"] <= span["ts"]:
                around.pop()
            if around and around[-1]["cat"] == "cpu_op":
                own[around[-1]["name"]] -= span["dur"] / 1000
            if span["cat"] == "cpu_op":
                own[span["name"]] += span["dur"] / 1000
            around.append(span)
    return own


class TestTrace:
    def test_holds_every_phase_of_the_recorded_steps_alone(self, finished):
        counts = Counter(each["name"] for each in finished.events() if "msedge:" in each["name"])
        assert counts == {f"msedge:{name}": 8 for name in PHASES}

    def test_holds_the_operations_within_their_phases(self, finished):
        events = finished.events()
        phases = [each for each in events if each["name"] == "msedge:forward"]
        convolutions = [each for each in events if each["name"] == "aten::conv2d"]
        assert len(convolutions) == 8
        for phase, convolution in zip(phases, convolutions, strict=True):
            assert phase["ts"] <= convolution["ts"]
            ends = [each["ts"] + each["dur"] for each in (convolution, phase)]
            assert ends[0] <= ends[1]

    def test_nothing_else_is_left_in_the_folder(self, finished):
        assert {*finished.trace.parent.iterdir()} == {finished.trace, finished.summary}


class TestSummary:
    def test_the_shares_add_up(self, finished):
        *rows, total = finished.table("The phases of a step")
        assert [row[0] for row in rows] == [*PHASES, "between"]
        shares = [float(row[3].removesuffix(" %")) for row in rows]
        assert sum(shares) == pytest.approx(100, abs=0.05 * len(rows))
        assert all(share > 0 for share in shares)
        assert total[3] == "100.0 %"

    def test_the_milliseconds_are_those_of_the_trace(self, finished):
        rows = finished.table("The phases of a step")
        spent = {row[0]: float(row[2]) for row in rows}
        traced: Counter[str] = Counter()
        for event in finished.events():
            if event["name"].startswith("msedge:"):
                traced[event["name"].removeprefix("msedge:")] += event["dur"] / 1000 / 8
        # The blocks of the trace lie around what the stopwatch counts; between the two a busy
        # machine may do other work.
        for name in PHASES:
            assert 0 <= spent[name] <= traced[name] + 0.05
        assert spent["data"] >= 5
        assert sum(spent[name] for name in PHASES) > 0.5 * sum(traced.values())

    def test_images_a_second(self, finished):
        steps = [each for each in finished.events() if each["name"].startswith("ProfilerStep")]
        assert len(steps) == 8
        took = max(each["ts"] + each["dur"] for each in steps) - min(each["ts"] for each in steps)
        page = finished.summary.read_text()
        told = float(page.split("**")[1].removesuffix(" images a second"))
        traced = 8 * BATCH / (took / 1e6)
        assert 0.999 * traced <= told < 2 * traced
        assert "8 training steps, 128 images" in page

    def test_the_operators_are_the_largest_of_the_trace(self, finished):
        own = own_times(finished.events())
        rows = finished.table("The operators that take longest")
        assert len(rows) == 12
        for name, _, milliseconds, share in rows:
            expected = own[name.strip("`")]
            assert float(milliseconds) == pytest.approx(expected / 8, rel=0.02, abs=0.06)
            assert float(share.removesuffix(" %")) == pytest.approx(
                100 * expected / sum(own.values()), rel=0.02, abs=0.1
            )
        assert rows[0][0].strip("`") == max(own, key=own.__getitem__)
        times = [own[row[0].strip("`")] for row in rows]
        left_out = [time for name, time in own.items() if f"`{name}`" not in {r[0] for r in rows}]
        assert min(times) >= max(left_out) - 0.01

    def test_names_what_limits_the_run(self, tmp_path):
        waiting = Training(tmp_path / "waiting", wait=0.1, skip=1, steps=2)
        waiting.run(3)
        page = waiting.summary.read_text()
        assert "**What limits the run:** waiting for data, " in page
        share = float(page.split("**Waiting for data:** ")[1].split(" %")[0])
        assert 50 < share <= 100

    def test_memory(self, finished):
        told = finished.summary.read_text().split("At most ")[1].split(" GB")[0]
        assert 0.1 < float(told) < 100


class TestWhenItEnds:
    def test_then_it_does_nothing_more(self, tmp_path):
        training = Training(tmp_path, skip=1, steps=2)
        training.run(2)
        assert not training.trace.exists()
        assert not training.summary.exists()
        training.run(1)
        before = training.trace.read_bytes(), training.summary.read_bytes()
        training.trace.unlink()
        training.summary.unlink()
        training.run(5)
        training.profile.close()
        assert not [*tmp_path.iterdir()]
        assert all(before)

    def test_a_run_that_ends_early(self, tmp_path):
        training = Training(tmp_path, skip=1, steps=8)
        with closing(training.profile):
            training.run(3)
        counts = Counter(each["name"] for each in training.events() if "msedge:" in each["name"])
        assert counts == {f"msedge:{name}": 2 for name in PHASES}
        assert "2 training steps, 32 images" in training.summary.read_text()

    def test_a_run_that_fails(self, tmp_path):
        training = Training(tmp_path, skip=0)

        def fail() -> None:
            with closing(training.profile):
                training.run(2)
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert "2 training steps" in training.summary.read_text()
        assert "left out" not in training.summary.read_text()

    @pytest.mark.parametrize("steps", [0, 1, 2, 3])
    def test_a_run_too_short_to_record_anything(self, tmp_path, steps):
        training = Training(tmp_path, skip=3)
        training.trace.write_bytes(b"of an earlier run")
        training.run(steps)
        training.profile.close()
        assert [*tmp_path.iterdir()] == [training.summary]
        assert f"ended after {steps} training steps" in training.summary.read_text()


class TestExceptions:
    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        training = Training(tmp_path / "file", skip=0, steps=1)
        with pytest.raises(DataError, match="cannot write") as raised:
            training.run(1)
        assert "\n" not in str(raised.value)
        training.run(1)  # it is over


class TestDevices:
    @pytest.mark.filterwarnings("ignore:.*CUDA")
    @pytest.mark.parametrize("ends_early", [False, True])
    def test_a_gpu_is_waited_for_where_the_steps_begin_and_end(
        self, tmp_path, monkeypatch, ends_early
    ):
        waited = []
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(device))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 1_500_000_000)
        card = torch.device("cuda", 1)
        training = Training(tmp_path, skip=1, steps=5 if ends_early else 3, told=card)
        training.run(4 if ends_early else 6)
        training.profile.close()
        assert waited == [card, card]
        page = training.summary.read_text()
        assert "images a second** on card 1: 3 training steps" in page
        assert "1.50 GB for tensors on the GPU" in page
        assert "**The GPU worked** 0.0 % of the time" in page  # nothing was given to it
        assert [row[4] for row in training.table("The phases of a step")] == ["0.0"] * 8

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_the_time_of_a_gpu(self, tmp_path):
        training = Training(tmp_path, device=torch.device("cuda"))
        training.run(11)
        *rows, total = training.table("The phases of a step")
        spent = {row[0]: float(row[4]) for row in rows}
        kernels = [each for each in training.events() if each.get("cat") == "kernel"]
        assert kernels
        assert min(spent["forward"], spent["backward"], spent["optimizer"]) > 0
        assert float(total[4]) >= sum(each["dur"] for each in kernels) / 1000 / 8 - 0.1
        assert "**The GPU worked** 0.0 %" not in training.summary.read_text()


def test_it_writes_nothing_into_the_progress_display(tmp_path):
    code = (
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from msedge.training.profiling import Profile\n"
        "from msedge.training.stopwatch import Stopwatch\n"
        "folder = Path(sys.argv[1])\n"
        "profile = Profile(folder / 'trace.json.gz', folder / 'page.md', Stopwatch(), title='a',\n"
        "                  device=torch.device('cpu'), skip=1, steps=1)\n"
        "for _ in range(2):\n"
        "    torch.ones(3).sum()\n"
        "    profile.step(1)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert (done.stdout, done.stderr) == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"trace.json.gz", "page.md"}
