"""One page that says where the time of a training step goes and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msedge.training.profile_trace import DeviceTime
from msedge.training.stopwatch import PHASES

SHOWN_OPERATORS = 12

_BETWEEN = "between"
_BUSY = 0.8  # a device that works so much of the time is what the rest waits for
_NETWORK = ("forward", "loss", "backward")
_CURES = {
    "data": "keep the decoded images (`cache`, with a `cache_gb` that holds them all)",
    "views": "train with fewer edge views (`edge_view_share`)",
    "network": "use smaller images (`image_size`), frozen blocks (`frozen_blocks`), `compile`, or "
    "`precision: bf16-mixed` on a GPU that has it",
    "optimizer": "let fewer weights learn (`adapt`, `frozen_blocks`), or take larger batches",
    _BETWEEN: "look into the trace for what runs between the steps",
}
_NAMES = {
    "data": "waiting for data",
    "views": "preparing the views",
    "network": "the network's forward and backward passes",
    "optimizer": "the optimizer",
    _BETWEEN: "what lies between the phases",
}


@dataclass(frozen=True)
class Operator:
    """An operation of PyTorch, over all recorded steps.

    Attributes:
        name: PyTorch's.
        calls: how often it ran.
        seconds: in itself on the CPU, without the operations that it called.
        device_seconds: in itself on the GPU.
    """

    name: str
    calls: int
    seconds: float
    device_seconds: float = 0.0


@dataclass(frozen=True)
class Profiled:
    """What was measured over the recorded steps.

    Attributes:
        title: of the page.
        hardware: what computed, in words.
        trace: name of the trace's file.
        skipped: steps left out at the beginning.
        steps: recorded.
        images: that they trained on.
        seconds: wall clock from the first's beginning to the last's end.
        phases: seconds of each, wall clock.
        operators: in any order.
        memory_gb: peak of the process.
        device_memory_gb: peak on the GPU; None without one.
        device: how the GPU spent its time; None without one.
    """

    title: str
    hardware: str
    trace: str
    skipped: int
    steps: int
    images: int
    seconds: float
    phases: Mapping[str, float]
    operators: Sequence[Operator]
    memory_gb: float
    device_memory_gb: float | None = None
    device: DeviceTime | None = None

    @property
    def between(self) -> float:
        """Seconds that no phase accounts for."""
        return max(0.0, self.seconds - sum(self.phases.values()))

    @property
    def busy(self) -> float:
        """Share of the time in which the GPU worked; 0 without one."""
        return min(1.0, self.device.busy / self.seconds) if self.device is not None else 0.0


def summarise(profiled: Profiled) -> str:
    """The page, as Markdown."""
    rate = profiled.images / profiled.seconds
    waiting = profiled.phases.get("data", 0.0) / profiled.seconds
    first = f"The first {profiled.skipped} steps are left out, since they also warm up. "
    paragraphs = [
        f"# Where the time went: {profiled.title}",
        f"**{rate:.1f} images a second** on {profiled.hardware}: {profiled.steps} training steps, "
        f"{profiled.images} images, {profiled.seconds:.2f} s. {first if profiled.skipped else ''}"
        "Recording slows the steps down a little.",
        f"**What limits the run:** {limit(profiled)}",
        f"**Waiting for data:** {_percent(waiting)} of the time.",
        *_device_paragraph(profiled),
        "## The phases of a step",
        _phase_table(profiled),
        "## The operators that take longest",
        _operators_said(profiled),
        _operator_table(profiled),
        "## Memory",
        _memory_said(profiled),
        "## The trace",
        f"`{profiled.trace}` shows every operation on a time line: open it at "
        "<https://ui.perfetto.dev> or, in Chrome, at `chrome://tracing`. The phases are the blocks "
        "named `msedge:`.",
    ]
    return "\n\n".join(paragraphs) + "\n"


def summarise_nothing(title: str, done: int, skipped: int) -> str:
    """The page of a run that ended before a step could be recorded, as Markdown.

    Args:
        title: of the page.
        done: steps that the run did.
        skipped: steps that are left out at the beginning.
    """
    return (
        f"# Where the time went: {title}\n\nNothing was recorded: the run ended after {done} "
        f"training steps, and the first {skipped} are left out. Train for longer to see where "
        "the time goes.\n"
    )


def limit(profiled: Profiled) -> str:
    """What limits the run and what would help, in one sentence."""
    device = profiled.device
    if device is not None and profiled.busy >= _BUSY:
        total = sum(device.seconds.values())
        group, seconds = _largest(device.seconds)
        return (
            f"the GPU, which worked {_percent(profiled.busy)} of the time, "
            f"{_percent(seconds / total)} of that for {_NAMES.get(group, group)}; to go faster, "
            f"{_cure(group)}."
        )
    group, seconds = _largest({**profiled.phases, "": profiled.between})
    idle = "" if device is None else ", while the GPU often had nothing to do"
    return (
        f"{_NAMES.get(group, group)}, {_percent(seconds / profiled.seconds)} of the time{idle}; to "
        f"go faster, {_cure(group)}."
    )


def _largest(seconds: Mapping[str, float]) -> tuple[str, float]:
    """The group of phases with the most seconds."""
    groups: dict[str, float] = {}
    for phase, spent in seconds.items():
        group = "network" if phase in _NETWORK else phase or _BETWEEN
        groups[group] = groups.get(group, 0.0) + spent
    return max(groups.items(), key=lambda item: item[1])


def _cure(group: str) -> str:
    return _CURES.get(group, f"look into the trace for what happens in {group}")


def _device_paragraph(profiled: Profiled) -> list[str]:
    if profiled.device is None:
        return []
    return [
        f"**The GPU worked** {_percent(profiled.busy)} of the time. It runs behind the program, "
        "which tells it what to do and goes on: the program's milliseconds say what the program "
        "did or waited for, the GPU's what the GPU did for that phase."
    ]


def _phase_table(profiled: Profiled) -> str:
    device = profiled.device
    head = ["phase", "what happens", "ms a step", "share"]
    order = [*PHASES, *(name for name in profiled.phases if name not in PHASES)]
    rows = []
    for name in [name for name in order if name in profiled.phases] + [""]:
        said = PHASES.get(name, "") if name else "progress, logs and whatever else no phase names"
        seconds = profiled.phases[name] if name else profiled.between
        share = _percent(seconds / profiled.seconds)
        row = [name or _BETWEEN, said, _milliseconds(seconds, profiled), share]
        if device is not None:
            row.append(_milliseconds(device.seconds.get(name, 0.0), profiled))
        rows.append(row)
    total = ["**all**", "", _milliseconds(profiled.seconds, profiled), _percent(1)]
    if device is not None:
        head.append("GPU ms a step")
        total.append(_milliseconds(sum(device.seconds.values()), profiled))
    return _table(head, [*rows, total], texts=2)


def _operators_said(profiled: Profiled) -> str:
    where = "the CPU" if profiled.device is None else "the GPU"
    return (
        f"An operator is one operation of PyTorch, such as a convolution. Its time on {where} is "
        f"its own, without that of operators it calls; shares are of all operators' time."
    )


def _operator_table(profiled: Profiled) -> str:
    on_device = profiled.device is not None

    def own(operator: Operator) -> float:
        return operator.device_seconds if on_device else operator.seconds

    total = sum(map(own, profiled.operators)) or 1.0
    largest = sorted(profiled.operators, key=own, reverse=True)[:SHOWN_OPERATORS]
    rows = [
        [
            f"`{operator.name}`",
            f"{operator.calls / profiled.steps:.0f}",
            _milliseconds(own(operator), profiled),
            _percent(own(operator) / total),
        ]
        for operator in largest
    ]
    unit = "GPU ms a step" if on_device else "ms a step"
    return _table(["operator", "calls a step", unit, "share"], rows, texts=1)


def _memory_said(profiled: Profiled) -> str:
    said = f"At most {profiled.memory_gb:.2f} GB of memory"
    if profiled.device_memory_gb is not None:
        said += f", and {profiled.device_memory_gb:.2f} GB for tensors on the GPU"
    return f"{said}, since the program started."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int) -> str:
    """A Markdown table whose first columns are texts and whose others are figures."""
    rule = [":--"] * texts + ["--:"] * (len(head) - texts)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def _milliseconds(seconds: float, profiled: Profiled) -> str:
    return f"{1000 * seconds / profiled.steps:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
