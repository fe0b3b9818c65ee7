"""The page for what was measured: every figure on it, and the sentence on what limits a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msedge.training.profile_summary import (
    SHOWN_OPERATORS,
    Operator,
    Profiled,
    limit,
    summarise,
    summarise_nothing,
)
from msedge.training.profile_trace import DeviceTime
from msedge.training.stopwatch import PHASES

PHASE_SECONDS = {
    "data": 0.1, "views": 0.2, "forward": 0.5, "loss": 0.1, "backward": 0.8, "optimizer": 0.2,
}  # fmt: skip
MEASURED = Profiled(
    title="sketchy, resnet50",
    hardware="the CPU (2 threads)",
    trace="sketchy_trace.json.gz",
    skipped=3,
    steps=8,
    images=512,
    seconds=2.0,
    phases=PHASE_SECONDS,
    operators=[Operator("aten::add", 80, 0.25), Operator("aten::mm", 16, 0.75)],
    memory_gb=1.234,
)
ON_A_CARD = replace(
    MEASURED,
    hardware="a card",
    operators=[Operator("aten::add", 80, 0.75, 0.25), Operator("aten::mm", 16, 0.25, 0.75)],
    device_memory_gb=5.678,
    device=DeviceTime({"forward": 0.6, "backward": 1.2, "": 0.2}, 1.9),
)


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the table beneath a heading, its head first, without the rule."""
    lines = page.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [line[2:-2].split(" | ") for line in lines if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    return [rows[0], *rows[2:]]


def percent(cell: str) -> float:
    return float(cell.removesuffix(" %"))


class TestPage:
    def test_the_head(self):
        page = summarise(MEASURED)
        assert page.startswith("# Where the time went: sketchy, resnet50\n")
        assert "**256.0 images a second** on the CPU (2 threads): 8 training steps, 512" in page
        assert "The first 3 steps are left out" in page
        assert "**Waiting for data:** 5.0 % of the time." in page
        assert f"**What limits the run:** {limit(MEASURED)}\n" in page
        assert "`sketchy_trace.json.gz`" in page
        assert "left out" not in summarise(replace(MEASURED, skipped=0))

    def test_it_is_one_page(self):
        many = [Operator(f"aten::op{n}", 1, 0.01) for n in range(100)]
        page = summarise(replace(ON_A_CARD, operators=many))
        assert len(page.splitlines()) < 60

    def test_the_phases(self):
        head, *rows = table(summarise(MEASURED), "The phases of a step")
        assert head == ["phase", "what happens", "ms a step", "share"]
        assert [row[0] for row in rows] == [*PHASES, "between", "**all**"]
        assert all(row[1] for row in rows[:-1])
        assert [row[2] for row in rows] == [
            "12.5", "25.0", "62.5", "12.5", "100.0", "25.0", "12.5", "250.0",
        ]  # fmt: skip
        assert [row[3] for row in rows][:2] == ["5.0 %", "10.0 %"]
        assert rows[-1][3] == "100.0 %"

    def test_phases_in_the_order_of_a_step_and_new_ones_after(self):
        phases = {"average": 0.5, "loss": 0.5, "data": 0.5}
        _, *rows = table(summarise(replace(MEASURED, phases=phases)), "The phases of a step")
        assert [row[0] for row in rows] == ["data", "loss", "average", "between", "**all**"]

    @given(
        st.dictionaries(st.sampled_from([*PHASES, "more"]), st.floats(0, 1e3), min_size=1),
        st.floats(1e-3, 10),
    )
    def test_shares_add_up_to_the_whole(self, phases, between):
        measured = replace(MEASURED, phases=phases, seconds=sum(phases.values()) + between)
        _, *rows, total = table(summarise(measured), "The phases of a step")
        assert sum(percent(row[3]) for row in rows) == pytest.approx(100, abs=0.05 * len(rows))
        assert percent(total[3]) == 100
        spent = sum(float(row[2]) for row in rows)
        assert spent == pytest.approx(float(total[2]), abs=0.05 * (len(rows) + 1))

    def test_the_operators(self):
        head, *rows = table(summarise(MEASURED), "The operators that take longest")
        assert head == ["operator", "calls a step", "ms a step", "share"]
        assert rows == [
            ["`aten::mm`", "2", "93.8", "75.0 %"],
            ["`aten::add`", "10", "31.2", "25.0 %"],
        ]

    def test_the_largest_operators_alone(self):
        many = [Operator(f"aten::op{n}", 8, float(n % 40)) for n in range(40)]
        _, *rows = table(
            summarise(replace(MEASURED, operators=many)), "The operators that take longest"
        )
        assert SHOWN_OPERATORS == 12
        assert [row[0] for row in rows] == [f"`aten::op{n}`" for n in range(39, 27, -1)]
        assert percent(rows[0][3]) == pytest.approx(100 * 39 / sum(range(40)), abs=0.05)

    def test_no_operators(self):
        page = summarise(replace(MEASURED, operators=[]))
        assert len(table(page, "The operators that take longest")) == 1

    def test_memory(self):
        assert "At most 1.23 GB of memory, since" in summarise(MEASURED)
        assert "1.23 GB of memory, and 5.68 GB for tensors on the GPU" in summarise(ON_A_CARD)

    def test_of_a_gpu(self):
        page = summarise(ON_A_CARD)
        assert "**The GPU worked** 95.0 % of the time." in page
        head, *rows = table(page, "The phases of a step")
        assert head[-1] == "GPU ms a step"
        assert {row[0]: row[-1] for row in rows} == {
            "data": "0.0", "views": "0.0", "forward": "75.0", "loss": "0.0", "backward": "150.0",
            "optimizer": "0.0", "between": "25.0", "**all**": "250.0",
        }  # fmt: skip
        head, *rows = table(page, "The operators that take longest")
        assert head[2] == "GPU ms a step"
        assert rows[0] == ["`aten::mm`", "2", "93.8", "75.0 %"]
        assert "GPU" not in summarise(MEASURED).replace("on a GPU that has it", "")

    def test_nothing(self):
        page = summarise_nothing("tiny", 2, 3)
        assert page.startswith("# Where the time went: tiny\n")
        assert "ended after 2 training steps, and the first 3 are left out" in page


class TestLimit:
    def mostly(self, **seconds: float) -> Profiled:
        return replace(MEASURED, seconds=10.0, phases=dict.fromkeys(PHASES, 0.1) | seconds)

    @pytest.mark.parametrize(
        ("phases", "said"),
        [
            ({"data": 8.0}, "waiting for data, 80.0 % of the time; to go faster, keep the decoded"),
            ({"views": 8.0}, "preparing the views, 80.0 % of the time; to go faster, train with"),
            ({"optimizer": 8.0}, "the optimizer, 80.0 % of the time; to go faster, let fewer"),
            ({"forward": 3.0, "loss": 2.0, "backward": 3.0, "data": 1.7}, "forward and backward"),
            ({"average": 8.0}, "average, 80.0 % of the time; to go faster, look into the trace"),
            ({}, "what lies between the phases, 94.0 % of the time; to go faster, look into"),
        ],
    )
    def test_on_the_cpu(self, phases, said):
        sentence = limit(self.mostly(**phases))
        assert said in sentence
        assert sentence.endswith(".")
        assert "GPU worked" not in sentence

    def test_the_passes_count_together(self):
        together = {"forward": 2.5, "loss": 2.5, "backward": 2.5, "data": 2.6}
        assert limit(self.mostly(**together)).startswith("the network's forward and backward")

    def test_a_busy_gpu(self):
        sentence = limit(ON_A_CARD)
        assert sentence.startswith(
            "the GPU, which worked 95.0 % of the time, 90.0 % of that for the network's forward and"
        )

    def test_a_busy_gpu_with_views(self):
        device = DeviceTime({"forward": 0.5, "views": 1.5}, 1.9)
        sentence = limit(replace(ON_A_CARD, device=device))
        assert "75.0 % of that for preparing the views; to go faster, train with fewer" in sentence

    def test_a_gpu_that_waits(self):
        device = DeviceTime({"forward": 0.2, "backward": 0.4}, 0.5)
        waiting = replace(ON_A_CARD, phases=PHASE_SECONDS | {"data": 1.5}, seconds=4.0)
        sentence = limit(replace(waiting, device=device))
        assert sentence.startswith(
            "waiting for data, 37.5 % of the time, while the GPU often had nothing to do"
        )

    def test_work_that_outlasts_the_steps_is_not_more_than_all_the_time(self):
        device = DeviceTime({"backward": 2.5}, 2.5)
        assert "worked 100.0 % of the time" in limit(replace(ON_A_CARD, device=device))
