"""A few training steps recorded operation by operation, for ``msedge train --profile``.

It leaves a trace, which shows every operation on a time line, and a page that says where the time
went. The steps are recorded once the first ones are over, since those also load libraries, fill
caches and compile.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile

from msedge.storage import atomic_path
from msedge.training.meter import device_memory_gb, peak_memory_gb
from msedge.training.profile_summary import Operator, Profiled, summarise, summarise_nothing
from msedge.training.profile_trace import device_time, read_trace
from msedge.training.stopwatch import Stopwatch


class Profile:
    """Records some steps, then writes the trace and the page, and does nothing from then on.

    Close it at the end of the first epoch that it sees: what lies between two epochs would
    otherwise be recorded too, when an epoch has few steps.
    """

    def __init__(
        self,
        trace: Path,
        summary: Path,
        stopwatch: Stopwatch,
        *,
        title: str,
        device: torch.device,
        skip: int = 3,
        steps: int = 8,
    ) -> None:
        """Get ready; call it just before the first step.

        Args:
            trace: the Chrome trace to write (``.json.gz``).
            summary: the page to write (``.md``).
            stopwatch: that the steps' phases are counted with.
            title: of the page, such as the data and the backbone.
            device: what computes.
            skip: steps to leave out at the beginning, at least 0.
            steps: steps to record, at least 1.
        """
        self._trace, self._summary, self._stopwatch = trace, summary, stopwatch
        self._title, self._device = title, device
        self._skip, self._steps = skip, steps
        self._done = self._images = 0
        # Otherwise the recorder's library writes its own news into the progress display.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._recorder: profile | None = profile(activities=activities, schedule=self._action)
        self._recorder.start()
        self._mark()

    def step(self, images: int) -> None:
        """Take that a training step has ended.

        Args:
            images: how many it trained on.

        Raises:
            DataError: the files cannot be written.
        """
        if self._recorder is None:
            return
        self._done += 1
        if self._done <= self._skip:
            self._recorder.step()
            self._mark()
            return
        self._images += images
        self._ended, self._phases = self._now()
        if self._done < self._skip + self._steps:
            self._recorder.step()
        else:
            self.close()

    def close(self) -> None:
        """End the recording and write what there is; may be called again.

        Raises:
            DataError: the files cannot be written.
        """
        if self._recorder is None:
            return
        recorder, self._recorder = self._recorder, None
        if self._device.type == "cuda" and self._skip < self._done < self._skip + self._steps:
            torch.cuda.synchronize(self._device)  # no later step has waited for it
            self._ended = time.perf_counter()
        recorder.stop()
        if self._done <= self._skip:
            self._trace.unlink(missing_ok=True)  # of an earlier run
            self._write_page(summarise_nothing(self._title, self._done, self._skip))
            return
        with atomic_path(self._trace) as temporary:
            recorder.export_chrome_trace(str(temporary))
        self._write_page(summarise(self._profiled(recorder)))

    def _action(self, step: int) -> ProfilerAction:
        """What to do in a step, counted from 0."""
        if step >= self._skip:
            return ProfilerAction.RECORD
        return ProfilerAction.WARMUP if step == self._skip - 1 else ProfilerAction.NONE

    def _mark(self) -> None:
        """Remember where the recorded steps begin."""
        self._began, self._before = self._now()

    def _now(self) -> tuple[float, dict[str, float]]:
        if self._device.type == "cuda" and self._done in (self._skip, self._skip + self._steps):
            torch.cuda.synchronize(self._device)  # work that was asked for belongs to its steps
        return time.perf_counter(), dict(self._stopwatch.seconds)

    def _profiled(self, recorder: profile) -> Profiled:
        on_device = self._device.type == "cuda"
        return Profiled(
            title=self._title,
            hardware=_hardware(self._device),
            trace=self._trace.name,
            skipped=self._skip,
            steps=self._done - self._skip,
            images=self._images,
            seconds=self._ended - self._began,
            phases={
                name: seconds - self._before.get(name, 0.0)
                for name, seconds in self._phases.items()
            },
            operators=_operators(recorder),
            memory_gb=peak_memory_gb(),
            device_memory_gb=device_memory_gb(self._device),
            device=device_time(read_trace(self._trace)) if on_device else None,
        )

    def _write_page(self, page: str) -> None:
        with atomic_path(self._summary) as temporary:
            temporary.write_text(page, encoding="utf-8")


def _operators(recorder: profile) -> list[Operator]:
    """Time by operator; blocks that only bear a name are none, and kernels count for theirs."""
    return [
        Operator(
            each.key,
            each.count,
            each.self_cpu_time_total / 1e6,
            each.self_device_time_total / 1e6,
        )
        for each in recorder.key_averages()
        if each.device_type.name == "CPU" and not each.is_user_annotation
    ]


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"the CPU ({platform.machine()}, {threads} {'threads' if threads > 1 else 'thread'})"
    return device.type
