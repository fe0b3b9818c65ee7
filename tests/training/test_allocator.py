"""Freed memory is kept: counted in page faults, which are the same on a busy machine."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from msedge.training.allocator import keep_freed_memory

_COUNT_FAULTS = """
import resource, sys
from msedge.training.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
bytes(1)
block = b"x" * 2**25
del block
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    block = b"x" * 2**25
    del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def has_mallopt() -> bool:
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(not has_mallopt(), reason="needs glibc")
def test_a_second_use_of_memory_faults_no_pages_in() -> None:
    faults = {}
    for how in ("kept", "given back"):
        command = [sys.executable, "-c", _COUNT_FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["kept"] < 0.2 * faults["given back"]


def test_elsewhere_than_on_linux_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(_: object) -> None:
        raise AssertionError("looked for a C library")

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", opened)
    assert keep_freed_memory() is False


def test_c_libraries_without_mallopt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert keep_freed_memory() is False


@pytest.mark.parametrize(("answers", "agreed"), [([1, 1, 1], True), ([1, 0, 1], False)])
def test_says_whether_the_library_agreed(
    monkeypatch: pytest.MonkeyPatch, answers: list[int], agreed: bool
) -> None:
    asked: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> int:
        asked.append((parameter, value))
        return answers[len(asked) - 1]

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert keep_freed_memory() is agreed
    assert {parameter for parameter, _ in asked} == {-1, -2, -4}  # of mallopt(3)
    assert all(-(2**31) <= value < 2**31 for _, value in asked)  # it takes an int
